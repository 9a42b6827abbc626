"""anipose: the trials of a project as calibrated recordings."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from smilfit.io.annotations.anipose import (
    cam_regex,
    find_calibration,
    folder_called,
    moved_by,
    offset_of,
    read_config,
    read_points,
)
from smilfit.io.annotations.pose_rows import video_of
from smilfit.io.calibration import read_calibration
from smilfit.io.camera_names import check_pattern, split_by_pattern
from smilfit.io.recordings.recorded_session import CameraFiles
from smilfit.io.recordings.table_session import Search, TableSession, Trial
from smilfit.registry import SESSIONS
from smilfit.structures import Cameras

_POSES_2D = ('pose_2d_filter', 'pose_2d')
_POSES_3D = ('pose_3d_filter', 'pose_3d')
_VIDEOS = ('videos_raw', 'videos_raw_mp4')


@SESSIONS.register_module()
class AniposeSession(TableSession):
    """Read a trial of an anipose session: `pose-2d-filtered` (else `pose-2d`), `videos-raw`, `calibration`,
    `pose-3d*`.

    Cameras' names come from the videos' by `cam_regex` of the nearest `config.toml`, whose names of folders and
    offsets of cropped videos hold too. 3D points are those that anipose triangulated, its change of axes undone.

    Args:
        folder: the session, which holds `pose-2d` and `videos-raw`.
        joint_lookup: as of `RecordedSession`.
        exclude_cameras: cameras to leave out, files and all.
        further: as of `TableSession` and `RecordedSession`; `scorer='pose-2d'` takes unfiltered poses.
    """

    format = 'anipose'

    @classmethod
    def folders(cls, root: Path) -> Iterable[Path]:
        """Return the folders that hold 2D poses, sorted; folders inside one are not searched, nor are hidden ones."""
        config = read_config(root)
        if any((root / folder_called(config, name)).is_dir() for name in _POSES_2D):
            yield root
            return
        for child in sorted(root.iterdir()):
            if child.is_dir() and not child.is_symlink() and not child.name.startswith('.'):
                yield from cls.folders(child)

    @classmethod
    def trials(cls, folder: Path, search: Search) -> dict[str, Trial]:
        """Find the session's trials by name."""
        config = read_config(folder)
        calibration = search.calibration or find_calibration(folder, config)
        if calibration is None:
            return {}
        if search.cam_regex:
            pattern = check_pattern(str(folder), search.cam_regex, trusted=True)
        else:
            pattern = cam_regex(folder, config)
        known = read_calibration(calibration).names
        named = [folder / folder_called(config, name) for name in _VIDEOS]
        video_folders = [search.videos] if search.videos else named
        trials: dict[str, dict[str, CameraFiles]] = {}
        for table in _tables(folder, config, search.scorer):
            split = split_by_pattern(table.stem, pattern)
            video = next(filter(None, (video_of(place, table.stem) for place in video_folders)), None)
            if split is not None and video is not None and split[1] in known:
                trials.setdefault(split[0], {})[split[1]] = CameraFiles(table, video)
        return {
            name: Trial(name, calibration, files, _points_file(folder, config, name))
            for name, files in sorted(trials.items())
            if len(files) > 1
        }

    def _cameras_of_images(self, cameras: Cameras) -> Cameras:
        """Return the cameras of the videos, which may show a part of the calibrated images."""
        config = read_config(self.folder)
        offsets = np.stack([offset_of(config, name) for name in cameras.names])
        if not offsets.any():
            return cameras
        moved = moved_by(cameras, offsets)
        size = moved.size.clone()
        for c, name in enumerate(cameras.names):
            if offsets[c].any():
                size[c] = size.new_tensor(self._videos[name].size)
        return replace(moved, size=size)

    def _read_points3d(self) -> np.ndarray | None:
        if self.trial.points3d is None:
            return None
        result = read_points(self.trial.points3d).ordered(self._node_names)
        xyz = np.full((self.n_frames, len(self._node_names), 3), np.nan)
        inside = (result.frames >= 0) & (result.frames < self.n_frames)
        valid = result.confidence[inside] > 0
        xyz[result.frames[inside]] = np.where(valid[..., None], result.xyz[inside], np.nan)
        return xyz


def _tables(folder: Path, config: dict[str, object], scorer: str | None) -> Sequence[Path]:
    """Return one table a video: filtered poses before others, h5 (which keeps all digits) before csv."""
    places = [folder / folder_called(config, name) for name in _POSES_2D]
    result: dict[str, Path] = {}
    for place in places:
        for suffix in ('.h5', '.csv'):
            for path in sorted(place.glob(f'*{suffix}') if place.is_dir() else ()):
                if scorer is None or scorer in f'{place.name}/{path.name}':
                    result.setdefault(path.stem, path)
    return [result[stem] for stem in sorted(result)]


def _points_file(folder: Path, config: dict[str, object], trial: str) -> Path | None:
    files = (folder / folder_called(config, name) / f'{trial}.csv' for name in _POSES_3D)
    return next((file for file in files if file.is_file()), None)
