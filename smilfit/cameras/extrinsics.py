"""Where cameras stand to each other, by boards that two of them saw at the same time."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from smilfit.cameras.intrinsics import Intrinsics
from smilfit.cameras.rig import angle_between

# Frames in which two cameras must have seen the board to be joined.
MIN_COMMON = 2
# Relative places farther from the middle one than this many medians take no part in the mean.
_FAR = 3.0


@dataclass(frozen=True)
class Pose:
    """A rigid motion `x -> R x + t`."""

    R: Float[np.ndarray, '3 3']
    t: Float[np.ndarray, '3']

    def __matmul__(self, other: 'Pose') -> 'Pose':
        return Pose(self.R @ other.R, self.R @ other.t + self.t)

    def inverse(self) -> 'Pose':
        """Return the motion back."""
        return Pose(self.R.T, -self.R.T @ self.t)


def robust_mean(poses: list[Pose]) -> Pose:
    """Average poses that mostly agree: the mean of those near the one which all others are nearest to."""
    R, t = np.stack([p.R for p in poses]), np.stack([p.t for p in poses])
    angle = angle_between(R[:, None], R[None])
    apart = np.linalg.norm(t[:, None] - t[None], axis=-1)
    # Both as shares of their usual size, so that units do not matter.
    usual = [max(float(np.median(x)), 1e-12) for x in (angle, apart)]
    distance = angle / usual[0] + apart / usual[1]
    centre = int(np.argmin(np.median(distance, axis=1)))
    near = distance[centre] <= _FAR * max(float(np.median(distance[centre])), 1e-9)
    u, _, v = np.linalg.svd(R[near].mean(0))
    return Pose(u @ np.diag([1.0, 1.0, np.linalg.det(u @ v)]) @ v, t[near].mean(0))


def stand_cameras(names: tuple[str, ...], found: list[Intrinsics]) -> list[Pose]:
    """Return each camera's pose (world to camera) in the frame of the first, along the pairs that share most frames.

    Raises:
        ValueError: cameras in groups that never saw the board together, by name.
    """
    common = {
        (a, b): sorted(set(found[a].R) & set(found[b].R))
        for a in range(len(names))
        for b in range(len(names))
        if a != b
    }
    poses: dict[int, Pose] = {0: Pose(np.eye(3), np.zeros(3))}
    while len(poses) < len(names):
        links = [(len(common[a, b]), a, b) for a in poses for b in range(len(names)) if b not in poses]
        count, a, b = max(links)
        if count < MIN_COMMON:
            raise ValueError(_apart(names, common))
        frames = common[a, b]
        between = [_of(found[b], f) @ _of(found[a], f).inverse() for f in frames]
        poses[b] = robust_mean(between) @ poses[a]
    return [poses[c] for c in range(len(names))]


def place_boards(cameras: list[Pose], found: list[Intrinsics]) -> dict[int, Pose]:
    """Return each frame's board in the world: as the cameras that saw it mostly say."""
    frames = sorted({f for one in found for f in one.R})
    return {
        f: robust_mean([cameras[c].inverse() @ _of(one, f) for c, one in enumerate(found) if f in one.R])
        for f in frames
    }


def _of(found: Intrinsics, frame: int) -> Pose:
    return Pose(found.R[frame], found.t[frame])


def _apart(names: tuple[str, ...], common: dict[tuple[int, int], list[int]]) -> str:
    left, groups = set(range(len(names))), []
    while left:
        group, fresh = set(), {min(left)}
        while fresh:
            group |= fresh
            fresh = {b for a in fresh for b in left - group if len(common[a, b]) >= MIN_COMMON}
        groups.append(sorted(group))
        left -= group
    shown = ' and '.join(', '.join(names[c] for c in group) for group in groups)
    return (
        f'calibrate: cameras must be joined by frames in which two of them see the board, {MIN_COMMON} at least; got '
        f'groups that never see it together: {shown}. Film the board where a camera of each sees it, and start the '
        'recordings together.'
    )
