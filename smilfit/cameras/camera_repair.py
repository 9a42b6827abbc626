"""One camera calibrated anew against the others, which stay as they are: what may move, where it starts, its end."""

from dataclasses import dataclass, replace
from typing import NamedTuple

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
from smilfit.cameras.rig import CENTRE, FOCAL, LENS, N_COLUMNS, SHIFT, TURN, Rig, project
from smilfit.cameras.uncertainty import CameraUncertainty, camera_uncertainty, design_effect
from smilfit.geometry.consistency import LIMIT_OF_DIAGONAL

# Blocks of time, and groups of keypoints, that are left out in turn.
_FOLDS = 5
# Rounds of finding what pixels miss by and weighing them accordingly.
_ROUNDS = 3
# Nobody labels an animal better than this.
LEAST_SIGMA_PX = 0.5
LEVELS = ('pose', 'focal', 'lens', 'all')
# Cameras of one rig and one image size often have one kind of lens: focal lengths within a fifth or so. What the
# others scatter by counts where it is more.
_LEAST_LOG_FOCAL = 0.15
_LEAST_LENS = 0.05
# Focal lengths that are tried, in widths of the image: from 90 degrees of view to 16.
FOCAL_SHARES = (0.5, 0.6, 0.7, 0.85, 1.0, 1.25, 1.6, 2.2, 3.5)
# A label farther than this share of the image's diagonal from where a start puts its point says nothing for it.
_INLIER_OF_DIAGONAL = 0.02
_TRIES = 500
MIN_POINTS = 6
# Mirrored labels that fit so many times better were mirrored.
_MIRRORED = 0.5
# So many of the best starts are followed to their end.
_STARTS = 3


def free_columns(level: str, used: Bool[np.ndarray, '5']) -> Bool[np.ndarray, '14']:
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


class Start(NamedTuple):
    """A camera, and by how much it misses (px, the median)."""

    rig: Rig
    median_px: float


def starts_of(
    points: Float[np.ndarray, 'N 3'],
    xy: Float[np.ndarray, 'N 2'],
    like: Rig,
    size: Float[np.ndarray, '2'],
    focal_known: bool,
    sigma_px: float,
) -> list[Start]:
    """Place a camera by the points that it sees, for several focal lengths, the best first.

    A perspective-n-point solution (SQPnP, Terzakis and Lourakis 2020, in RANSAC) starts an adjustment of the pose.

    Args:
        points: world.
        xy: px of the real lens.
        like: one camera, whose lens and principal point are kept.
        size: of the image, px.
        focal_known: only the focal length of `like` is tried.
    """
    import cv2

    aspect = like.focal[0, 1] / like.focal[0, 0]
    tried = [like.focal[0, 0]] if focal_known else [like.focal[0, 0], *(s * size[0] for s in FOCAL_SHARES)]
    reach = max(_INLIER_OF_DIAGONAL * float(np.linalg.norm(size)), 3 * sigma_px)
    cv2.setRNGSeed(0)
    result = []
    for focal in tried:
        rig = replace(like, focal=np.array([[focal, focal * aspect]]))
        done, rotation, shift, inliers = cv2.solvePnPRansac(
            np.ascontiguousarray(points),
            np.ascontiguousarray(xy),
            rig.K[0],
            rig.dist[0],
            iterationsCount=_TRIES,
            reprojectionError=reach,
            flags=cv2.SOLVEPNP_SQPNP,
        )
        if not done or inliers is None or len(inliers) < MIN_POINTS:
            continue
        placed = replace(rig, R=cv2.Rodrigues(rotation)[0][None], t=shift.reshape(1, 3))
        result.append(_refined(placed, points, xy, sigma_px))
    return sorted(result, key=lambda start: start.median_px)


def start_rigs(
    rig: Rig,
    camera: int,
    points: Float[np.ndarray, 'n 3'],
    xy: Float[np.ndarray, 'n 2'],
    size: Float[np.ndarray, 'C 2'],
    level: str,
) -> list[Rig]:
    """Return the best places that the points leave, with the lens as it is and as those of other cameras are."""
    own = rig.one(camera)
    likely = [own]
    mates = mates_of(camera, size)
    if level != 'pose' and mates:
        typical = {n: np.median(getattr(rig, n)[mates], axis=0)[None] for n in ('focal', 'centre', 'dist')}
        likely.append(replace(own, **typical))
    result = [
        start
        for like in likely
        for start in starts_of(points, xy, like, size[camera], level == 'pose', LEAST_SIGMA_PX)
    ]
    best = min((start.median_px for start in result), default=np.inf)
    if best > LIMIT_OF_DIAGONAL * float(np.linalg.norm(size[camera])):
        flipped = np.stack((size[camera][0] - 1 - xy[:, 0], xy[:, 1]), -1)
        other = starts_of(points, flipped, likely[-1], size[camera], False, LEAST_SIGMA_PX)
        if other and other[0].median_px < _MIRRORED * best:
            raise ValueError(
                f'calibrate: images must not be mirrored; labels miss by {best:.0f} px as they are and by '
                f'{other[0].median_px:.0f} px from left to right. Flip the videos and their labels.'
            )
    if not result:
        raise ValueError(
            f'start_rigs: a camera must stand somewhere from which {MIN_POINTS} points look as they are labelled; '
            'found none. Are names of keypoints and frames those of the other cameras?'
        )
    result.sort(key=lambda start: start.median_px)
    return [start.rig for start in result[:_STARTS]]


def _refined(rig: Rig, points: np.ndarray, xy: np.ndarray, sigma_px: float) -> Start:
    n = len(points)
    zeros = np.zeros(n, dtype=np.int64)
    free = np.zeros((1, N_COLUMNS), dtype=bool)
    free[:, TURN] = free[:, SHIFT] = True
    width = max(
        sigma_px, usual_miss_px(residuals_px(rig, Blocks(points), _observations(xy, zeros, sigma_px)))
    )
    observed = _observations(xy, zeros, width)
    end = adjust(rig, Blocks(points), observed, free, move_blocks=False, steps=20)
    return Start(end.rig, float(np.median(residuals_px(end.rig, end.blocks, observed))))


def _observations(xy: np.ndarray, camera: np.ndarray, sigma_px: float) -> Observations:
    return Observations(camera, np.arange(len(xy)), np.zeros((len(xy), 3)), xy, np.array([sigma_px]))


@dataclass(frozen=True)
class Sightings:
    """Pixels of all cameras and the M blocks that they show, placed by the good cameras.

    `frame` (M) and `point` (M) say what a block is: a keypoint of a frame, or the board of a frame. Blocks that are
    known better than by these cameras do not move. Pixels of no camera miss by less than `least_px` (sd).
    """

    observed: Observations
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
    medians of each other camera with points as they were and as they ended. `points` are where they ended.
    `observed_as` says what was seen: `'keypoint'` or `'board'`; `edges` are the board's as the other
    cameras measure them.
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
    uncertainty: CameraUncertainty
    converged: bool
    mates: tuple[int, ...]
    points: Float[np.ndarray, 'n 3']
    observed_as: str = 'keypoint'
    edges: Float[np.ndarray, ' E'] | None = None


@dataclass(frozen=True)
class _Problem:
    """What every adjustment of this camera shares."""

    camera: int
    sightings: Sightings
    free: Bool[np.ndarray, 'C 14']
    prior: Prior

    def adjust(self, rig: Rig, observed: Observations) -> Adjustment:
        return adjust(rig, self.sightings.blocks, observed, self.free, self.prior, self.sightings.move_blocks)

    def settle(self, rig: Rig) -> tuple[Adjustment, Observations]:
        """Adjust, and weigh the camera's pixels by what they miss by, in turn.

        What it misses by is measured from what the others place: points that it may drag along would flatter it.
        """
        observed = self.sightings.observed
        mine = observed.camera == self.camera
        sigma = observed.sigma_px.copy()
        for _ in range(_ROUNDS):
            error = residuals_px(rig, self.sightings.blocks, observed.take(mine))
            sigma[self.camera] = usual_miss_px(error, self.sightings.least_px)
            observed = replace(observed, sigma_px=sigma.copy())
            end = self.adjust(rig, observed)
            rig = end.rig
        return end, observed

    def held_out(
        self, rig: Rig, observed: Observations, fold: Int[np.ndarray, 'M']
    ) -> Float[np.ndarray, ' n']:
        """Measure the camera's pixels of each fold's blocks by what was found without them."""
        mine = observed.take(observed.camera == self.camera)
        error = np.full(len(mine.xy), np.nan)
        for k in np.unique(fold):
            left = fold[observed.block] != k
            out = fold[mine.block] == k
            if (
                out.any()
                and (left & (observed.camera == self.camera)).sum() >= 2 * self.free[self.camera].sum()
            ):
                end = self.adjust(rig, observed.take(left))
                error[out] = residuals_px(end.rig, self.sightings.blocks, mine.take(out))
        return error


def repair_camera(
    rig: Rig,
    camera: int,
    sightings: Sightings,
    starts: list[Rig],
    size: Float[np.ndarray, 'C 2'],
    level: str,
    like_mates: bool = True,
) -> CameraRepair:
    """Move one camera until it agrees with what the others place; those keep every bit.

    Points (or boards) are adjusted with it, since the others know them only so well. Labels that err are weighed
    down (Cauchy). Every start is followed to its end; the best end counts.

    Args:
        camera: the one to be calibrated.
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
    end, observed = min(ends, key=lambda end_of: end_of[1].sigma_px[camera])
    effect = design_effect(end, sightings.groups)
    # Labels that err alike count as fewer: what is expected counts so much the more.
    problem = replace(problem, prior=Prior(expected.mean, expected.sd / np.sqrt(effect)))
    end = min((problem.adjust(end_of.rig, observed) for end_of, _ in ends), key=lambda end_of: end_of.cost)
    own, blocks = observed.take(observed.camera == camera), sightings.blocks
    first, last = residuals_px(rig, blocks, observed), residuals_px(end.rig, end.blocks, observed)
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
        held_out_frames=problem.held_out(end.rig, observed, _blocks_of_time(sightings.frame)),
        held_out_points=problem.held_out(end.rig, observed, sightings.point)
        if sightings.grouped_by == 'keypoint'
        else np.full(len(own.xy), np.nan),
        others_px={
            int(c): (
                float(np.median(first[observed.camera == c])),
                float(np.median(last[observed.camera == c])),
            )
            for c in np.unique(observed.camera)
            if c != camera
        },
        sigma_px=observed.sigma_px,
        uncertainty=camera_uncertainty(
            end, camera, sightings.groups, sightings.grouped_by, expected.sd[camera], effect
        ),
        converged=end.converged,
        mates=tuple(mates),
        points=end.blocks.place(own),
        observed_as=sightings.grouped_by,
    )


def _blocks_of_time(frame: Int[np.ndarray, 'M']) -> Int[np.ndarray, 'M']:
    """Cut the frames that there are into stretches of one length: neighbouring frames show the same."""
    valid = np.unique(frame)
    return np.searchsorted(valid, frame) * min(_FOLDS, len(valid)) // max(len(valid), 1)
