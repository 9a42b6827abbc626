"""Read multi-camera sessions labelled with SLEAP for preprocessing."""

from collections.abc import Sequence
from pathlib import Path

from smilfit.apis.data_source import DataSource
from smilfit.apis.output_paths import check_not_an_input
from smilfit.body_models import BodyModelData
from smilfit.body_models.keypoint_rows import keypoint_definitions
from smilfit.datasets import PreprocessOptions
from smilfit.io import SleapSession, check_lookup, find_sessions, read_joint_lookup
from smilfit.io.calibration import read_calibration
from smilfit.io.session_folder import CALIBRATION_FILE, find_labels, match_cameras
from smilfit.io.sleap_labels import read_track_names, tell_high_peaks
from smilfit.registry import UnknownNameError, did_you_mean

# What lies beside the cameras' folders.
_FILES = (CALIBRATION_FILE, 'points3d.h5', 'reprojections.h5')


def read_sessions(
    source: DataSource, body: BodyModelData, options: PreprocessOptions, out: Path
) -> list[SleapSession]:
    """Open the sessions of a folder.

    Args:
        source: the folder of a session, or of several.
        body: the body model whose keypoints the lookup names.
        options: what is kept of a session.
        out: the dataset file to be, which must not lie among the inputs.

    Raises:
        KeyError: a camera that no session has, or a lookup of other names.
        ValueError: `out` is one of the inputs.
    """
    if source.keypoint_map:
        lookup = read_joint_lookup(source.keypoint_map)
        check_lookup(lookup, model_names=keypoint_definitions(body), where=str(source.keypoint_map))
    folders = find_sessions(source.path)
    check_not_an_input(out, _inputs_of(folders), 'OUT')
    excluded = _excluded_of(folders, options.exclude_cameras)
    sessions = [
        SleapSession(
            folder,
            track=track,
            joint_lookup=source.keypoint_map,
            exclude_cameras=excluded[folder],
            # The pipeline applies the threshold, so that it can count what falls below.
            confidence_threshold=0.0,
            use_reprojections=options.use_reprojections,
            with_3d=not options.no_3d_data,
            unit=source.unit,
            partial_labels=source.partial_labels,
        )
        for folder in folders
        for track in _tracks_of(folder, excluded[folder], source.reader.get('instance') == 'each')
    ]
    for session in sessions:
        for camera in session.camera_names:
            tell_high_peaks(f'{session.name}, camera {camera}', session.report[camera]['scores_above_1'])
    return sessions


def _tracks_of(folder: Path, exclude: Sequence[str], each: bool) -> tuple[str | None, ...]:
    """Name the animals of a session that are read: all tracks, or None for the one with the most points."""
    if not each:
        return (None,)
    calibration = folder / CALIBRATION_FILE
    known = read_calibration(calibration).names if calibration.is_file() else None
    cameras = match_cameras(folder, known, exclude)
    found = [read_track_names(find_labels(path)) for path in cameras.values()]
    names = dict.fromkeys(name for tracks in found for name in tracks)
    for name, tracks in zip(cameras, found):
        if not tracks:
            raise ValueError(
                f"{folder}: instances must have tracks for --instance each; camera {name!r}'s have none. Track them "
                'in SLEAP, or leave --instance away.'
            )
        for track in names:
            if track not in tracks:
                raise ValueError(
                    f'{folder}: tracks must have one name in all cameras for --instance each; {track!r} is not in '
                    f'camera {name!r}, which has {list(tracks)}. Rename them in SLEAP.'
                )
    return tuple(names)


def _inputs_of(folders: Sequence[Path]) -> list[Path]:
    """Give what preprocessing reads of sessions: their cameras' folders, and the files beside these.

    A dataset file in a camera's folder would be taken for its labels the next time.
    """
    files = [folder / name for folder in folders for name in _FILES]
    return files + [path for folder in folders for path in folder.iterdir() if path.is_dir()]


def _excluded_of(folders: Sequence[Path], exclude: Sequence[str]) -> dict[Path, tuple[str, ...]]:
    """Give each session the excluded cameras that it has; every name must be in some session."""
    known = {}
    for folder in folders:
        calibration = folder / 'calibration.toml'
        names = set(read_calibration(calibration).names) if calibration.is_file() else set()
        known[folder] = names | {path.name for path in folder.iterdir() if path.is_dir()}
    for name in exclude:
        everywhere = set().union(*known.values())
        if name not in everywhere:
            raise UnknownNameError(
                f'--exclude-cameras: no camera {name!r}. {did_you_mean(name, sorted(everywhere))}'
            )
    return {folder: tuple(name for name in exclude if name in known[folder]) for folder in folders}
