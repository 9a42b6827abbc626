"""In which unit points in space are, told by the length of the animal."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from smilfit.body_models import BodyModelData
from smilfit.structures import Keypoints3d
from smilfit.structures.units import MILLIMETRES

# Points of an animal span between this share of its model's length and its inverse.
_LEAST_SHARE = 0.4


class LikelyUnit(NamedTuple):
    """A unit, the length of the points in it, and that of the model in mm."""

    unit: str
    points: float
    model_mm: float


def likely_unit(recordings: Sequence[Keypoints3d], data: BodyModelData) -> LikelyUnit | None:
    """Give the unit in which points would be of a size as the model's.

    None where the model's unit is not known, where there are no points, or where no unit makes them alike.

    Args:
        recordings: points (T, K, 3) of each.
        data: the model.
    """
    if data.unit not in MILLIMETRES:
        return None
    lengths = [_length(points) for points in recordings]
    known = [length for length in lengths if length is not None and length > 0]
    if not known:
        return None
    length, model = float(np.median(known)), data.rest_size * MILLIMETRES[data.unit]
    found = [u for u, mm in MILLIMETRES.items() if _LEAST_SHARE <= length * mm / model <= 1 / _LEAST_SHARE]
    return LikelyUnit(found[0], length, model) if len(found) == 1 else None


def _length(points: Keypoints3d) -> float | None:
    """Give the longest side of a frame's points, median over frames that have at least two; None without any."""
    xyz = np.where(points.confidence.numpy()[..., None] > 0, points.xyz.numpy(), np.nan)
    xyz = xyz[np.isfinite(xyz).all(-1).sum(-1) >= 2]
    if not len(xyz):
        return None
    return float(np.median((np.nanmax(xyz, 1) - np.nanmin(xyz, 1)).max(-1)))
