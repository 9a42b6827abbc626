"""A whole rig by boards: lenses, places, then everything at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from smilfit.cameras.board_recordings import BoardViews
from smilfit.cameras.boards import Board, Detection
from smilfit.cameras.bundle_adjustment import Blocks, Observations, adjust, residuals_px, usual_miss_px
from smilfit.cameras.doubt import inverse_information
from smilfit.cameras.extrinsics import place_boards, stand_cameras
from smilfit.cameras.intrinsics import LENSES, find_intrinsics
from smilfit.cameras.rig import CENTRE, FOCAL, LENS, N_COLUMNS, SHIFT, TURN, Rig
from smilfit.geometry.triangulation import triangulate
from smilfit.structures import Cameras

# Corners that OpenCV finds in a sharp image miss by some hundredths of a px.
LEAST_SIGMA_PX = 0.05
_ROUNDS = 2
# Measured lengths that differ by this share are not those that were stated.
WRONG_SCALE = 0.02


@dataclass(frozen=True)
class RigCalibration:
    """A rig found by boards.

    `seen` are all corners with their camera, `block` counting `frames`; `error_px` their distances. `edges_mm` are
    the board's edges as the cameras measure them, each frame by itself; `edges_along` says which run along its
    columns, not down. `left_out` counts frames by camera in which what was taken for the board fits nowhere.
    """

    cameras: Cameras
    rig: Rig
    blocks: Blocks
    seen: Observations
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
    require_seen(views)
    result = [
        find_intrinsics(name, one, board, size, n_lens)
        for name, one, size in zip(views.names, views.views, views.size)
    ]
    stands = stand_cameras(views.names, result) if len(result) > 1 else None
    rig = _joined([one.rig for one in result], stands)
    if not free_centre:
        rig = replace(rig, centre=(views.size - 1) / 2)
    placed = place_boards(stands, result) if stands else None
    frames = tuple(sorted({f for one in result for f in one.R}))
    if placed is None:
        blocks = Blocks(
            np.stack([result[0].t[f] for f in frames]), np.stack([result[0].R[f] for f in frames])
        )
    else:
        blocks = Blocks(np.stack([placed[f].t for f in frames]), np.stack([placed[f].R for f in frames]))
    rows = [
        (c, i, one[f]) for c, one in enumerate(views.views) for i, f in enumerate(frames) if f in result[c].R
    ]
    # What corners usually miss by is measured before the first adjustment.
    seen, corner = observed_corners(rows, board, np.ones(len(rig.R)))
    free = np.zeros((len(rig.R), N_COLUMNS), dtype=bool)
    free[1:, TURN] = free[1:, SHIFT] = True
    free[:, FOCAL], free[:, CENTRE] = True, free_centre
    free[:, [LENS.start + k for k in LENSES[n_lens]]] = True
    for _ in range(_ROUNDS):
        error = residuals_px(rig, blocks, seen)
        sigma = [usual_miss_px(error[seen.camera == c], LEAST_SIGMA_PX) for c in range(len(rig.R))]
        seen = replace(seen, sigma_px=np.array(sigma))
        end = adjust(rig, blocks, seen, free)
        rig, blocks = end.rig, end.blocks
    if floor_frame is not None:
        rig, blocks = _on_floor(rig, blocks, frames, floor_frame)
    edges, along = measured_edges(rig, seen, corner, board, len(frames))
    return RigCalibration(
        cameras=rig.cameras(views.names, views.size, 'mm'),
        rig=rig,
        blocks=blocks,
        seen=seen,
        corner=corner,
        frames=frames,
        error_px=residuals_px(rig, blocks, seen),
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
    seen = Observations(
        camera=np.repeat([c for c, *_ in rows], count),
        block=np.repeat([i for _, i, _ in rows], count),
        local=board.points[corner],
        xy=np.concatenate([result.xy for *_, result in rows]),
        sigma_px=sigma_px,
    )
    return seen, corner


def require_seen(views: BoardViews) -> None:
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
    rig: Rig, seen: Observations, corner: Int[np.ndarray, 'N'], board: Board, n_frames: int
) -> tuple[Float[np.ndarray, ' E'], Bool[np.ndarray, ' E']]:
    """Measure the board's edges by corners that two cameras place, whatever it is; and say which run along it."""
    import torch

    cameras = rig.cameras([str(c) for c in range(len(rig.R))], np.ones((len(rig.R), 2)), None)
    xy = torch.zeros(n_frames, len(rig.R), len(board.points), 2, dtype=torch.float64)
    present = torch.zeros(xy.shape[:-1], dtype=torch.float64)
    xy[seen.block, seen.camera, corner] = torch.from_numpy(seen.xy)
    present[seen.block, seen.camera, corner] = 1.0
    ideal, inside = cameras.undistort(xy)
    points, valid, _ = triangulate(ideal, present * inside, cameras.K, cameras.R, cameras.t, 5)
    a, b = board.edges.T
    length = (points[:, a] - points[:, b]).norm(dim=-1)
    there_too = (valid[:, a] & valid[:, b]).numpy()
    return length.numpy()[there_too], np.broadcast_to(board.edges_along, there_too.shape)[there_too]


def _joined(cameras: list[Rig], stands: list | None) -> Rig:
    values = {n: np.concatenate([getattr(c, n) for c in cameras]) for n in cameras[0].__dataclass_fields__}
    if stands is not None:
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
    R, t = blocks.R[frames.index(floor)], blocks.t[frames.index(floor)]
    above = np.median((rig.centres - t) @ R[:, 2])
    # A printed board's z points into the floor: turn it about x.
    R = R if above > 0 else R * np.array([1.0, -1.0, -1.0])
    # x_world_new = R^T (x - t).
    cameras = replace(rig, R=rig.R @ R, t=rig.t + rig.R @ t)
    return cameras, Blocks((blocks.t - t) @ R, R.T @ blocks.R)


def _focal_sd(information: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each log focal length where corners err by themselves."""
    number = np.full(free.shape, -1)
    number[free] = np.arange(int(free.sum()))
    variance = np.diagonal(inverse_information(information))
    return np.sqrt(variance[number[:, FOCAL.start]])
