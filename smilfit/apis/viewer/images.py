"""Images of a session's frames, decoded when they are asked for; a few stay in memory."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from smilfit.datasets import DatasetFile
from smilfit.io.recordings.videos import Capture, opened_video, retrieved

# So many frames ahead are decoded and dropped before a jump pays: a jump begins at the key frame before.
NEAR = 60


class VideoFrames:
    """Frames of a video by number. The file stays open, so that the next frame costs one decode.

    Args:
        path: the video.
        n_frames: how many decode.
    """

    def __init__(self, path: Path, n_frames: int) -> None:
        self.path, self.n_frames = path, n_frames
        self._context: AbstractContextManager[Capture] | None = None
        self._capture: Capture | None = None
        self._next = 0

    def __getitem__(self, index: int) -> UInt8[np.ndarray, 'H W 3']:
        """Decode a frame, RGB.

        Raises:
            IndexError: no such frame.
            RuntimeError: it does not decode.
        """
        if not 0 <= index < self.n_frames:
            raise IndexError(f'{self.path}: frames go from 0 to {self.n_frames - 1}; got {index}.')
        capture = self._capture
        if capture is None or not self._next <= index <= self._next + NEAR:
            capture = self._jump(index)
        while self._next <= index:
            if not capture.grab():
                raise RuntimeError(
                    f'{self.path}: frame {self._next} must decode; it does not. Copy it again.'
                )
            self._next += 1
        image = retrieved(capture)
        if image is None:
            raise RuntimeError(f'{self.path}: frame {index} must decode; it does not. Copy it again.')
        return image

    def _jump(self, index: int) -> Capture:
        capture = self._capture
        if capture is None or index < self._next <= NEAR:
            capture = self._open()
        if self._next <= index <= self._next + NEAR:
            return capture
        # A container that cannot tell where it is is read from its beginning.
        valid = capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        if valid and round(capture.get(cv2.CAP_PROP_POS_FRAMES)) == index:
            self._next = index
            return capture
        return self._open()

    def _open(self) -> Capture:
        self.close()
        context = opened_video(self.path)
        self._context, self._capture, self._next = context, context.__enter__(), 0
        return self._capture

    def close(self) -> None:
        """Close the file; reading opens it again."""
        if self._context is not None:
            self._context.__exit__(None, None, None)
        self._context = self._capture = None

    def __enter__(self) -> 'VideoFrames':
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


KEPT_FRAMES = 16
Value = TypeVar('Value')
WHOLE = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


class SourceImage(NamedTuple):
    """An image, or a crop of one: RGB, and the map from its px to px of the original image.

    `ideal` says that the lens was taken out before.
    """

    image: UInt8[np.ndarray, 'H W 3']
    to_original: Float[np.ndarray, '2 3']
    ideal: bool


@runtime_checkable
class FrameImages(Protocol):
    """Where images come from."""

    # In words, for the page.
    source: str

    def at(self, row: int) -> dict[str, SourceImage]:
        """Return the images of a frame by camera; cameras without one are left out."""


class StoredImages:
    """The crops that a dataset file holds."""

    source = 'the small images that the dataset file holds'

    def __init__(self, dataset: DatasetFile, session: str) -> None:
        self.dataset, self.session = dataset, session
        self._samples, self._names = dataset.samples(session), dataset.cameras(session).names

    def at(self, row: int) -> dict[str, SourceImage]:
        """Decode what is stored of a frame."""
        sample = int(self._samples[row])
        record, result = self.dataset.record(sample), {}
        for name in self._names:
            view = self.dataset.camera_names.index(name)
            if record.view_mask[view]:
                image = self.dataset.image(sample, name)
                result[name] = SourceImage(image, record.to_original[view], self.dataset.undistorted)
        return result


class RecordedImages:
    """The frames of a recording's videos.

    Args:
        videos: camera -> video.
        n_frames: of every video.
        frames: the frame number of each row.
    """

    source = "the recording's videos"

    def __init__(self, videos: Mapping[str, Path], n_frames: int, frames: Sequence[int]) -> None:
        self._videos = {name: VideoFrames(path, n_frames) for name, path in videos.items()}
        self._frames = frames

    def at(self, row: int) -> dict[str, SourceImage]:
        """Decode a frame of every camera."""
        frame = int(self._frames[row])
        return {name: SourceImage(video[frame], WHOLE, False) for name, video in self._videos.items()}


class Recent(Generic[Value]):
    """The last few values of a function of frames."""

    def __init__(self, function: Callable[[int], Value], kept: int = KEPT_FRAMES) -> None:
        self._function, self._kept = function, kept
        self._values: OrderedDict[int, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def at(self, row: int) -> Value:
        """Return a frame's value, computed where it is not among the last ones."""
        if row not in self._values:
            self._values[row] = self._function(row)
        self._values.move_to_end(row)
        while len(self._values) > self._kept:
            self._values.popitem(last=False)
        return self._values[row]
