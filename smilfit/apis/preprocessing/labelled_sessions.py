"""The labels of all sessions that share one calibration."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from smilfit.apis.preprocessing.data_source import DataSource
from smilfit.apis.preprocessing.session_source import find_places, open_place
from smilfit.files import shorten
from smilfit.io import RecordedSession
from smilfit.io.calibration import read_calibration
from smilfit.io.recordings.videos import iterate_videos
from smilfit.structures import Cameras, Keypoints2d, Keypoints3d


@dataclass(frozen=True)
class LabelledSessions:
    """Sessions of one calibration.

    `calibration` is its file, None where it is inside the labels' file; `cameras` are all of it, with those that take
    no part. Sessions may have other principal points than these, where their videos show a part of the image.
    """

    calibration: Path | None
    cameras: Cameras
    sessions: tuple[RecordedSession, ...]


def labelled_sessions(
    path: str | Path, format: str, unit: str | None, with_3d: bool, exclude_cameras: tuple[str, ...]
) -> LabelledSessions:
    """Open the sessions of a folder or project, all of one calibration.

    Args:
        path: as for preprocessing.
        format: how they are labelled.
        unit: of the calibration, where it does not state it.
        with_3d: read their 3D points.
        exclude_cameras: cameras to leave out.

    Raises:
        FileNotFoundError: no session there.
        ValueError: sessions without calibration, or of several.
    """
    places = find_places(DataSource(format, path), report=False)
    if not places:
        raise FileNotFoundError(
            f'{path}: must hold a calibrated session of several cameras with labels, read as {format}; found none. '
            'Name the --format (sleap, anipose, dlc, lightningpose), or the folder that holds calibration.toml.'
        )
    files = [next((p for p in place.inputs if p.suffix == '.toml' and p.is_file()), None) for place in places]
    texts = {None if file is None else file.read_bytes() for file in files}
    if len(texts) > 1:
        raise ValueError(
            f'{path}: sessions must share one calibration; got {len(texts)} different ones in '
            f'{shorten(", ".join(str(place.folder) for place in places))}. Name one session.'
        )
    how = {'unit': unit, 'partial_labels': True, 'trim': True, 'judge': False}
    read = [open_place(place, with_3d=with_3d, exclude_cameras=exclude_cameras, **how) for place in places]
    cameras = read[0].cameras
    if cameras is None:
        raise ValueError(
            f'{path}: there must be a calibration.toml of the other cameras; there is none. Calibrate all: smilfit '
            'calibrate boards --help.'
        )
    if files[0] is not None:
        cameras = read_calibration(files[0], unit)
    elif exclude_cameras:
        cameras = open_place(places[0], with_3d=False, **how).cameras or cameras
    return LabelledSessions(files[0], cameras, tuple(read))


def images_of(
    sessions: Sequence[RecordedSession], camera: str, frames: Sequence[int]
) -> dict[int, np.ndarray]:
    """Decode images of one camera by the frames' numbers in all sessions, one after the other; RGB."""
    result: dict[int, np.ndarray] = {}
    first = 0
    for session in sessions:
        mine = sorted(f - first for f in frames if first <= f < first + session.n_frames)
        if mine:
            decoded = iterate_videos({camera: session.video_paths[camera]}, mine)
            result |= {first + f: images[camera] for f, images in decoded}
        first += session.n_frames
    return result


def joined2d(parts: Sequence[Keypoints2d]) -> Keypoints2d:
    """Put the frames of several sessions one after the other, with the keypoints that all have.

    Raises:
        ValueError: sessions of other cameras.
    """
    first = parts[0].rig
    if any(part.rig.names != first.names for part in parts):
        raise ValueError(
            f'calibrate: all sessions must have the cameras {list(first.names)}; '
            f'got {[list(part.rig.names) for part in parts]}. Name one session.'
        )
    names = [n for n in parts[0].names if all(n in part.names for part in parts)]
    chosen = [part.select(names) for part in parts]
    xy, confidence = torch.cat([c.xy for c in chosen]), torch.cat([c.confidence for c in chosen])
    return Keypoints2d(xy, confidence, tuple(names), first)


def joined3d(parts: Sequence[Keypoints3d | None], where: str | Path) -> Keypoints3d:
    """Put the points of several sessions one after the other, with the keypoints that all have.

    Raises:
        ValueError: a session without points.
    """
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        raise ValueError(f'{where}: must have 3D points for --points given; it has none. Leave it away.')
    names = [n for n in known[0].names if all(n in part.names for part in known)]
    chosen = [part.select(names) for part in known]
    xyz, confidence = torch.cat([c.xyz for c in chosen]), torch.cat([c.confidence for c in chosen])
    return Keypoints3d(xyz, confidence, tuple(names), known[0].unit)
