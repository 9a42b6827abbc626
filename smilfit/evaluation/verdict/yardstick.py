"""What the labels alone can say: their triangulation, by all cameras and without each in turn."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.io import triangulate_keypoints
from smilfit.structures import Keypoints2d
from smilfit.structures.body import by_blocks


def errors_px(
    seen: Keypoints2d, points: Float[Tensor, 'B K 3'], there: Tensor | None = None
) -> Float[Tensor, 'B C K']:
    """Measure px between labels and projected points; NaN where there is no label or no point, inf without image."""

    def distances(rows: slice) -> Tensor:
        pixels, _, valid = seen[rows].rig.to(torch.float64).project(points[rows].double())
        distance = (pixels - seen.xy[rows].double()).norm(dim=-1)
        return torch.where(valid & points[rows].isfinite().all(-1).unsqueeze(1), distance, torch.inf)

    distance = by_blocks(len(points), distances)
    known = seen.visible if there is None else seen.visible & there.unsqueeze(1)
    return torch.where(known, distance, torch.nan)


def triangulation_px(seen: Keypoints2d) -> Float[Tensor, 'B C K']:
    """Measure px between labels and what all cameras that have the label make of it, without any body.

    NaN where fewer than two have it.
    """
    if len(seen.rig) < 2:
        return torch.full(seen.xy.shape[:-1], torch.nan, dtype=torch.float64)
    points = triangulate_keypoints(seen)
    return errors_px(seen, points.xyz, points.visible)


def left_out_triangulation_px(seen: Keypoints2d) -> Float[Tensor, 'B C K']:
    """Measure px in each camera between its labels and what the other cameras make of the same keypoints."""
    result = []
    for c in range(seen.xy.shape[1]):
        points = triangulate_keypoints(without_camera(seen, c))
        result.append(errors_px(seen, points.xyz, points.visible)[:, c])
    return torch.stack(result, 1)


def without_camera(seen: Keypoints2d, camera: int) -> Keypoints2d:
    """Take a camera's labels away; the camera stays."""
    confidence = seen.confidence.clone()
    confidence[:, camera] = 0
    return replace(seen, confidence=confidence).judged(seen.camera_report)


def camera_medians(errors: Float[Tensor, 'B C K'], counted: Tensor | None = None) -> Float[Tensor, ' C']:
    """Return the median of each camera's errors; NaN where it has none."""
    errors = errors if counted is None else torch.where(counted, errors, torch.nan)
    return errors.transpose(0, 1).flatten(1).nanmedian(1).values


def worst_camera(values: Float[Tensor, ' C'], names: Sequence[str]) -> tuple[float, str]:
    """Return the largest number and its camera; NaN where there is none."""
    known = torch.where(values.isnan(), -torch.inf, values)
    at = int(known.argmax())
    return float(values[at]), names[at]
