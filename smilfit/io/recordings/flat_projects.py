"""DeepLabCut and Lightning Pose: recordings whose tables and videos are found by their names alone."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from smilfit.files import BadFileError
from smilfit.io.calibration import CALIBRATION_FILE, read_calibration
from smilfit.io.camera_names import check_pattern, split_by_names, split_by_pattern
from smilfit.io.pose_tables import is_pose_table
from smilfit.io.recordings.recorded_session import CameraFiles
from smilfit.io.recordings.table_session import Search, TableSession, Trial
from smilfit.io.recordings.videos import VIDEO_SUFFIXES
from smilfit.registry import SESSIONS

# A project's folders lie so deep at most.
_MOST_LEVELS = 6
_MOST_FILES = 200_000
# What DeepLabCut and Lightning Pose write beside their predictions: bones, drawn videos, errors, labels of images.
_NO_TABLES = (
    '_skeleton',
    '_meta',
    '_pixel_error',
    '_temporal_norm',
    '_pca_multiview_error',
    '_pca_singleview_error',
    '_bbox',
)
_NO_VIDEOS = ('_labeled', '_bp', '_id', '_ind', '_reprojected')
# Labels of single images, and Lightning Pose's predictions for these.
_LABELS = ('CollectedData', 'predictions_')
# Lightning Pose names a table so in a folder called after the video.
_PREDICTIONS = 'predictions'
# What of two tables of a video is taken: what an ensemble's smoother made of all before what was filtered.
_SMOOTHED, _FILTERED = ('multicam', 'eks'), 'filtered'


class FlatSession(TableSession):
    """A trial whose files are assigned to cameras and trials by their names."""

    @classmethod
    def folders(cls, root: Path) -> Iterable[Path]:
        """Return the folder itself: its trials are told apart by names."""
        return (root,)

    @classmethod
    def trials(cls, folder: Path, search: Search) -> dict[str, Trial]:
        """Find the project's trials by name."""
        files = _walk(folder)
        calibrations = cls._calibrations(folder, files, search)
        cameras = tuple(
            dict.fromkeys(n for path in calibrations.values() for n in read_calibration(path).names)
        )
        if len(cameras) < 2:
            return {}
        places = files if search.videos is None else _walk(search.videos)
        videos = _sorted_videos(folder, places, cameras, search.cam_regex)
        tables = [
            path
            for path in files
            if path.suffix.lower() in ('.h5', '.csv')
            and not _key(path).startswith(_LABELS)
            and not path.stem.endswith(_NO_TABLES)
            and (search.scorer is None or search.scorer in path.relative_to(folder).as_posix())
        ]
        stems = [path.stem for own in videos.values() for path in own.values()]
        result = {}
        for name, own in videos.items():
            calibration = calibrations.get(name, calibrations.get(''))
            if calibration is None:
                continue
            known = read_calibration(calibration).names
            matched = _match(folder, own, stems, tables, known, len(videos) == 1, search.cam_regex)
            if len(matched) > 1:
                result[name] = Trial(name, calibration, matched)
        return result

    @classmethod
    def _calibrations(cls, folder: Path, files: Sequence[Path], search: Search) -> dict[str, Path]:
        """Return calibrations by trial; '' stands for all without one of their own."""
        if search.calibration is not None:
            return {'': search.calibration}
        absolute = folder.absolute()
        near = [
            absolute,
            absolute / 'calibration',
            absolute / 'videos',
            absolute.parent,
            absolute.parent / 'calibration',
        ]
        result = [place / CALIBRATION_FILE for place in near if (place / CALIBRATION_FILE).is_file()]
        below = [path for path in files if path.name == CALIBRATION_FILE]
        # One far below the folder is the project's only if there is no other.
        own = result[:1] or (below if len(below) == 1 else [])
        return {'': own[0]} if own else {}


@SESSIONS.register_module()
class DeepLabCutSession(FlatSession):
    """Read a trial of several cameras that DeepLabCut's networks labelled: `<video>DLC_*.h5` or `.csv`, and videos.

    The calibration is an anipose `calibration.toml`, given or found in the project's folder, in its `calibration/`
    or one level above. Files are of the camera whose name is in theirs. Filtered predictions are preferred, and
    `.h5` (all digits) to `.csv`. DeepLabCut's own 3D projects keep their cameras in pickles, which are not read.

    Args:
        folder: the project, or the folder with tables and videos.
        joint_lookup: as of `RecordedSession`.
        exclude_cameras: cameras to leave out, files and all.
        further: as of `TableSession` and `RecordedSession`.
    """

    format = 'dlc'


@SESSIONS.register_module()
class LightningPoseSession(FlatSession):
    """Read a trial of several views that Lightning Pose labelled, or an ensemble's smoother (EKS) after it.

    Videos are `videos/<session>_<view>.mp4`, predictions a csv a view: `<session>_<view>.csv` or
    `<session>_<view>.mp4/predictions.csv` in a model's `video_preds`, or EKS's `multicam_<view>_results.csv`, which
    is preferred. The calibration is `calibrations/<session>.toml`, else `calibration.toml`. The variances that EKS
    states are weights; see `labels_of_table`.

    Args:
        folder: the data folder, with tables and videos in it.
        joint_lookup: as of `RecordedSession`.
        exclude_cameras: cameras to leave out, files and all.
        further: as of `TableSession` and `RecordedSession`; where several models predicted, `scorer` names one.
    """

    format = 'lightningpose'

    @classmethod
    def _calibrations(cls, folder: Path, files: Sequence[Path], search: Search) -> dict[str, Path]:
        if search.calibration is not None:
            return {'': search.calibration}
        own = folder / 'calibrations'
        of_sessions = {path.stem: path for path in sorted(own.glob('*.toml'))} if own.is_dir() else {}
        return super()._calibrations(folder, files, search) | of_sessions


def _walk(root: Path) -> list[Path]:
    """Return all files below a folder, sorted; hidden folders, and those very deep, are not searched."""
    result: list[Path] = []
    for place, folders, names in os.walk(root):
        deep = len(Path(place).relative_to(root).parts) >= _MOST_LEVELS
        folders[:] = [] if deep else sorted(name for name in folders if not name.startswith('.'))
        result += [Path(place) / name for name in sorted(names) if not name.startswith('.')]
        if len(result) > _MOST_FILES:
            raise BadFileError(
                f'{root}: a project must have at most {_MOST_FILES} files; got more. Give the folder with the tables.'
            )
    return result


def _split(stem: str, cameras: Sequence[str], pattern: str | None) -> tuple[str, str] | None:
    if pattern is None:
        return split_by_names(stem, cameras)
    result = split_by_pattern(stem, check_pattern('cam_regex', pattern, trusted=True))
    return result if result is not None and result[1] in cameras else None


def _sorted_videos(
    folder: Path, files: Sequence[Path], cameras: Sequence[str], pattern: str | None
) -> dict[str, dict[str, Path]]:
    """Return each trial's videos by camera; what DeepLabCut drew on is none."""
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    stems = sorted((path.stem for path in videos), key=len)
    result: dict[str, dict[str, Path]] = {}
    for path in videos:
        drawn = any(path.stem.startswith(f'{stem}DLC') for stem in stems if len(stem) < len(path.stem))
        split = _split(path.stem, cameras, pattern)
        if drawn or split is None or path.stem.endswith(_NO_VIDEOS) or 'labeled_videos' in path.parts:
            continue
        trial, camera = split
        other = result.setdefault(trial, {}).setdefault(camera, path)
        if other != path:
            raise BadFileError(
                f'{folder}: camera {camera!r} must have one video of trial {trial!r}; got '
                f'{other.relative_to(folder)} and {path.relative_to(folder)}. Move one away, or give --images '
                '(videos=).'
            )
    return result


def _match(
    root: Path,
    videos: Mapping[str, Path],
    stems: Sequence[str],
    tables: Sequence[Path],
    cameras: Sequence[str],
    only_trial: bool,
    pattern: str | None,
) -> dict[str, CameraFiles]:
    """Return each camera the table of its video.

    A table is of the video whose name begins its own (or its folder's, of `predictions.csv`); where no video is, one
    is that holds the camera's name, and the trial's or there is one trial alone.

    Raises:
        BadFileError: several tables of one video, none before the others.
    """
    result = {}
    for camera, video in videos.items():
        if camera not in cameras:
            continue
        own = [path for path in tables if _video_stem(_key(path), stems) == video.stem]
        trial = (_split(video.stem, cameras, pattern) or ('', ''))[0]
        for path in tables:
            split = _split(_key(path), cameras, pattern)
            within = only_trial or (trial and trial in path.relative_to(root).as_posix())
            if split is not None and split[1] == camera and within and _video_stem(_key(path), stems) is None:
                own.append(path)
        own = [path for path in own if is_pose_table(path)]
        if not own:
            continue
        best = max(map(_rank, own))
        first = [path for path in own if _rank(path) == best]
        if len(first) > 1:
            names = ', '.join(path.relative_to(root).as_posix() for path in first[:4])
            raise BadFileError(
                f'{root}: video {video.name} must have one table; got {names}. Name one network by a part '
                'of its path: --scorer TEXT (scorer=).'
            )
        result[camera] = CameraFiles(first[0], video)
    return result


def _key(path: Path) -> str:
    """Return the part of a table's path that names its video."""
    return Path(path.parent.name).stem if path.stem == _PREDICTIONS else path.stem


def _video_stem(key: str, stems: Sequence[str]) -> str | None:
    """Return the longest of the videos' names that begins a table's; None where none does."""
    return max((stem for stem in stems if key.startswith(stem)), key=len, default=None)


def _rank(path: Path) -> tuple[bool, bool, bool]:
    """Order the tables of a video: smoothed over cameras, filtered, with all digits."""
    smoothed = path.stem.lower().startswith(_SMOOTHED) or path.parent.name.lower().startswith(_SMOOTHED)
    return smoothed, _FILTERED in path.stem, path.suffix.lower() == '.h5'
