"""A whole rig by boards: each camera's lens by itself, places by what two saw at once, then everything together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from smilfit.cameras.board_recordings import BoardViews
from smilfit.cameras.boards import Board, Detection
from smilfit.cameras.bundle_adjustment import Blocks, Observations, adjust, residuals_px, usual_miss_px
from smilfit.cameras.rig import CENTRE, FOCAL, LENS, N_COLUMNS, SHIFT, TURN, Rig, angle_between
from smilfit.cameras.uncertainty import inverse_information
from smilfit.geometry.triangulation import triangulate
from smilfit.structures import Cameras

# Corners that OpenCV finds in a sharp image miss by some hundredths of a px.
LEAST_SIGMA_PX = 0.05
_ROUNDS = 2
# Measured lengths that differ by this share are not those that were stated.
WRONG_SCALE = 0.02
# Views that take part; more cost time and tell little.
_MOST_VIEWS = 40
# Fewer than this fix no lens.
MIN_VIEWS = 4
# A view that misses by this many times the median of all was detected wrongly.
_OUTLIER = 4.0
_LEAST_OUTLIER_PX = 1.0
# How many lens coefficients there may be, and which (k1, k2, p1, p2, k3) they are.
LENSES = {1: (0,), 2: (0, 1), 5: (0, 1, 2, 3, 4)}
# Frames in which two cameras must have seen the board to be joined.
MIN_COMMON = 2
# Relative places farther from the middle one than this many medians take no part in the mean.
_FAR = 3.0


@dataclass(frozen=True)
class Intrinsics:
    """One camera at the origin, where the board was in each view, and each view's rms (px)."""

    rig: Rig
    R: dict[int, Float[np.ndarray, '3 3']]
    t: dict[int, Float[np.ndarray, '3']]
    rms_px: dict[int, float]


def find_intrinsics(
    name: str, views: dict[int, Detection], board: Board, size: Float[np.ndarray, '2'], n_lens: int = 2
) -> Intrinsics:
    """Calibrate one camera by OpenCV's `calibrateCamera` (Zhang 2000) on views of many places and tilts.

    Views whose corners miss by far more than others are left out, and told by being absent from the result.

    Args:
        size: of the images, px.
        n_lens: lens coefficients that may differ from 0: 1 (k1), 2 (k1, k2) or 5.

    Raises:
        ValueError: too few views.
    """
    import cv2

    if len(views) < MIN_VIEWS:
        raise ValueError(
            f'calibrate: camera {name!r} must see the board in {MIN_VIEWS} frames at least, better 20, each '
            f'tilted otherwise; got {len(views)}. Record more, or check --squares.'
        )
    chosen = _spread(views, size)
    flags = cv2.CALIB_FIX_ASPECT_RATIO | _lens_flags(n_lens)
    width = float(max(size))
    for _ in range(2):
        start = np.array([[width, 0, (size[0] - 1) / 2], [0, width, (size[1] - 1) / 2], [0, 0, 1]])
        K, dist = cv2.calibrateCamera(
            [board.points[views[f].ids].astype(np.float32) for f in chosen],
            [views[f].xy.astype(np.float32) for f in chosen],
            (int(size[0]), int(size[1])),
            start,
            np.zeros(5),
            flags=flags | cv2.CALIB_USE_INTRINSIC_GUESS,
        )[1:3]
        rig = Rig(
            R=np.eye(3)[None],
            t=np.zeros((1, 3)),
            focal=K[[0, 1], [0, 1]][None],
            centre=K[:2, 2][None],
            skew=np.zeros(1),
            dist=np.asarray(dist).reshape(1, -1)[:, :5],
        )
        poses = {f: place_board(views[f], board, rig) for f in views}
        placed = {f: pose for f, pose in poses.items() if pose is not None}
        rms = {f: pose[2] for f, pose in placed.items()}
        limit = max(_OUTLIER * float(np.median(list(rms.values()))), _LEAST_OUTLIER_PX)
        good = [f for f in chosen if rms.get(f, np.inf) <= limit]
        if len(good) == len(chosen) or len(good) < MIN_VIEWS:
            break
        chosen = good
    keep = [f for f, error in rms.items() if error <= limit]
    return Intrinsics(
        rig, {f: placed[f][0] for f in keep}, {f: placed[f][1] for f in keep}, {f: rms[f] for f in keep}
    )


def place_board(
    view: Detection, board: Board, camera: Rig
) -> tuple[Float[np.ndarray, '3 3'], Float[np.ndarray, '3'], float] | None:
    """Find a board in a camera's frame, and the rms of its corners (px); None where it cannot be seen so."""
    import cv2

    points, K, dist = board.points[view.ids], camera.K[0], camera.dist[0]
    # Both poses that a flat board may have; the one that fits better.
    count, turns, shifts, errors = cv2.solvePnPGeneric(points, view.xy, K, dist, flags=cv2.SOLVEPNP_IPPE)
    if not count:
        return None
    best = int(np.argmin(np.ravel(errors)))
    rotation, shift = cv2.solvePnPRefineLM(points, view.xy, K, dist, turns[best], shifts[best])
    observed = cv2.projectPoints(points, rotation, shift, K, dist)[0][:, 0]
    rms = float(np.sqrt(np.square(observed - view.xy).sum(-1).mean()))
    R, t = cv2.Rodrigues(rotation)[0], shift.reshape(3)
    return None if not np.isfinite(rms) or t[2] <= 0 else (R, t, rms)


def _lens_flags(n_lens: int) -> int:
    import cv2

    if n_lens not in LENSES:
        raise ValueError(f'calibrate: lens coefficients must be one of {tuple(LENSES)}; got {n_lens}.')
    flags = 0 if n_lens == 5 else cv2.CALIB_ZERO_TANGENT_DIST | cv2.CALIB_FIX_K3
    return flags | (cv2.CALIB_FIX_K2 if n_lens == 1 else 0)


def _spread(views: dict[int, Detection], size: np.ndarray) -> list[int]:
    """Choose views that differ in place, size and tilt, each the farthest from those chosen before it."""
    frames = sorted(views)
    if len(frames) <= _MOST_VIEWS:
        return frames
    observed = np.array([_look(views[f].xy, size) for f in frames])
    counts = np.array([len(views[f].ids) for f in frames])
    chosen = [int(np.argmax(counts))]
    distance = np.full(len(frames), np.inf)
    while len(chosen) < _MOST_VIEWS:
        distance = np.minimum(distance, np.linalg.norm(observed - observed[chosen[-1]], axis=-1))
        chosen.append(int(np.argmax(distance)))
    return sorted(frames[i] for i in chosen)


def _look(xy: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Describe a view: the corners' middle and spread, in shares of the image."""
    scaled = xy / size.max()
    covariance = np.cov(scaled.T)
    return np.concatenate((scaled.mean(0), 2 * np.sqrt(np.diagonal(covariance)), 20 * covariance[0, 1:]))


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
    gap = np.linalg.norm(t[:, None] - t[None], axis=-1)
    # Both as shares of their usual size, so that units do not matter.
    usual = [max(float(np.median(x)), 1e-12) for x in (angle, gap)]
    distance = angle / usual[0] + gap / usual[1]
    centre = int(np.argmin(np.median(distance, axis=1)))
    near = distance[centre] <= _FAR * max(float(np.median(distance[centre])), 1e-9)
    u, _, v = np.linalg.svd(R[near].mean(0))
    return Pose(u @ np.diag([1.0, 1.0, np.linalg.det(u @ v)]) @ v, t[near].mean(0))


def blocks_of(poses: Iterable[Pose]) -> Blocks:
    """Return boards that stand so, for an adjustment."""
    every = list(poses)
    return Blocks(np.stack([p.t for p in every]), np.stack([p.R for p in every]))


def stand_cameras(names: tuple[str, ...], intrinsics: list[Intrinsics]) -> list[Pose]:
    """Return each camera's pose (world to camera) in the frame of the first, along the pairs that share most frames.

    Raises:
        ValueError: cameras in groups that never saw the board together, by name.
    """
    common = {
        (a, b): sorted(set(intrinsics[a].R) & set(intrinsics[b].R))
        for a in range(len(names))
        for b in range(len(names))
        if a != b
    }
    poses: dict[int, Pose] = {0: Pose(np.eye(3), np.zeros(3))}
    while len(poses) < len(names):
        links = [(len(common[a, b]), a, b) for a in poses for b in range(len(names)) if b not in poses]
        count, a, b = max(links)
        if count < MIN_COMMON:
            raise ValueError(_separate_groups(names, common))
        frames = common[a, b]
        between = [_of(intrinsics[b], f) @ _of(intrinsics[a], f).inverse() for f in frames]
        poses[b] = robust_mean(between) @ poses[a]
    return [poses[c] for c in range(len(names))]


def place_boards(cameras: list[Pose], intrinsics: list[Intrinsics]) -> dict[int, Pose]:
    """Return each frame's board in the world: as the cameras that saw it mostly say."""
    frames = sorted({f for one in intrinsics for f in one.R})
    return {
        f: robust_mean([cameras[c].inverse() @ _of(one, f) for c, one in enumerate(intrinsics) if f in one.R])
        for f in frames
    }


def _of(intrinsics: Intrinsics, frame: int) -> Pose:
    return Pose(intrinsics.R[frame], intrinsics.t[frame])


def _separate_groups(names: tuple[str, ...], common: dict[tuple[int, int], list[int]]) -> str:
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


@dataclass(frozen=True)
class RigCalibration:
    """A rig found by boards.

    `observed` are all corners with their camera, `block` counting `frames`; `error_px` their distances. `edges_mm`
    are the board's edges as the cameras measure them, each frame by itself; `edges_along` says which run along its
    columns, not down. `left_out` counts frames by camera in which what was taken for the board fits nowhere.
    """

    cameras: Cameras
    rig: Rig
    blocks: Blocks
    observed: Observations
    corner: Int[np.ndarray, 'N']
    frames: tuple[int, ...]
    error_px: Float[np.ndarray, 'N']
    edges_mm: Float[np.ndarray, ' E']
    edges_along: Bool[np.ndarray, ' E']
    left_out: dict[str, int]
    converged: bool
    focal_sd: Float[np.ndarray, 'C']


def calibrate_rig(
    views: BoardViews, board: Board, n_lens: int = 2, floor_frame: int | None = None, free_centre: bool = True
) -> RigCalibration:
    """Calibrate cameras by boards that they saw together.

    Each camera's lens by itself (`find_intrinsics`), places along a spanning tree of pairs (`stand_cameras`), then
    bundle adjustment of all cameras and boards on a Cauchy loss.

    Args:
        views: detected corners.
        board: what was seen.
        n_lens: lens coefficients: 1, 2 or 5.
        floor_frame: number of a frame in which the board lies on the floor: it becomes z = 0 with z up, the
            origin its corner. The world is the first camera's frame without.
        free_centre: whether principal points are found; else they are the images' middles.

    Raises:
        ValueError: a camera that never sees the board, too few views, groups of cameras that never see it together.
    """
    require_observed(views)
    result = [
        find_intrinsics(name, one, board, size, n_lens)
        for name, one, size in zip(views.names, views.views, views.size)
    ]
    stands = stand_cameras(views.names, result)
    rig = _joined([one.rig for one in result], stands)
    if not free_centre:
        rig = replace(rig, centre=(views.size - 1) / 2)
    placed = place_boards(stands, result)
    frames, blocks = tuple(placed), blocks_of(placed.values())
    rows = [
        (c, i, one[f]) for c, one in enumerate(views.views) for i, f in enumerate(frames) if f in result[c].R
    ]
    # What corners usually miss by is measured before the first adjustment.
    observed, corner = observed_corners(rows, board, np.ones(len(rig.R)))
    free = np.zeros((len(rig.R), N_COLUMNS), dtype=bool)
    free[1:, TURN] = free[1:, SHIFT] = True
    free[:, FOCAL], free[:, CENTRE] = True, free_centre
    free[:, [LENS.start + k for k in LENSES[n_lens]]] = True
    for _ in range(_ROUNDS):
        error = residuals_px(rig, blocks, observed)
        sigma = [usual_miss_px(error[observed.camera == c], LEAST_SIGMA_PX) for c in range(len(rig.R))]
        observed = replace(observed, sigma_px=np.array(sigma))
        end = adjust(rig, blocks, observed, free)
        rig, blocks = end.rig, end.blocks
    if floor_frame is not None:
        rig, blocks = _on_floor(rig, blocks, frames, floor_frame)
    edges, along = measured_edges(rig, observed, corner, board, len(frames))
    return RigCalibration(
        cameras=rig.cameras(views.names, views.size, 'mm'),
        rig=rig,
        blocks=blocks,
        observed=observed,
        corner=corner,
        frames=frames,
        error_px=residuals_px(rig, blocks, observed),
        edges_mm=edges,
        edges_along=along,
        left_out={n: len(v) - len(f.R) for n, v, f in zip(views.names, views.views, result)},
        converged=end.converged,
        focal_sd=_focal_sd(end.information, free) * rig.focal[:, 0],
    )


def observed_corners(
    rows: Sequence[tuple[int, int, Detection]], board: Board, sigma_px: Float[np.ndarray, 'C']
) -> tuple[Observations, Int[np.ndarray, 'N']]:
    """Gather detected corners by camera and block (a row's two numbers), and say which of the board's they are."""
    corner = np.concatenate([result.ids for *_, result in rows])
    count = [len(result.ids) for *_, result in rows]
    observed = Observations(
        camera=np.repeat([c for c, *_ in rows], count),
        block=np.repeat([i for _, i, _ in rows], count),
        local=board.points[corner],
        xy=np.concatenate([result.xy for *_, result in rows]),
        sigma_px=sigma_px,
    )
    return observed, corner


def require_observed(views: BoardViews) -> None:
    """Refuse recordings in which a camera never sees the board.

    Raises:
        ValueError: names them.
    """
    blind = [
        f'{name!r} (of {count} images)'
        for name, one, count in zip(views.names, views.views, views.searched)
        if not one
    ]
    if blind:
        raise ValueError(
            f'calibrate: every camera must see the board; it was found in no image of {", ".join(blind)}. Check '
            '--board, --squares and --dictionary, or move the folder away to leave the camera out.'
        )


def measured_edges(
    rig: Rig, observed: Observations, corner: Int[np.ndarray, 'N'], board: Board, n_frames: int
) -> tuple[Float[np.ndarray, ' E'], Bool[np.ndarray, ' E']]:
    """Measure the board's edges by corners that two cameras place, whatever it is; and say which run along it."""
    import torch

    cameras = rig.cameras([str(c) for c in range(len(rig.R))], np.ones((len(rig.R), 2)), None)
    xy = torch.zeros(n_frames, len(rig.R), len(board.points), 2, dtype=torch.float64)
    present = torch.zeros(xy.shape[:-1], dtype=torch.float64)
    xy[observed.block, observed.camera, corner] = torch.from_numpy(observed.xy)
    present[observed.block, observed.camera, corner] = 1.0
    ideal, inside = cameras.undistort(xy)
    points, valid, _ = triangulate(ideal, present * inside, cameras.K, cameras.R, cameras.t, 5)
    a, b = board.edges.T
    length = (points[:, a] - points[:, b]).norm(dim=-1)
    placed_ends = (valid[:, a] & valid[:, b]).numpy()
    return length.numpy()[placed_ends], np.broadcast_to(board.edges_along, placed_ends.shape)[placed_ends]


def _joined(cameras: list[Rig], stands: list[Pose]) -> Rig:
    values = {n: np.concatenate([getattr(c, n) for c in cameras]) for n in cameras[0].__dataclass_fields__}
    values['R'], values['t'] = np.stack([p.R for p in stands]), np.stack([p.t for p in stands])
    return Rig(**values)


def _on_floor(rig: Rig, blocks: Blocks, frames: tuple[int, ...], floor: int) -> tuple[Rig, Blocks]:
    """Make one frame's board the world's z = 0, with the cameras above it."""
    if floor not in frames:
        near = sorted(frames, key=lambda f: abs(f - floor))[:5]
        raise ValueError(
            f'calibrate: the board must be seen in --floor-frame {floor}; it is not. Near there it is in '
            f'{sorted(near)}.'
        )
    R, t = blocks.rotations[frames.index(floor)], blocks.t[frames.index(floor)]
    above = np.median((rig.centres - t) @ R[:, 2])
    # A printed board's z points into the floor: turn it about x.
    R = R if above > 0 else R * np.array([1.0, -1.0, -1.0])
    # x_world_new = R^T (x - t).
    cameras = replace(rig, R=rig.R @ R, t=rig.t + rig.R @ t)
    return cameras, Blocks((blocks.t - t) @ R, R.T @ blocks.rotations)


def _focal_sd(information: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each log focal length where corners err by themselves."""
    number = np.full(free.shape, -1)
    number[free] = np.arange(int(free.sum()))
    variance = np.diagonal(inverse_information(information))
    return np.sqrt(variance[number[:, FOCAL.start]])
