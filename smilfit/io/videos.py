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


def probe_video(path: str | Path) -> VideoInfo:
    """Open a video and count the frames that can be decoded.

    A container's own count is believed where its last frame decodes and none follows; else every frame is
    decoded to count them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: nothing that can be decoded.
    """
    path = Path(path)
    with opened_video(path) as capture:
        n_frames = _count_frames(path, capture)
        if n_frames == 0:
            raise ValueError(f'{path}: a video must have frames that decode; got none. Copy it again.')
        import cv2

        size = (
            int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )
        stated = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        return VideoInfo(path, n_frames, rate if math.isfinite(rate) else 0.0, size, stated)


def iterate_videos(
    paths: Mapping[str, Path], indices: Sequence[int]
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Decode frames of several synchronised videos in one pass, holding one image a video.

    Random access into compressed video costs a decode from the key frame before; frames in between are
    therefore decoded and dropped.

    Args:
        paths: camera -> video.
        indices: frame numbers, strictly increasing.

    Yields:
        (index, {camera: RGB uint8 (H, W, 3)}).

    Raises:
        ValueError: indices that are negative or do not increase.
        RuntimeError: a frame that cannot be decoded.
    """
    indices = [int(i) for i in indices]
    if any(b <= a for a, b in zip([-1, *indices], indices)):
        raise ValueError('frames: indices must be strictly increasing from 0; sort them and drop repeats.')
    return _iterate(paths, indices)


def _iterate(paths: Mapping[str, Path], indices: list[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    with ExitStack() as stack:
        captures = {name: stack.enter_context(opened_video(path)) for name, path in paths.items()}
        position = 0
        for index in indices:
            for name, capture in captures.items():
                for frame in range(position, index + 1):
                    if not capture.grab():
                        raise RuntimeError(
                            f'{paths[name]}: frame {frame} must decode; it does not. Copy the video again.'
                        )
            position = index + 1
            yield index, {name: _retrieve(paths[name], capture, index) for name, capture in captures.items()}


def _retrieve(path: Path, capture: Any, index: int) -> np.ndarray:
    image = retrieved(capture)
    if image is None:
        raise RuntimeError(f'{path}: frame {index} must decode; it does not. Copy the video again.')
    return image


def retrieved(capture: Any) -> np.ndarray | None:
    """Decode the frame that a capture grabbed, RGB; None where it does not decode."""
    import cv2

    try:
        ok, image = capture.retrieve()
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if ok else None
    except cv2.error:
        return None


def _count_frames(path: Path, capture: Any) -> int:
    import cv2

    stated = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if stated > 0 and capture.set(cv2.CAP_PROP_POS_FRAMES, stated - 1):
        at_last = int(capture.get(cv2.CAP_PROP_POS_FRAMES)) == stated - 1
        if at_last and capture.grab() and not capture.grab():
            return stated
    with opened_video(path) as fresh:
        counted = 0
        while fresh.grab():
            counted += 1
        return counted


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
