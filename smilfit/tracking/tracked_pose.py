"""What a tracker says of one frame."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from smilfit.structures import BodyParams

# Found from the pose before; found from this frame alone; not believable; too little was seen.
TRACKED, RESTARTED, LOST, TOO_LITTLE = 'tracked', 'restarted', 'lost', 'too little'
STATES = (TRACKED, RESTARTED, LOST, TOO_LITTLE)


@dataclass(frozen=True)
class TrackedPose:
    """The pose of one frame, and whether to believe it.

    Where too little was seen all numbers of the pose are NaN: nothing is made up.

    Args:
        params: the body, one row.
        state: `'tracked'` from the pose before, `'restarted'` from this frame's triangulation, `'lost'` where neither
            explains the keypoints, `'too little'` where there is no pose.
        converged: whether the fit ended by itself.
        reason: why it is not to be believed; empty where it is.
        points: the keypoints on the body, world unit.
        joints: the body's joints, world unit.
        distances_px: from each keypoint to where it was seen, by camera; NaN where it was not.
        iterations: steps of the fit.
    """

    params: BodyParams
    state: str
    converged: bool
    reason: str
    points: Float[np.ndarray, 'K 3'] = field(repr=False)
    joints: Float[np.ndarray, 'J 3'] = field(repr=False)
    distances_px: Float[np.ndarray, 'C K'] = field(repr=False)
    iterations: int = 0

    @property
    def believable(self) -> bool:
        """Whether nothing speaks against the pose."""
        return not self.reason

    @property
    def residual_px(self) -> Float[np.ndarray, ' C']:
        """The median distance of each camera; NaN of one that saw nothing."""
        return medians(self.distances_px)


def medians(rows: Float[np.ndarray, 'C K']) -> Float[np.ndarray, ' C']:
    """Give each row's median over what is not NaN; NaN where all are. (The lower of two in the middle.)"""
    ordered = np.sort(rows, 1)
    count = rows.shape[1] - np.isnan(rows).sum(1)
    return ordered[np.arange(len(rows)), np.maximum(count - 1, 0) // 2]
