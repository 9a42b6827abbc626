"""A recording as inference reads it, frame by frame: its videos or images, or the crops of a dataset file."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from smilfit.datasets import DatasetFile
from smilfit.datasets.boxes import BoxFinder
from smilfit.datasets.crops import invert_affine
from smilfit.files import BadFileError
from smilfit.io.recordings.image_folder import ImageFolder
from smilfit.io.recordings.read_ahead import read_ahead
from smilfit.io.recordings.synchronised_videos import SynchronisedVideos
from smilfit.networks.inference.frame_cutter import CropOptions, FrameCutter, PreparedFrame
from smilfit.structures import Cameras

logger = logging.getLogger('smilfit')


@dataclass(frozen=True)
class ShownImage:
    """An image to draw on; `affine` maps px of the recorded image, undistorted, to its px.

    `lens` (K, coefficients) is to be undone on the way; None where there is none.
    """

    image: np.ndarray
    affine: np.ndarray
    lens: tuple[np.ndarray, np.ndarray] | None = None


@runtime_checkable
class Recording(Protocol):
    """One recording: its cameras and its frames by number.

    `cameras` are of the recorded images, with their lenses; one set for all frames, None where each frame has its
    own. `undistorted` says whether the crops, and so the keypoints in them, are of images whose lens was undone.
    """

    name: str
    camera_names: tuple[str, ...]
    cameras: Cameras | None
    fps: float | None
    numbers: Sequence[int]
    undistorted: bool

    def fingerprint(self) -> dict[str, object]:
        """Name everything that is read of it, as JSON has it."""

    def prepared(self, numbers: Sequence[int]) -> Iterator[PreparedFrame]:
        """Return frames as a regressor takes them."""

    def shown(self, numbers: Sequence[int]) -> Iterator[tuple[int, dict[str, ShownImage]]]:
        """Return frames to draw on."""

    def video_of(self, camera: str) -> str:
        """Name the video that labels of a camera belong to."""


class RecordedVideos:
    """Videos, or a folder of images, with calibrated (or guessed) cameras.

    Args:
        name: of the recording.
        reader: decodes frames.
        cameras: of the recorded images.
        crops: how frames are cut.
        boxes: where the animal is; whole frames if None.
    """

    def __init__(
        self,
        name: str,
        reader: SynchronisedVideos | ImageFolder,
        cameras: Cameras,
        crops: CropOptions,
        boxes: BoxFinder | None = None,
    ) -> None:
        self.name, self.reader, self.crops, self.boxes = name, reader, crops, boxes
        self.cameras: Cameras | None = cameras
        self._rig = cameras
        self.camera_names, self.fps = cameras.names, reader.fps
        self.numbers: Sequence[int] = range(reader.n_frames)
        self.undistorted = crops.undistort

    def fingerprint(self) -> dict[str, object]:
        """Name the files with size and time of change, the cameras, and how frames are cut."""
        boxes = getattr(self.boxes, 'path', None)
        numbers = {n: getattr(self._rig, n) for n in ('K', 'R', 't', 'dist')}
        return {
            'files': [file_state(path) for path in self.reader.files],
            'cameras': {n: None if v is None else v.tolist() for n, v in numbers.items()},
            'camera_names': list(self.camera_names),
            'crops': [self.crops.side, self.crops.mode, self.crops.undistort],
            'boxes': type(self.boxes).__name__ if boxes is None else file_state(Path(boxes)),
        }

    def prepared(self, numbers: Sequence[int]) -> Iterator[PreparedFrame]:
        """Decode and cut in a thread of its own."""
        cutter = FrameCutter(self._rig, self.crops, self.boxes)
        return read_ahead(cutter.prepare(self.reader.frames(numbers)))

    def shown(self, numbers: Sequence[int]) -> Iterator[tuple[int, dict[str, ShownImage]]]:
        """Decode whole frames."""
        K, dist = self._rig.K, self._rig.dist if self.undistorted else None
        lenses = {
            name: None if dist is None else (K[c].numpy(), dist[c].numpy())
            for c, name in enumerate(self.camera_names)
        }
        for frame in read_ahead(self.reader.frames(numbers)):
            yield (
                frame.number,
                {n: ShownImage(image, np.eye(2, 3), lenses[n]) for n, image in frame.images.items()},
            )

    def video_of(self, camera: str) -> str:
        """Name a camera's video."""
        if isinstance(self.reader, ImageFolder):
            return str(self.reader.folder)
        return str(self.reader.paths[camera])


class StoredRecording:
    """A session of a dataset file: its crops as they were stored.

    Args:
        dataset: an open file.
        session: one of its sessions.
        views: the cameras to use; the session's if None.
    """

    def __init__(self, dataset: DatasetFile, session: str, views: Sequence[str] | None = None) -> None:
        self.dataset, self.session, self.name = dataset, session, session
        own = dataset.cameras(session)
        self.camera_names = tuple(views or own.names)
        self.fps = dataset.fps(session)
        self.numbers: Sequence[int] = [int(n) for n in dataset.frame_indices(session)]
        self.undistorted = bool(dataset.undistorted)
        rig = dataset.session(session).rig
        self.cameras = None if rig is None else rig.select(self.camera_names)
        self._samples = dict(zip(self.numbers, dataset.samples(session).tolist()))
        self._columns = [dataset.camera_names.index(name) for name in self.camera_names]

    def fingerprint(self) -> dict[str, object]:
        """Name the file's content, session and cameras."""
        return {
            'dataset': self.dataset.fingerprint,
            'session': self.session,
            'camera_names': list(self.camera_names),
        }

    def prepared(self, numbers: Sequence[int]) -> Iterator[PreparedFrame]:
        """Read samples ahead."""
        return read_ahead(self._prepared(number) for number in numbers)

    def _prepared(self, number: int) -> PreparedFrame:
        sample, columns = self._samples[number], self._columns
        record, side = self.dataset.record(sample), self.dataset.target_resolution
        mask = record.view_mask[columns].copy()
        image, faults = np.zeros((len(columns), 3, side, side), np.uint8), {}
        for c, column in enumerate(columns):
            if not mask[c]:
                faults[self.camera_names[c]] = 'no image is stored'
                continue
            try:
                image[c] = self.dataset.image(sample, column).transpose(2, 0, 1)
            except BadFileError:
                faults[self.camera_names[c]], mask[c] = 'the image does not decode', False
        shown = mask[:, None, None]
        affine = invert_affine(np.where(shown, record.to_original[columns], np.eye(2, 3))) * shown
        K, R = (getattr(record, name)[columns] * shown for name in ('K', 'R'))
        t, dist = (getattr(record, name)[columns] * mask[:, None] for name in ('t', 'dist'))
        return PreparedFrame(number, image, mask, K, R, t, dist, affine=affine, faults=faults)

    def shown(self, numbers: Sequence[int]) -> Iterator[tuple[int, dict[str, ShownImage]]]:
        """Return the stored crops."""
        for frame in self.prepared(numbers):
            images = {
                name: ShownImage(np.ascontiguousarray(frame.image[c].transpose(1, 2, 0)), frame.affine[c])
                for c, name in enumerate(self.camera_names)
                if frame.view_mask[c]
            }
            yield frame.number, images

    def video_of(self, camera: str) -> str:
        """Name where the session came from: the file does not know its videos."""
        return str(Path(self.dataset.source(self.session)) / camera)


def file_state(path: Path) -> list[str | int]:
    """Return a file's name, size and time of change: what tells that it is another one now."""
    state = path.stat()
    return [path.name, state.st_size, state.st_mtime_ns]
