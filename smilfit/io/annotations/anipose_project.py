"""An anipose project's configuration: which folders hold what, how cameras are called, where the calibration is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smilfit.files import shorten
from smilfit.files.toml_files import read_toml
from smilfit.io.annotations.entries import BadEntry, numbers
from smilfit.io.camera_names import check_pattern
from smilfit.io.session_folder import CALIBRATION_FILE
from smilfit.structures import Cameras

CONFIG_FILE = 'config.toml'
USUAL_CAM_REGEX = '-cam([A-Z])$'
# Folders of a session, by their names in the configuration's table `pipeline`, and anipose's own names.
FOLDERS = {
    'videos_raw': 'videos-raw',
    'videos_raw_mp4': 'videos-raw-mp4',
    'pose_2d': 'pose-2d',
    'pose_2d_filter': 'pose-2d-filtered',
    'pose_2d_projected': 'pose-2d-proj',
    'pose_3d': 'pose-3d',
    'pose_3d_filter': 'pose-3d-filtered',
    'calibration_results': 'calibration',
}
# Sessions lie so deep in a project at most.
MOST_LEVELS = 4


def read_config(session: Path) -> dict[str, Any]:
    """Read the nearest config.toml, the session's or its project's; {} where there is none.

    Raises:
        BadFileError: it is no TOML.
    """
    file = next((f / CONFIG_FILE for f in levels(session) if (f / CONFIG_FILE).is_file()), None)
    if file is None:
        return {}
    return read_toml(file, 'the configuration')


def levels(session: Path) -> list[Path]:
    """Give a session's folder and those above it, up to the project's (which has the configuration)."""
    absolute = session.absolute()
    above = [absolute, *absolute.parents[: MOST_LEVELS - 1]]
    top = next((i for i, folder in enumerate(above) if (folder / CONFIG_FILE).is_file()), 2)
    return above[: top + 1]


def cam_regex(session: Path, config: dict[str, Any]) -> str:
    """Give the pattern of config.toml; one that could take forever to match is refused."""
    table = config.get('triangulation', {})
    pattern = table.get('cam_regex', USUAL_CAM_REGEX) if isinstance(table, dict) else None
    return check_pattern(str(session), pattern)


def folder_called(config: dict[str, Any], name: str) -> str:
    """Give the name that the configuration's table `pipeline` gives to a folder of sessions."""
    table = config.get('pipeline', {})
    stated = table.get(name, FOLDERS[name]) if isinstance(table, dict) else FOLDERS[name]
    plain = isinstance(stated, str) and stated not in ('', '.', '..') and Path(stated).name == stated
    return stated if plain else FOLDERS[name]


def find_calibration(session: Path, config: dict[str, Any]) -> Path | None:
    """Find `calibration/calibration.toml`, else `calibration.toml`, of the session or of a level above it."""
    places = (
        folder / name
        for folder in levels(session)
        for name in (folder_called(config, 'calibration_results'), '.')
    )
    return next((p / CALIBRATION_FILE for p in places if (p / CALIBRATION_FILE).is_file()), None)


def offset_of(config: dict[str, Any], camera: str) -> np.ndarray:
    """Give the place (x, y) px in the calibrated image at which a camera's images begin (`cameras.<name>.offset`).

    Raises:
        BadEntry: it is no such place.
    """
    stated: Any = config
    for key in ('cameras', camera, 'offset'):
        stated = stated.get(key) if isinstance(stated, dict) else None
    offset = np.zeros(2) if stated is None else numbers(stated, (None,), 'offset')[:2]
    if len(offset) != 2 or np.abs(offset).max() > 1e6:
        raise BadEntry(
            f'offset of camera {shorten(camera)!r} in config.toml must be x and y px; it is not. Correct it.'
        )
    return offset


def moved_by(cameras: Cameras, offset: np.ndarray) -> Cameras:
    """Give cameras whose images begin at an offset (..., 2) px of the calibrated ones."""
    K = cameras.K.clone()
    K[..., :2, 2] -= torch.as_tensor(offset, dtype=K.dtype)
    return replace(cameras, K=K)
