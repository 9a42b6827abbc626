"""One camera calibrated anew against the others, which stay as they are, by what all of them saw."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from smilfit.cameras.bundle_adjustment import (
    Adjustment,
    Blocks,
    Observations,
    Prior,
    adjust,
    residuals_px,
    usual_miss_px,
)
from smilfit.cameras.doubt import Doubt, design_effect, doubt_of
from smilfit.cameras.free_parameters import Free, free_columns, mates_of, prior_of_mates
from smilfit.cameras.rig import N_COLUMNS, Rig, project

# Blocks of time, and groups of keypoints, that are left out in turn.
_FOLDS = 5
# Rounds of finding what pixels miss by and weighing them accordingly.
_ROUNDS = 3
# Nobody labels an animal better than this.
LEAST_SIGMA_PX = 0.5


@dataclass(frozen=True)
class Sightings:
    """Pixels of all cameras and the M blocks that they show, placed by the good cameras.

    `frame` (M) and `point` (M) say what a block is: a keypoint of a frame, or the board of a frame. Blocks that are
    known better than by these cameras do not move. Pixels of no camera miss by less than `least_px` (sd).
    """

    seen: Observations
    blocks: Blocks
    frame: Int[np.ndarray, 'M']
    point: Int[np.ndarray, 'M']
    grouped_by: str = 'keypoint'
    move_blocks: bool = True
    least_px: float = LEAST_SIGMA_PX

    @property
    def groups(self) -> Int[np.ndarray, 'M']:
        """Which blocks err alike: those of one keypoint; each board by itself."""
        return self.point if self.grouped_by == 'keypoint' else self.frame


@dataclass(frozen=True)
class CameraRepair:
    """A camera calibrated anew, and by how much it misses what the others place.

    The n pixels are those of this camera: `xy`, `predicted` by the new calibration, of `frame` and `point`, and the
    distances (px) `before` and `after`. `held_out_frames` are distances by cameras that were found without the block
    of time that they are in, `held_out_points` without the keypoint; NaN where that cannot be done. `others_px` are
    medians of each other camera with points as they were and as they ended. `points` are where they ended. `seen_as`
    says what was seen: `'keypoint'` or `'board'`; `edges` are the board's as the other cameras measure them.
    """

    rig: Rig
    camera: int
    free: Bool[np.ndarray, '14']
    xy: Float[np.ndarray, 'n 2']
    predicted: Float[np.ndarray, 'n 2']
    frame: Int[np.ndarray, ' n']
    point: Int[np.ndarray, ' n']
    before: Float[np.ndarray, ' n']
    after: Float[np.ndarray, ' n']
    held_out_frames: Float[np.ndarray, ' n']
    held_out_points: Float[np.ndarray, ' n']
    others_px: dict[int, tuple[float, float]]
    sigma_px: Float[np.ndarray, 'C']
    doubt: Doubt
    converged: bool
    mates: tuple[int, ...]
    points: Float[np.ndarray, 'n 3']
    seen_as: str = 'keypoint'
    edges: Float[np.ndarray, ' E'] | None = None


@dataclass(frozen=True)
class _Problem:
    """What every adjustment of this camera shares."""

    camera: int
    sightings: Sightings
    free: Bool[np.ndarray, 'C 14']
    prior: Prior

    def adjust(self, rig: Rig, seen: Observations) -> Adjustment:
        return adjust(rig, self.sightings.blocks, seen, self.free, self.prior, self.sightings.move_blocks)

    def settle(self, rig: Rig) -> tuple[Adjustment, Observations]:
        """Adjust, and weigh the camera's pixels by what they miss by, in turn.

        What it misses by is measured from what the others place: points that it may drag along would flatter it.
        """
        seen = self.sightings.seen
        mine = seen.camera == self.camera
        sigma = seen.sigma_px.copy()
        for _ in range(_ROUNDS):
            error = residuals_px(rig, self.sightings.blocks, seen.take(mine))
            sigma[self.camera] = usual_miss_px(error, self.sightings.least_px)
            seen = replace(seen, sigma_px=sigma.copy())
            end = self.adjust(rig, seen)
            rig = end.rig
        return end, seen

    def held_out(self, rig: Rig, seen: Observations, fold: Int[np.ndarray, 'M']) -> Float[np.ndarray, ' n']:
        """Measure the camera's pixels of each fold's blocks by what was found without them."""
        mine = seen.take(seen.camera == self.camera)
        error = np.full(len(mine.xy), np.nan)
        for k in np.unique(fold):
            left = fold[seen.block] != k
            out = fold[mine.block] == k
            if out.any() and (left & (seen.camera == self.camera)).sum() >= 2 * self.free[self.camera].sum():
                end = self.adjust(rig, seen.take(left))
                error[out] = residuals_px(end.rig, self.sightings.blocks, mine.take(out))
        return error


def repair_camera(
    rig: Rig,
    camera: int,
    sightings: Sightings,
    starts: list[Rig],
    size: Float[np.ndarray, 'C 2'],
    level: Free,
    like_mates: bool = True,
) -> CameraRepair:
    """Move one camera until it agrees with what the others place; those keep every bit.

    Points (or boards) are adjusted with it, since the others know them only so well. Labels that err are weighed
    down (Cauchy). Every start is followed to its end; the best end counts.

    Args:
        rig: all cameras as they are.
        camera: the one to be calibrated.
        sightings: what all cameras saw.
        starts: one camera each, where it may stand.
        size: of the images, px.
        level: what may move; see `free_columns`.
        like_mates: whether focal length and lens are expected to be like those of cameras with the same
            image size. It decides where the data leave both open, and gives way where they do not.
    """
    others = np.arange(len(rig.R)) != camera
    free = np.zeros((len(rig.R), N_COLUMNS), dtype=bool)
    free[camera] = free_columns(level, (rig.dist[others] != 0).any(0) | (starts[0].dist[0] != 0))
    mates = mates_of(camera, size) if like_mates else []
    expected = prior_of_mates(rig, camera, mates, free[camera])
    problem = _Problem(camera, sightings, free, expected)
    ends = [problem.settle(rig.put(camera, start)) for start in starts]
    # Ends are compared under one weighing: that of the end which misses by least.
    end, seen = min(ends, key=lambda found: found[1].sigma_px[camera])
    effect = design_effect(end, sightings.groups)
    # Labels that err alike count as fewer: what is expected counts so much the more.
    problem = replace(problem, prior=Prior(expected.mean, expected.sd / np.sqrt(effect)))
    end = min((problem.adjust(found.rig, seen) for found, _ in ends), key=lambda found: found.cost)
    own, blocks = seen.take(seen.camera == camera), sightings.blocks
    first, last = residuals_px(rig, blocks, seen), residuals_px(end.rig, end.blocks, seen)
    return CameraRepair(
        rig=end.rig,
        camera=camera,
        free=free[camera],
        xy=own.xy,
        predicted=project(end.rig, own.camera, blocks.place(own))[0],
        frame=sightings.frame[own.block],
        point=sightings.point[own.block],
        before=residuals_px(rig, blocks, own),
        after=residuals_px(end.rig, blocks, own),
        held_out_frames=problem.held_out(end.rig, seen, _blocks_of_time(sightings.frame)),
        held_out_points=problem.held_out(end.rig, seen, sightings.point)
        if sightings.grouped_by == 'keypoint'
        else np.full(len(own.xy), np.nan),
        others_px={
            int(c): tuple(float(np.median(error[seen.camera == c])) for error in (first, last))
            for c in np.unique(seen.camera)
            if c != camera
        },
        sigma_px=seen.sigma_px,
        doubt=doubt_of(end, camera, sightings.groups, sightings.grouped_by, expected.sd[camera], effect),
        converged=end.converged,
        mates=tuple(mates),
        points=end.blocks.place(own),
        seen_as=sightings.grouped_by,
    )


def _blocks_of_time(frame: Int[np.ndarray, 'M']) -> Int[np.ndarray, 'M']:
    """Cut the frames that there are into stretches of one length: neighbouring frames show the same."""
    valid = np.unique(frame)
    return np.searchsorted(valid, frame) * min(_FOLDS, len(valid)) // max(len(valid), 1)
