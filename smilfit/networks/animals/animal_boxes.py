"""Where the animal is: a square box a view, from a first look at whole images.

A box (x0, y0, side) is px of the stored image: its first pixel is x0, its last x0 + side - 1. It may reach beyond the
image.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.networks.keypoints.batch_crops import square_around
from smilfit.networks.keypoints.consensus import Consensus
from smilfit.registry import MODELS
from smilfit.structures import Cameras

# A point farther from the centre one than so many times the median distance is a stray.
_STRAY = 4.0


@dataclass(frozen=True)
class Boxes:
    """A box (x0, y0, side) a view; where `visible` is False the view does not show the animal: the whole image.

    `score` in [0, 1] is the share of the animal's keypoints that were found, by confidence, and lie in the image.
    """

    square: Float[Tensor, 'B C 3']
    score: Float[Tensor, 'B C']
    visible: Bool[Tensor, 'B C']


def boxes_around(
    consensus: Consensus,
    cameras: Cameras,
    view_mask: Bool[Tensor, 'B C'],
    margin: float = 1.35,
    min_confidence: float = 0.3,
    min_points: int = 3,
) -> Boxes:
    """Box the animal in every view.

    The points that several views agree on are projected into all of them, so that a view in which the first look
    failed has its box too. Of other keypoints a view's own confident peaks count: what no other view shows belongs to
    the animal all the same. Points far from all others are left out.

    Args:
        consensus: of a first look at whole images. The depth of what one view sees alone does not matter.
        cameras: of these images, in whose px the boxes are.
        view_mask: which views there are.
        margin: side of the box over the points' larger extent.
        min_confidence: of points that count.
        min_points: a view shows the animal if at least so many of the points lie in its image.
    """
    in_space = (consensus.confidence >= min_confidence) & (view_mask.sum(1) >= 2).unsqueeze(1)
    in_space = _without_strays(consensus.xyz, in_space)
    projected, _, valid = cameras.project(consensus.xyz)
    agreed = (in_space & (in_space.sum(1, keepdim=True) >= min_points)).unsqueeze(1) & valid
    sure = torch.where(agreed, consensus.confidence.unsqueeze(1), consensus.mode_mass[..., 0])
    pixels = torch.where(agreed.unsqueeze(-1), projected, consensus.modes[..., 0, :])
    counts = _without_strays(pixels, agreed | (sure >= min_confidence))
    # Pixel centres are at integers.
    inside = ((pixels > -0.5) & (pixels < cameras.size.unsqueeze(2) - 0.5)).all(-1)
    counts = counts & inside & view_mask.unsqueeze(-1)
    present = counts.sum(-1) >= min_points
    whole = whole_images(cameras, view_mask)
    square = torch.where(present.unsqueeze(-1), square_around(pixels, counts, margin), whole)
    return Boxes(square, (sure * counts).mean(-1) * present, present)


def whole_images(cameras: Cameras, view_mask: Bool[Tensor, 'B C']) -> Float[Tensor, 'B C 3']:
    """Return the smallest squares around whole images; a square of 1 px where a view is absent."""
    size = torch.where(view_mask.unsqueeze(-1), cameras.size, torch.ones_like(cameras.size))
    side = size.amax(-1, keepdim=True)
    return torch.cat(((size - side) / 2, side), -1)


def part_by_nearest(
    logits: Float[Tensor, 'C K h w'],
    stride: float,
    centres: Float[Tensor, 'A C 2'],
    visible: Bool[Tensor, 'A C'],
) -> Float[Tensor, 'A C K h w']:
    """Divide heat maps among several animals: each has the cells that are nearest to its centre.

    Args:
        logits: of one frame.
        stride: px a cell.
        centres: each animal's centre in each view, px.
        visible: where an animal is seen in a view; where it is not, its maps are flat.
    """
    rows, columns = (torch.arange(n, device=logits.device, dtype=logits.dtype) for n in logits.shape[-2:])
    cells = (centres + 0.5) / stride - 0.5
    far = (columns - cells[..., :1]).square().unsqueeze(-2) + (rows - cells[..., 1:]).square().unsqueeze(-1)
    far = far.masked_fill(~visible[..., None, None], math.inf)
    own = (far == far.amin(0)) & visible[..., None, None]
    parts = logits.masked_fill(~own.unsqueeze(2), -torch.inf)
    return torch.where(own.any(-1).any(-1)[..., None, None, None], parts, torch.zeros_like(parts))


@runtime_checkable
class Look(Protocol):
    """What a look at boxes gives: what the views agree on, px of the crops, and how px came there."""

    points: Consensus
    cameras: Cameras
    to_crop: Float[Tensor, 'B C 2 3']


@MODELS.register_module()
class GivenBoxes(nn.Module):
    """The images are crops already: one look at the whole of them."""

    def forward(
        self, look: Callable[..., Look], whole: Float[Tensor, 'B C 3'], view_mask: Bool[Tensor, 'B C']
    ) -> Look:
        """Look once."""
        return look(whole, view_mask)


@MODELS.register_module()
class OwnBoxes(nn.Module):
    """A first look at whole images says where the animal is, a second one at the boxes around it.

    A view that does not show the animal takes no part in the second look, unless none of its sample does.

    Args:
        margin: side of a box over the points' larger extent.
        min_confidence: of points that count.
        min_points: a view shows the animal if at least so many of the points lie in its image.
    """

    def __init__(self, margin: float = 1.35, min_confidence: float = 0.3, min_points: int = 3) -> None:
        super().__init__()
        if margin < 1 or not 0 <= min_confidence <= 1 or min_points < 1:
            raise ValueError(
                'OwnBoxes: margin must be at least 1, min_confidence in [0, 1] and min_points at least 1; got '
                f'{margin}, {min_confidence} and {min_points}.'
            )
        self.margin, self.min_confidence, self.min_points = margin, min_confidence, min_points

    def forward(
        self, look: Callable[..., Look], whole: Float[Tensor, 'B C 3'], view_mask: Bool[Tensor, 'B C']
    ) -> Look:
        """Look twice.

        Args:
            look: gives what is seen in boxes (B, C, 3) of the views of a mask.
            whole: the whole images' boxes, px of these.
            view_mask: which views there are.
        """
        first = look(whole, view_mask)
        result = boxes_around(
            first.points, first.cameras, view_mask, self.margin, self.min_confidence, self.min_points
        )
        square = image_boxes(result.square, first.to_crop)
        square = torch.where(result.visible.unsqueeze(-1), square, whole)
        return look(square, torch.where(result.visible.any(1, keepdim=True), result.visible, view_mask))


def image_boxes(square: Float[Tensor, '*n 3'], to_crop: Float[Tensor, '*n 2 3']) -> Float[Tensor, '*n 3']:
    """Bring boxes (x, y, side) in px of crops to px of the images that these are cut from, upright and unturned."""
    # Edges are half a px before the first pixel, in crop and image.
    scale, shift = to_crop[..., 0, :1], to_crop[..., 2]
    corner = (square[..., :2] - 0.5 - shift) / scale + 0.5
    return torch.cat((corner, square[..., 2:] / scale), -1)


def _without_strays(points: Float[Tensor, '*n K d'], counts: Bool[Tensor, '*n K']) -> Bool[Tensor, '*n K']:
    """Leave out what is far from the central point, in units of the median distance."""
    far = torch.cdist(points, points, compute_mode='donot_use_mm_for_euclid_dist')
    total = (far * counts.unsqueeze(-2)).sum(-1).masked_fill(~counts, torch.inf)
    centre = total.argmin(-1, keepdim=True).unsqueeze(-1)
    distance = far.gather(-2, centre.expand(*centre.shape[:-1], far.shape[-1])).squeeze(-2)
    typical = distance.masked_fill(~counts, torch.nan).nanmedian(-1, keepdim=True).values
    return counts & (distance <= _STRAY * typical)
