"""Joint limits of an imported rig: its file's, those that its clips use, or a user's; joints that stay are locked."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.pose_sampling import mirrored_joints
from smilfit.files import BadFileError, read_text, reading
from smilfit.registry import UnknownNameError, did_you_mean

# What is added on both sides to the range that clips use: an animal does more than its animator showed.
MARGIN_RAD = math.radians(15)
_COLUMNS = ('joint', 'axis', 'min_deg', 'max_deg')
_AXES = ('x', 'y', 'z')


class LimitTable(NamedTuple):
    """Limits (J, 3, 2), rad, and the joints that a user's table names."""

    limits: np.ndarray
    joints: frozenset[str]


def limits_of_clips(
    poses: Sequence[Float[np.ndarray, '_ j 3']], margin_rad: float = MARGIN_RAD
) -> Float[np.ndarray, 'J 3 2']:
    """Return the ranges of axis-angle components that clips use, and rest, with a margin; the root's are full
    turns."""
    every = np.concatenate(poses)
    low, high = np.minimum(every.min(0), 0) - margin_rad, np.maximum(every.max(0), 0) + margin_rad
    result = np.stack((low, high), -1).clip(-math.pi, math.pi)
    return np.concatenate((np.broadcast_to([-math.pi, math.pi], (1, 3, 2)), result))


def with_other_side(limits: Float[np.ndarray, 'J 3 2'], data: BodyModelData) -> Float[np.ndarray, 'J 3 2']:
    """Widen limits so that the mirror image of every pose that they allow is allowed, too.

    An animator who turned one ear did not say that the other is stiff. A model without sides keeps its own.
    """
    result = mirrored_joints(data)
    if result is None:
        return limits
    order, signs = result
    other = np.where(signs[:, None] < 0, -limits[order][..., ::-1], limits[order])
    low, high = np.minimum(limits, other), np.maximum(limits, other)
    return np.stack((low[..., 0], high[..., 1]), -1)


def read_limits(path: str | Path, names: Sequence[str], limits: Float[np.ndarray, 'J 3 2']) -> LimitTable:
    """Read limits from a table (csv: joint,axis,min_deg,max_deg); what it does not name keeps its own.

    Args:
        path: the table; `axis` is x, y or z.
        limits: of the joints that the table does not name.

    Raises:
        UnknownNameError: a joint that is not there.
        BadFileError: another table.
    """
    path = Path(path)
    with reading(path, 'a table of joint limits'):
        rows = list(csv.DictReader(io.StringIO(read_text(path, 'a table of joint limits'))))
        result = limits.copy()
        place = {name: j for j, name in enumerate(names)}
        if not rows or not set(_COLUMNS) <= set(rows[0]):
            raise BadFileError(
                f'{path}: the columns must be {",".join(_COLUMNS)}; got others. Write them so.'
            )
        for row in rows:
            joint, axis = row['joint'], row['axis']
            if joint not in place:
                raise UnknownNameError(f'{path}: no joint {joint!r}. {did_you_mean(joint, names)}')
            low, high = _degrees(row, path)
            if axis not in _AXES or not -180 <= low <= high <= 180:
                got = f'{axis}, {low:g} to {high:g}'
                raise BadFileError(
                    f'{path}: limits of {joint} must be of x, y or z, least first, within 180 degrees; got {got}.'
                )
            result[place[joint], _AXES.index(axis)] = np.radians([low, high])
        return LimitTable(result, frozenset(row['joint'] for row in rows))


def _degrees(row: dict[str, str], path: Path) -> tuple[float, float]:
    try:
        return float(row['min_deg']), float(row['max_deg'])
    except (TypeError, ValueError):
        got = f'{row["min_deg"]!r} and {row["max_deg"]!r}'
        raise BadFileError(
            f'{path}: limits of {row["joint"]} must be degrees; got {got}. Write two numbers.'
        ) from None


def locked(limits: Float[np.ndarray, 'J 3 2'], fitted: Sequence[bool]) -> Float[np.ndarray, 'J 3 2']:
    """Lock joints that nothing moves with: both limits are 0."""
    result = limits.copy()
    result[~np.asarray(fitted)] = 0
    return result
