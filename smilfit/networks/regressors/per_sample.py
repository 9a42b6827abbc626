"""Part a batch into samples."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.structures import BodyParams, Cameras


def per_sample(batch: Mapping[str, Any], n: int) -> list[dict[str, Any]]:
    """Return one dict a sample, on the CPU, of nested dicts of tensors with leading dimension n."""
    host = _map(batch, lambda x: x.detach().cpu())
    return [_map(host, lambda x, i=i: x[i]) for i in range(n)]


def chosen_rows(batch: Any, rows: Tensor) -> Any:
    """Choose samples of a batch, of nested dicts of tensors."""
    return _map(batch, lambda x: x[rows])


def body_predictions(
    body: SMIL, params: BodyParams, cameras: Cameras, view_mask: Tensor, names: tuple[str, ...]
) -> dict[str, Any]:
    """Return where a predicted body's joints and keypoints are, in the world and in every image; absent views
    have 0."""
    with torch.autocast(view_mask.device.type, enabled=False):
        output = body(params, need=('joints', *names))
        pixels, _, _ = cameras.project(output.keypoints)
    return {
        'params': params.as_axis_angle().as_dict(),
        'joints': output.joints,
        'keypoints3d': output.keypoints,
        'keypoints2d': torch.where(view_mask[..., None, None], pixels, torch.zeros_like(pixels)),
        'cameras': {name: getattr(cameras, name) for name in ('K', 'R', 't')},
        'view_mask': view_mask,
    }


def _map(value: Any, function: Callable[[Tensor], Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _map(item, function) for key, item in value.items()}
    return function(value)
