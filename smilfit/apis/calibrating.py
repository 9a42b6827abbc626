"""Calibrate cameras: one against the others, by what the animal's labels show."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.apis.output_paths import check_output_folder
from smilfit.calibration import repair_by_labels
from smilfit.calibration.camera_repair import CameraRepair
from smilfit.calibration.free_parameters import Free
from smilfit.calibration.words import repair_sentences, spread_px
from smilfit.files import write_text
from smilfit.io import SleapSession
from smilfit.io.calibration import replace_camera
from smilfit.io.session_folder import CALIBRATION_FILE
from smilfit.structures import Cameras

REPORT_FILE, FIGURES_FILE = 'report.html', 'figures.json'


@dataclass(frozen=True)
class CalibrationRun:
    """What was written, the new cameras, and what to say of them."""

    calibration: Path
    report: Path
    cameras: Cameras
    sentences: list[str]


def new_calibration(out: str | Path) -> Path:
    """Give the path of the calibration in a folder; one that is there is never replaced.

    Raises:
        FileExistsError: it is there.
    """
    path = check_output_folder(out, '--out') / CALIBRATION_FILE
    if path.exists():
        raise FileExistsError(f'--out: {path} is there already and is not replaced. Name another folder.')
    return path


def calibrate_camera(
    session: str | Path,
    camera: str,
    out: str | Path,
    free: Free = 'focal',
    points: str = 'placed',
    like_mates: bool = True,
    unit: str | None = None,
    exclude_cameras: tuple[str, ...] = (),
) -> CalibrationRun:
    """Calibrate one camera of a session against the others by the animal's labelled points.

    Args:
        session: folder with `calibration.toml` and labels of each camera.
        camera: the one to be calibrated.
        out: folder for the new calibration.toml, report.html and figures.json.
        free: what may move; see `smilfit.calibration.free_parameters`.
        points: `'placed'` by the other cameras, or `'given'` by the session's points3d.h5.
        like_mates: expect a focal length and lens like those of cameras with the same image size.
        unit: of the calibration, where it does not say.
        exclude_cameras: those that take no part; they keep their numbers.

    Raises:
        FileExistsError: there is a calibration in `out`.
        KeyError: an unknown camera.
        ValueError: too few cameras or labels.
    """
    path = new_calibration(out)
    given = points == 'given'
    read = SleapSession(
        session, unit=unit, with_3d=given, exclude_cameras=exclude_cameras, partial_labels=True
    )
    seen = read.keypoints2d()
    if read.cameras is None:
        raise ValueError(f'{session}: must have a {CALIBRATION_FILE} of the other cameras; it has none.')
    known = read.keypoints3d() if given else None
    if given and known is None:
        raise ValueError(f'{session}: must have points3d.h5 for --points given; it has none. Leave it away.')
    repair = repair_by_labels(seen, camera, free, known, like_mates)
    size = read.cameras.size.numpy()
    cameras = repair.rig.cameras(read.cameras.names, size, read.cameras.unit)
    sentences = repair_sentences(repair, read.cameras, given)
    path.parent.mkdir(parents=True, exist_ok=True)
    report = _write_page(repair, read, sentences, path.parent)
    figures = _figures(repair, read.cameras)
    write_text(path.parent / FIGURES_FILE, json.dumps(figures, indent=1) + '\n')
    # Last, so that a folder with a calibration is a whole one.
    replace_camera(Path(session) / CALIBRATION_FILE, path, cameras, camera)
    return CalibrationRun(path, report, cameras, sentences)


def _write_page(repair: CameraRepair, session: SleapSession, sentences: list[str], folder: Path) -> Path:
    from smilfit.visualization.calibration_report import repair_page

    names = [session.keypoint_names[p] for p in repair.point]
    page = repair_page(repair, session.cameras, names, repair.points, sentences, folder)
    return page.save(folder / REPORT_FILE)


def _figures(repair: CameraRepair, cameras: Cameras) -> dict[str, Any]:
    doubt, c = repair.doubt, repair.camera
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
            'rotation_deg': doubt.turn_sd_deg,
            'place': doubt.place_sd.tolist(),
            'focal_share': doubt.focal_sd_share,
        },
        'columns': ['turn'] * 3 + ['shift'] * 3 + ['log focal', 'cx', 'cy', 'k1', 'k2', 'p1', 'p2', 'k3'],
        'covariance': np.round(doubt.covariance, 12).tolist(),
    }
