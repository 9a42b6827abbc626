"""Where to look: boxes of the network's own first pass, or the images as they are."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from smilfit.registry import MODELS


@MODELS.register_module()
class GivenBoxes(nn.Module):
    """Take the images for crops."""

    def forward(self, look: Callable[..., Any], whole: Tensor, view_mask: Tensor) -> Any:
        """Look once."""
        return look(whole, view_mask)


@MODELS.register_module()
class OwnBoxes(nn.Module):
    """Look at whole images first."""

    def __init__(self, margin: float = 1.3, least_confidence: float = 0.2) -> None:
        super().__init__()
        self.margin, self.least = margin, least_confidence

    def forward(self, look: Callable[..., Any], whole: Tensor, view_mask: Tensor) -> Any:
        """Look twice."""
        first = look(whole, view_mask)
        px, _, valid = first.cameras.project(first.points.xyz)
        w = (first.points.confidence > self.least)[:, None] & valid
        if int(view_mask.sum(1).min()) < 2:
            px, w = first.points.pixels, first.points.pixel_confidence > self.least
        scale = whole[..., 2] / first.cameras.size[..., 0]
        px = (px + 0.5) * scale[..., None, None] - 0.5 + whole[..., None, :2]
        nan = torch.where(w[..., None], px, torch.nan)
        low, high = nan.nan_to_num(1e9).amin(2), nan.nan_to_num(-1e9).amax(2)
        side = ((high - low).amax(-1, keepdim=True) * self.margin).clamp(8)
        boxes = torch.cat(((low + high - side + 1) / 2, side), -1)
        boxes = torch.where(w.any(-1, keepdim=True), boxes, whole)
        return look(boxes, view_mask)
