"""Videos of one moment by several cameras, read frame by frame; a frame that does not decode is only reported."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smilfit.io.calibration import CALIBRATION_FILE, read_calibration
from smilfit.io.recordings.session_checks import check_sizes, reject_cut
from smilfit.io.recordings.video_capture import opened_video
from smilfit.io.recordings.videos import VIDEO_SUFFIXES, Tape, VideoInfo, probe_video
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.structures import Cameras

logger = logging.getLogger('smilfit')

# Frame rates that differ by less are rounded differently.
_RATE_SLACK = 0.01


@dataclass(frozen=True)
class RecordedFrame:
    """Images of one moment, RGB uint8 (H, W, 3) by camera; `faults` says why a camera has none."""

    number: int
    images: dict[str, np.ndarray]
    faults: dict[str, str]


class SynchronisedVideos:
    """The frames of synchronised videos in order, one image a camera in memory.

    Frames are counted; where a damaged frame was left out by the decoder, the timestamps of those after it say so,
    and the other cameras' frames stay beside those of their own moment.

    Args:
        videos: camera -> video.
        cameras: calibrated ones of these names; None of a single uncalibrated camera.
        common: where videos are of different length, use what all have, from their beginnings.

    Raises:
        FileNotFoundError: a video is not there.
        ValueError: different lengths or frame rates, or images of another size than the calibration's.
    """

    def __init__(
        self, videos: Mapping[str, str | Path], cameras: Cameras | None = None, common: bool = False
    ) -> None:
        if not videos:
            raise ValueError('videos: one at least must be given; got none. Give --videos CAMERA=FILE.')
        self.paths = {name: Path(path) for name, path in videos.items()}
        self.infos = {name: probe_video(path) for name, path in self.paths.items()}
        self.camera_names = tuple(self.paths)
        self.cameras = None if cameras is None else cameras.select(self.camera_names)
        self.lengths = {name: _length_of(video, common) for name, video in self.infos.items()}
        self.n_frames = self._length(common)
        self.fps = self._rate()
        check_sizes(self.infos, self.cameras)

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Return width and height of each camera's images, px."""
        return {name: video.size for name, video in self.infos.items()}

    @property
    def files(self) -> tuple[Path, ...]:
        """Name the files that are read."""
        return tuple(self.paths.values())

    def _length(self, common: bool) -> int:
        shortest = min(self.lengths.values())
        if shortest == max(self.lengths.values()) or common:
            if common and shortest != max(self.lengths.values()):
                notes = ', '.join(f'{name}: {n}' for name, n in self.lengths.items())
                logger.warning(
                    'Videos differ in frames (%s); the first %d of each are used.', notes, shortest
                )
            return shortest
        notes = ', '.join(f'{name} ({self.paths[name].name}): {n}' for name, n in self.lengths.items())
        raise ValueError(
            f'videos: synchronised videos must have equally many frames; got {notes}. Did they begin together? Then '
            'use the part that all have by --common, or leave a camera out by --views.'
        )

    def _rate(self) -> float:
        rates = {name: video.fps for name, video in self.infos.items()}
        first = next(iter(rates.values()))
        if any(abs(rate - first) > _RATE_SLACK * max(first, 1e-9) for rate in rates.values()):
            notes = ', '.join(f'{name} ({self.paths[name].name}): {rate:.4g}' for name, rate in rates.items())
            raise ValueError(
                f'videos: synchronised videos must have one frame rate; got {notes} frames per second. Bring them to '
                'one, such as by ffmpeg -i IN -r RATE OUT, or leave a camera out by --views.'
            )
        return first

    def frames(self, numbers: Sequence[int]) -> Iterator[RecordedFrame]:
        """Decode frames.

        Args:
            numbers: strictly increasing frame numbers.

        Raises:
            ValueError: numbers that do not increase, or that no video has.
        """
        numbers = [int(n) for n in numbers]
        if any(b <= a for a, b in zip([-1, *numbers], numbers)) or (numbers and numbers[-1] >= self.n_frames):
            raise ValueError(
                f'frames: numbers must increase and be below {self.n_frames}; got {numbers[:3]} ... {numbers[-1]}.'
            )
        with ExitStack() as stack:
            tapes = {name: Tape(stack.enter_context(opened_video(path))) for name, path in self.paths.items()}
            for number in numbers:
                images, faults = {}, {}
                for name, tape in tapes.items():
                    result = tape.at(number)
                    if isinstance(result, str):
                        faults[name] = result
                    else:
                        images[name] = result
                yield RecordedFrame(number, images, faults)


def _length_of(video: VideoInfo, common: bool) -> int:
    """Return a video's length: the stated one where damaged frames are missing that timestamps find the places of."""
    try:
        reject_cut(video)
    except ValueError:
        with opened_video(video.path) as capture:
            tape = Tape(capture)
            tape.at(video.stated_frames)
        if tape.steady and tape.number == video.stated_frames - 1:
            logger.warning(
                '%s: %d of its %d frames are damaged.',
                video.path,
                video.stated_frames - video.n_frames,
                video.stated_frames,
            )
            return video.stated_frames
        if not common:
            raise
    return video.n_frames


def find_videos(folder: str | Path, views: Sequence[str] = ()) -> dict[str, Path]:
    """Find one video a camera: in subfolders called after the cameras, or beside each other, called after them.

    Where there is a calibration, names are its; a video `cam_1.mp4`, or `recording_cam_1.mp4`, is of camera `cam_1`.

    Args:
        folder: the session.
        views: the cameras that are wanted; all if empty.

    Raises:
        FileNotFoundError: no such folder, or no video in it.
        ValueError: a camera without a video, or with several.
        UnknownNameError: a wanted camera that does not exist, with the near names.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f'{folder}: the videos must be in a folder; there is no such folder.')
    calibration = folder / CALIBRATION_FILE
    names = read_calibration(calibration).names if calibration.is_file() else None
    below = {child.name: _videos_in(child) for child in sorted(folder.iterdir()) if child.is_dir()}
    below = {name: result for name, result in below.items() if result and not name.startswith('.')}
    beside = _videos_in(folder)
    if not below and not beside:
        raise FileNotFoundError(
            f'{folder}: a session must hold videos ({", ".join(VIDEO_SUFFIXES)}), one a camera; found none.'
        )
    if names is None:
        names = tuple(below) if below else tuple(path.stem for path in beside)
    wanted = chosen_views(names, views, '--views')
    return {name: _video_of(folder, name, names, below, beside) for name in wanted}


def _video_of(
    folder: Path, name: str, names: Sequence[str], below: Mapping[str, list[Path]], beside: list[Path]
) -> Path:
    place = next((key for key in below if key.lower() == name.lower()), None)
    if place is not None:
        result = below[place]
        result = (
            [path for path in result if 'overlay' not in path.stem.lower()] if len(result) > 1 else result
        )
    else:
        result = [path for path in beside if path.stem.lower() == name.lower()]
        # The longest name that ends a file's: `cam_1` is not the camera of `top_cam_1`, where there is a `top_cam_1`.
        result = result or [path for path in beside if _owner(path.stem, names) == name]
    if len(result) != 1:
        got = ', '.join(path.name for path in result) or 'none'
        raise ValueError(
            f'{folder}: camera {name!r} must have one video; got {got}. Say which by --videos {name}=FILE, or leave '
            'it out by --views.'
        )
    return result[0]


def _owner(stem: str, names: Sequence[str]) -> str | None:
    ends = [name for name in names if stem.lower().endswith(name.lower())]
    return max(ends, key=len, default=None)


def _videos_in(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith('.')
    )


def chosen_views(names: Sequence[str], wanted: Sequence[str] | None, where: str) -> tuple[str, ...]:
    """Choose cameras by name, in the order given; all if none is named.

    Raises:
        UnknownNameError: an unknown one, with the near names.
    """
    for name in wanted or ():
        if name not in names:
            raise UnknownNameError(f'{where}: no camera {name!r}. {did_you_mean(name, names)}')
    return tuple(wanted or names)
