"""What of a camera may move, and what is expected of it from the other cameras of its rig."""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from smilfit.cameras.bundle_adjustment import Prior
from smilfit.cameras.rig import CENTRE, FOCAL, LENS, N_COLUMNS, SHIFT, TURN, Rig

Free = Literal['pose', 'focal', 'lens', 'all']
LEVELS: tuple[Free, ...] = ('pose', 'focal', 'lens', 'all')
# Cameras of one rig and one image size often have one kind of lens: focal lengths within a fifth or so. What the
# others scatter by counts where it is more.
_LEAST_LOG_FOCAL = 0.15
_LEAST_LENS = 0.05


def free_columns(level: Free, used: Bool[np.ndarray, '5']) -> Bool[np.ndarray, '14']:
    """Return which columns of a camera move.

    Args:
        level: `'pose'` turns and moves; `'focal'` also changes the focal length; `'lens'` also the lens
            coefficients; `'all'` also the principal point.
        used: which lens coefficients the rig's calibration uses at all.
    """
    if level not in LEVELS:
        raise ValueError(f'free_columns: level must be one of {LEVELS}; got {level!r}.')
    result = np.zeros(N_COLUMNS, dtype=bool)
    result[TURN] = result[SHIFT] = True
    result[FOCAL] = level != 'pose'
    result[LENS] = used if level in ('lens', 'all') else False
    result[CENTRE] = level == 'all'
    return result


def mates_of(camera: int, size: Float[np.ndarray, 'C 2']) -> list[int]:
    """List the other cameras whose images have the size of this one's: likely of one kind."""
    return [c for c in range(len(size)) if c != camera and np.array_equal(size[c], size[camera])]


def prior_of_mates(rig: Rig, camera: int, mates: list[int], free: Bool[np.ndarray, '14']) -> Prior:
    """Expect the focal length and lens of a camera to be like those of its mates, within their scatter or more.

    What does not move is not expected anywhere: it costs nothing.
    """
    prior = Prior.none(len(rig.R))
    if not mates:
        return prior
    values = rig.columns()[mates]
    scatter = values.std(axis=0, ddof=1) if len(mates) > 1 else np.zeros(N_COLUMNS)
    # The mean of n numbers tells the next one to within their scatter times sqrt(1 + 1/n).
    wider = np.sqrt(1 + 1 / len(mates))
    for columns, least in ((FOCAL, _LEAST_LOG_FOCAL), (LENS, _LEAST_LENS)):
        prior.mean[camera, columns] = values[:, columns].mean(0)
        prior.sd[camera, columns] = wider * np.maximum(scatter[columns], least)
    prior.sd[camera, ~free] = np.inf
    return prior
