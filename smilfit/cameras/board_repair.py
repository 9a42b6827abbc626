"""One camera calibrated anew by boards that the other cameras place."""

from dataclasses import replace

import numpy as np

from smilfit.cameras.board_recordings import BoardViews
from smilfit.cameras.boards import Board
from smilfit.cameras.bundle_adjustment import Blocks, Observations, adjust, residuals_px, usual_miss_px
from smilfit.cameras.camera_repair import CameraRepair, Sightings, repair_camera, start_rigs
from smilfit.cameras.rig import N_COLUMNS, Rig
from smilfit.cameras.rig_calibration import (
    LEAST_SIGMA_PX,
    MIN_VIEWS,
    WRONG_SCALE,
    Pose,
    blocks_of,
    find_intrinsics,
    measured_edges,
    observed_corners,
    place_board,
    robust_mean,
)
from smilfit.structures import Cameras


def repair_by_boards(
    cameras: Cameras, views: BoardViews, board: Board, camera: str, level: str = 'lens', n_lens: int = 2
) -> CameraRepair:
    """Calibrate one camera by boards that other cameras place; see `repair_camera`.

    Args:
        cameras: the rig, of which the others are right.
        views: what cameras of these names saw of the board; those without recordings take no part.
        board: what was seen, in the unit of the cameras.
        camera: the name of the one to be calibrated.
        n_lens: lens coefficients that a start by its own boards has.

    Raises:
        KeyError: an unknown camera, with the near names.
        ValueError: too few boards that it and another camera see, a board of another size than the rig says, or
            other cameras that contradict each other.
    """
    cameras.select((camera, *views.names))
    names = [name for name in cameras.names if name in views.names]
    if camera not in names or len(names) < 2:
        raise ValueError(
            f'calibrate: camera {camera!r} and one that is right must have recordings of the board; got '
            f'{list(views.names)}. Add a folder called after each.'
        )
    kept = cameras.select(names)
    index, rig, size = names.index(camera), Rig.of(kept), kept.size.cpu().numpy().astype(np.float64)
    own = views.views[views.names.index(camera)]
    others = {c: views.views[views.names.index(n)] for c, n in enumerate(names) if n != camera}
    frames = [f for f in sorted(own) if any(f in observed for observed in others.values())]
    if len(frames) < MIN_VIEWS:
        raise ValueError(
            f'calibrate: {MIN_VIEWS} frames at least must show the board to {camera!r} and to another camera at '
            f'once; got {len(frames)}. Film it where both see it, and start the recordings together.'
        )
    placed, observed, corner = _placed(rig, index, own, others, frames, board)
    edges = _measured_by_others(rig, observed, corner, board, index, cameras.unit or 'world units')
    numbers = np.array(frames)
    sightings = Sightings(observed, placed, numbers, numbers, 'board', least_px=LEAST_SIGMA_PX)
    starts = _starts(rig, index, own, board, size, sightings, level, n_lens)
    return replace(repair_camera(rig, index, sightings, starts, size, level, like_mates=False), edges=edges)


def _placed(
    rig: Rig, index: int, own: dict, others: dict[int, dict], frames: list[int], board: Board
) -> tuple[Blocks, Observations, np.ndarray]:
    """Place boards by the good cameras, and gather what all saw of them."""
    poses = []
    for f in frames:
        result = []
        for c, observed in others.items():
            one = place_board(observed[f], board, rig.one(c)) if f in observed else None
            if one is not None:
                result.append(Pose(rig.R[c], rig.t[c]).inverse() @ Pose(one[0], one[1]))
        poses.append(robust_mean(result))
    blocks = blocks_of(poses)
    rows = [
        (c, i, observed[f])
        for c, observed in {**others, index: own}.items()
        for i, f in enumerate(frames)
        if f in observed
    ]
    whole, corner = observed_corners(rows, board, np.ones(len(rig.R)))
    good = whole.take(whole.camera != index)
    blocks = adjust(rig, blocks, good, np.zeros((len(rig.R), N_COLUMNS), dtype=bool)).blocks
    error = residuals_px(rig, blocks, whole)
    sigma = [usual_miss_px(error[whole.camera == c], LEAST_SIGMA_PX) for c in range(len(rig.R))]
    return blocks, replace(whole, sigma_px=np.array(sigma)), corner


def _measured_by_others(
    rig: Rig, observed: Observations, corner: np.ndarray, board: Board, index: int, unit: str
) -> np.ndarray:
    """Measure the board's edges by the good cameras; refuse a board of another size."""
    good = observed.camera != index
    edges, _ = measured_edges(rig, observed.take(good), corner[good], board, int(observed.block.max()) + 1)
    if len(edges) and abs(float(np.median(edges)) / board.edge_mm - 1) > WRONG_SCALE:
        raise ValueError(
            f'calibrate: edges of the board must be as long as stated, {board.edge_mm:g} {unit}; the other cameras '
            f"measure {float(np.median(edges)):.4g}. Correct --square-mm, or the calibration's unit (--unit); or "
            'the others contradict each other.'
        )
    return edges


def _starts(
    rig: Rig,
    index: int,
    own: dict,
    board: Board,
    size: np.ndarray,
    sightings: Sightings,
    level: str,
    n_lens: int,
) -> list[Rig]:
    """Return places of the camera: by its own calibration on its boards, and by all their corners."""
    starts, placed = [], sightings.blocks
    if level != 'pose' and len(own) >= MIN_VIEWS:
        alone = find_intrinsics('', own, board, size[index], n_lens)
        stands = [
            Pose(alone.R[f], alone.t[f]) @ Pose(placed.rotations[i], placed.t[i]).inverse()
            for i, f in enumerate(sightings.frame.tolist())
            if f in alone.R
        ]
        if stands:
            pose = robust_mean(stands)
            starts.append(replace(alone.rig, R=pose.R[None], t=pose.t[None]))
    mine = sightings.observed.take(sightings.observed.camera == index)
    return [*starts, *start_rigs(rig, index, placed.place(mine), mine.xy, size, level)]
