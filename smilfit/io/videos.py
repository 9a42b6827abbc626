"""Videos, read once and in order: probing, honest frame counts, all cameras in lockstep."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.files import BadFileError, reading
from smilfit.io.image_opening import check_image_size

# What a file is recognised by: a playlist would have the decoder open files and addresses that it names.
_HEAD_BYTES = 512
_PLAYLISTS = (b'#EXTM3U', b'ffconcat', b'<?xml', b'<MPD', b'v=0', b'[playlist]', b'[Reference]')
# Key frames are seldom farther apart; what lies closer together is read faster in order.
_FAR = 300
# Of a frame's time from its number, frames.
_TIME_ERROR = 0.25
# Frames a second where a recording does not state them and nobody says them.
USUAL_FPS = 25.0
VIDEO_SUFFIXES = ('.mp4', '.avi', '.mov', '.mkv', '.m4v', '.mpg', '.mpeg', '.webm', '.wmv')


@dataclass(frozen=True)
class VideoInfo:
    """What a video holds: decodable frames, frames per second, width and height in px.

    `stated_frames` is the container's own count, which is wrong in files that were cut short.
    """

    path: Path
    n_frames: int
    fps: float
    size: tuple[int, int]
    stated_frames: int


def probe_video(path: str | Path, count: bool = True) -> VideoInfo:
    """Open a video and count the frames that can be decoded.

    A container's own count is believed where its last frame decodes and none follows; else every frame is
    decoded to count them.

    Args:
        path: the video.
        count: False believes the container unasked, which saves the decoding of a key frame and what follows.

    Raises:
        FileNotFoundError: no such file.
        ValueError: nothing that can be decoded.
    """
    path = Path(path)
    with opened_video(path) as capture:
        import cv2

        stated = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        n_frames = stated if stated > 0 and not count else _count_frames(path, capture)
        if n_frames == 0:
            raise ValueError(f'{path}: a video must have frames that decode; got none. Copy it again.')
        size = (
            int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        return VideoInfo(path, n_frames, rate if math.isfinite(rate) else 0.0, size, stated)


def iterate_videos(
    paths: Mapping[str, Path], indices: Sequence[int], bgr: bool = False
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Decode frames of several synchronised videos in one pass, holding one image a video.

    Random access into compressed video costs a decode from the key frame before; frames in between are
    therefore decoded and dropped, but where they are many. A seek is believed where the video's times agree with its
    frames' numbers.

    Args:
        paths: camera -> video.
        indices: frame numbers, strictly increasing.
        bgr: give images as they are decoded, for who shows but a part of each; the next image of a camera takes the
            same memory.

    Yields:
        (index, {camera: RGB uint8 (H, W, 3)}).

    Raises:
        ValueError: indices that are negative or do not increase.
        RuntimeError: a frame that cannot be decoded.
    """
    indices = [int(i) for i in indices]
    if any(b <= a for a, b in zip([-1, *indices], indices)):
        raise ValueError('frames: indices must be strictly increasing from 0; sort them and drop repeats.')
    return _iterate(paths, indices, bgr)


def _iterate(
    paths: Mapping[str, Path], indices: list[int], bgr: bool
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    with ExitStack() as stack:
        readers = {name: _Reader(path, stack) for name, path in paths.items()}
        for index in indices:
            yield index, {name: reader.read(index, bgr) for name, reader in readers.items()}


class _Reader:
    """Reads frames of one video, later and later ones; far ones by a seek where that is sure to find them."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._path, self._stack = path, stack
        self._capture = stack.enter_context(opened_video(path))
        self._next = 0
        self._seekable: bool | None = None
        self._memory: np.ndarray | None = None

    def read(self, index: int, bgr: bool) -> np.ndarray:
        """Decode a frame.

        Raises:
            RuntimeError: it does not decode.
        """
        if index - self._next <= _FAR or not self._seek(index):
            for frame in range(self._next, index + 1):
                if not self._capture.grab():
                    raise self._undecoded(frame)
        self._next = index + 1
        image = self._memory = retrieved(self._capture, bgr, self._memory if bgr else None)
        if image is None:
            raise self._undecoded(index)
        return image

    def _seek(self, index: int) -> bool:
        """Grab a frame by a seek, and say whether that is the one: the video's times must agree with its numbers."""
        import cv2

        if self._seekable is None:
            with opened_video(self._path) as fresh:
                self._seekable = _ends_as_stated(fresh)
        if not self._seekable:
            return False
        capture = self._capture
        if capture.set(cv2.CAP_PROP_POS_FRAMES, index) and capture.grab():
            place = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 * capture.get(cv2.CAP_PROP_FPS)
            if abs(place - index) < _TIME_ERROR and int(capture.get(cv2.CAP_PROP_POS_FRAMES)) == index + 1:
                return True
        # Where it stands now is not known.
        self._seekable = False
        self._capture = self._stack.enter_context(opened_video(self._path))
        self._next = 0
        return False

    def _undecoded(self, frame: int) -> RuntimeError:
        return RuntimeError(f'{self._path}: frame {frame} must decode; it does not. Copy the video again.')


def retrieved(capture: Any, bgr: bool = False, memory: np.ndarray | None = None) -> np.ndarray | None:
    """Decode the frame that a capture grabbed; None where it does not decode.

    Args:
        capture: of OpenCV.
        bgr: leave its channels as they are; RGB if not.
        memory: an image of the same size to write into.
    """
    import cv2

    try:
        ok, image = capture.retrieve(memory)
        if not ok:
            return None
        return image if bgr else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    except cv2.error:
        return None


def _count_frames(path: Path, capture: Any) -> int:
    import cv2

    if _ends_as_stated(capture):
        return int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    with opened_video(path) as fresh:
        counted = 0
        while fresh.grab():
            counted += 1
        return counted


def _ends_as_stated(capture: Any) -> bool:
    """Say whether the container's last frame decodes and none follows; the capture then stands at the end."""
    import cv2

    stated = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if stated <= 0 or not capture.set(cv2.CAP_PROP_POS_FRAMES, stated - 1):
        return False
    at_last = int(capture.get(cv2.CAP_PROP_POS_FRAMES)) == stated - 1
    return bool(at_last and capture.grab() and not capture.grab())


@contextmanager
def opened_video(path: Path) -> Iterator[Any]:
    """Open a video by OpenCV for the time of a context, after looking at its head and its size."""
    import cv2

    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: the video must exist; there is no such file. Check the path, or give its folder.'
        )
    with reading(path, 'the video'):
        _refuse_text(path)
        capture = cv2.VideoCapture(str(path))
    try:
        with reading(path, 'the video'):
            if not capture.isOpened():
                raise ValueError(
                    f'{path}: the file must be a video that opens; it does not (cut short?). Copy it again.'
                )
            width, height = capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
            check_image_size(path, int(width), int(height), "the video's image")
        yield capture
    finally:
        capture.release()


def _refuse_text(path: Path) -> None:
    """Refuse playlists and other text: every container of a video has bytes below 9 at its beginning."""
    with path.open('rb') as file:
        head = file.read(_HEAD_BYTES)
    start = head.removeprefix(b'\xef\xbb\xbf').lstrip().lower()
    if all(byte >= 9 for byte in head) or any(start.startswith(mark.lower()) for mark in _PLAYLISTS):
        raise BadFileError(
            f'{path}: the file must be a video that opens; it is {"text" if head else "empty"}. Copy it again.'
        )
