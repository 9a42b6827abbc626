"""Calibrate cameras: a rig by boards, or one camera against the others by boards or by the animal's labels."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from smilfit.apis.calibrate_options import BoardRepairOptions, LabelRepairOptions, RigOptions
from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input, check_output_folder
from smilfit.apis.preprocessing.labelled_sessions import images_of, joined2d, joined3d, labelled_sessions
from smilfit.cameras import repair_by_labels
from smilfit.cameras.board_recordings import BoardViews, read_board_views, some_images
from smilfit.cameras.board_repair import repair_by_boards
from smilfit.cameras.boards import MOST_IMAGES, Board, likely_board
from smilfit.cameras.camera_repair import CameraRepair
from smilfit.cameras.repair_page import repair_page
from smilfit.cameras.rig import Rig
from smilfit.cameras.rig_calibration import RigCalibration, calibrate_rig, require_observed
from smilfit.cameras.rig_page import rig_page
from smilfit.cameras.summary import (
    comparison_sentences,
    covered_share,
    repair_objections,
    repair_sentences,
    rig_objections,
    rig_sentences,
    spread_px,
)
from smilfit.files import write_text
from smilfit.io.calibration import CALIBRATION_FILE, read_calibration, replace_camera, write_calibration
from smilfit.structures import Cameras
from smilfit.structures.body import MILLIMETRES

REPORT_FILE, FIGURES_FILE = 'report.html', 'figures.json'


@dataclass(frozen=True)
class CalibrationRun:
    """What was written, the new cameras, what to say of them, and why not to use them (empty: nothing says so)."""

    calibration: Path
    report: Path
    cameras: Cameras
    sentences: list[str]
    doubts: list[str]


def new_calibration(out: str | Path) -> Path:
    """Return the path of the calibration in a folder; one that is there is never replaced.

    Raises:
        FileExistsError: it is there.
    """
    path = check_output_folder(out, '--out') / CALIBRATION_FILE
    if path.exists():
        raise FileExistsError(f'--out: {path} is there already and is not replaced. Name another folder.')
    return path


@with_options(
    LabelRepairOptions, positional=('free', 'points', 'like_mates', 'unit', 'exclude_cameras', 'format')
)
def calibrate_camera(
    session: str | Path, camera: str, out: str | Path, options: LabelRepairOptions
) -> CalibrationRun:
    """Calibrate one camera of a session against the others by the animal's labelled points.

    Where a folder holds several sessions of one calibration, the labels of all of them count.

    Args:
        session: what preprocessing reads as calibrated sessions: a folder with `calibration.toml` and labels of
            each camera, a folder of such folders, or a project.
        camera: the one to be calibrated.
        out: folder for the new calibration.toml, report.html and figures.json.

    Raises:
        FileExistsError: there is a calibration in `out`.
        KeyError: an unknown camera.
        ValueError: too few cameras or labels, or sessions of several calibrations.
    """
    path = new_calibration(out)
    check_not_an_input(out, (session,), '--out', inside=True)
    given = options.points == 'given'
    read = labelled_sessions(session, options.format, options.unit, given, tuple(options.exclude_cameras))
    observed = joined2d([one.keypoints2d() for one in read.sessions])
    known = joined3d([one.keypoints3d() for one in read.sessions], session) if given else None
    repair = repair_by_labels(observed, camera, options.free, known, options.like_mates)
    names = [observed.names[p] for p in repair.point]
    places = 'the given 3D points' if given else 'the points that the other cameras place'
    images = images_of(read.sessions, camera, _typical_frames(repair))
    return _write_repair(repair, observed.rig, read.cameras, read.calibration, path, names, places, images)


@with_options(BoardRepairOptions, positional=('free', 'n_lens', 'most_frames', 'unit', 'on_camera'))
def calibrate_camera_by_boards(
    calibration: str | Path,
    recordings: str | Path,
    board: Board,
    camera: str,
    out: str | Path,
    options: BoardRepairOptions,
) -> CalibrationRun:
    """Calibrate one camera against others by recordings of a board that they see at the same time.

    Args:
        calibration: the calibration.toml, or the folder that holds it.
        recordings: holds a subfolder for this camera and for others, called after them.
        board: what they show, in mm.
        camera: the one to be calibrated.
        out: folder for the new calibration.toml, report.html and figures.json.

    Raises:
        FileExistsError: there is a calibration in `out`.
        KeyError: an unknown camera.
        ValueError: too few boards, or a board of another size than the other cameras measure.
    """
    path = new_calibration(out)
    check_not_an_input(path, (recordings,), '--out')
    source = Path(calibration)
    source = source / CALIBRATION_FILE if source.is_dir() else source
    cameras = read_calibration(source, options.unit)
    cameras.select((camera,))
    views = read_board_views(recordings, board, options.most_frames, options.on_camera)
    _require_board(views, board, recordings)
    measured = _in_unit(board, cameras.unit)
    repair = repair_by_boards(cameras, views, measured, camera, options.free, options.n_lens)
    kept = cameras.select([name for name in cameras.names if name in views.names])
    names = [f'frame {frame}' for frame in repair.frame]
    return _write_repair(
        repair, kept, cameras, source, path, names, 'the boards that the other cameras place'
    )


def _in_unit(board: Board, unit: str | None) -> Board:
    """Measure a board in a world's unit; a world that states none, or one of its own, is taken to be in mm."""
    size = MILLIMETRES.get(unit or 'mm', 1.0)
    return replace(board, square_mm=board.square_mm / size, marker_mm=board.marker / size)


def _write_repair(
    repair: CameraRepair,
    cameras: Cameras,
    whole: Cameras,
    calibration: Path | None,
    path: Path,
    names: list[str],
    places: str,
    images: Mapping[int, np.ndarray] | None = None,
) -> CalibrationRun:
    """Write page, figures and calibration.

    Args:
        cameras: those that took part, of the images as recorded.
        calibration: its file; None where it has none of its own.
        names: of what each of the camera's pixels is.
        places: what they were held against, in words.
        images: some of the camera's by frame, to be shown.
    """
    new = _put(whole, repair, cameras)
    sentences, doubts = repair_sentences(repair, cameras, places), repair_objections(repair, cameras)
    path.parent.mkdir(parents=True, exist_ok=True)
    page = repair_page(repair, cameras, names, [*sentences, *doubts], path.parent, images)
    report = page.save(path.parent / REPORT_FILE)
    write_text(path.parent / FIGURES_FILE, json.dumps(_figures(repair, cameras), indent=1) + '\n')
    # Last, so that a folder with a calibration is a whole one.
    if calibration is None:
        write_calibration(path, new)
    else:
        replace_camera(calibration, path, new, cameras.names[repair.camera])
    return CalibrationRun(path, report, new, sentences, doubts)


def _typical_frames(repair: CameraRepair) -> list[int]:
    """Choose frames of many labels that miss by least, by the median, and by most."""
    frames, counts = np.unique(repair.frame, return_counts=True)
    full = frames[counts >= np.median(counts)]
    miss = [float(np.median(repair.after[repair.frame == f])) for f in full]
    order = full[np.argsort(miss, kind='stable')]
    return [int(order[i]) for i in dict.fromkeys((0, len(order) // 2, len(order) - 1))]


def _put(whole: Cameras, repair: CameraRepair, cameras: Cameras) -> Cameras:
    """Put the new camera among all of a calibration.

    Videos may show a part of the calibrated image: the principal point goes back to where it is in that one.
    """
    index = whole.names.index(cameras.names[repair.camera])
    before, rig = Rig.of(cameras).one(repair.camera), Rig.of(whole)
    one = repair.rig.one(repair.camera)
    one = replace(one, centre=one.centre + (rig.centre[index] - before.centre))
    return rig.put(index, one).cameras(whole.names, whole.size.cpu().numpy(), whole.unit)


@with_options(
    RigOptions, positional=('n_lens', 'floor_frame', 'free_centre', 'most_frames', 'against', 'on_camera')
)
def calibrate_boards(
    folder: str | Path, board: Board, out: str | Path, options: RigOptions
) -> CalibrationRun:
    """Calibrate a rig by recordings of a board, one subfolder a camera, taken at the same time.

    Args:
        folder: holds the subfolders, each with one video or with numbered images.
        board: what they show.
        out: folder for calibration.toml, report.html and figures.json.

    Raises:
        FileExistsError: there is a calibration in `out`.
        ValueError: a camera that never sees the board, too few views, cameras that never see it together.
    """
    path = new_calibration(out)
    check_not_an_input(path, (folder,), '--out')
    other = None if options.against is None else read_calibration(options.against)
    views = read_board_views(folder, board, options.most_frames, options.on_camera)
    _require_board(views, board, folder)
    result = calibrate_rig(views, board, options.n_lens, options.floor_frame, options.free_centre)
    sentences, doubts = rig_sentences(result, board), rig_objections(result, board)
    if other is not None:
        compared, against_it = comparison_sentences(result.cameras, other)
        sentences, doubts = sentences + compared, doubts + against_it
    path.parent.mkdir(parents=True, exist_ok=True)
    report = rig_page(result, board, [*sentences, *doubts], path.parent).save(path.parent / REPORT_FILE)
    write_text(path.parent / FIGURES_FILE, json.dumps(_rig_figures(result, board), indent=1) + '\n')
    write_calibration(path, result.cameras)
    return CalibrationRun(path, report, result.cameras, sentences, doubts)


def _require_board(views: BoardViews, board: Board, folder: str | Path) -> None:
    """Refuse recordings in which a camera never sees the board; say what they show instead where that is found."""
    try:
        require_observed(views)
    except ValueError as error:
        blind = next(n for n, one in zip(views.names, views.views) if not one)
        instead = likely_board(board, some_images(folder, blind, MOST_IMAGES))
        raise ValueError(f'{error} {instead}' if instead else str(error)) from None


def _rig_figures(calibration: RigCalibration, board: Board) -> dict[str, object]:
    cameras = {}
    for c, name in enumerate(calibration.cameras.names):
        pick = calibration.observed.camera == c
        cameras[name] = {
            'median_px': spread_px(calibration.error_px[pick])[0],
            'p95_px': spread_px(calibration.error_px[pick])[1],
            'frames': len(np.unique(calibration.observed.block[pick])),
            'corners': int(pick.sum()),
            'focal_sd_px': float(calibration.focal_sd[c]),
            'covered': covered_share(calibration.observed.xy[pick], calibration.cameras.size[c].tolist()),
        }
    edges = calibration.edges_mm
    return {
        'cameras': cameras,
        'frames': list(calibration.frames),
        'edge_mm': {'stated': board.edge_mm, 'median': float(np.median(edges)) if len(edges) else None},
    }


def _figures(repair: CameraRepair, cameras: Cameras) -> dict[str, object]:
    uncertainty, c = repair.uncertainty, repair.camera
    return {
        'camera': cameras.names[c],
        'labels': len(repair.xy),
        'median_px_and_p95': {
            n: [round(x, 4) for x in spread_px(getattr(repair, n))]
            for n in ('before', 'after', 'held_out_frames', 'held_out_points')
        },
        'others_median_px': {cameras.names[o]: list(px) for o, px in repair.others_px.items()},
        'focal_px': float(repair.rig.focal[c, 0]),
        'place': repair.rig.centres[c].tolist(),
        'sd': {
            'rotation_deg': uncertainty.rotation_sd_deg,
            'place': uncertainty.place_sd.tolist(),
            'focal_share': uncertainty.focal_sd_share,
        },
        'columns': ['turn'] * 3 + ['shift'] * 3 + ['log focal', 'cx', 'cy', 'k1', 'k2', 'p1', 'p2', 'k3'],
        'covariance': np.round(uncertainty.covariance, 12).tolist(),
    }
