"""Files that hold images: sizes from headers, and decoding, of stills, videos and packages."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from smilfit.files import reading, shorten
from smilfit.io.annotations.embedded_frames import EmbeddedFrame, probe_embedded, read_embedded
from smilfit.io.image_opening import open_image
from smilfit.io.videos import iterate_videos, probe_video
from smilfit.structures import VideoFrame

_ORIENTATION_TAG = 0x0112


class ImageSizes:
    """Sizes of images, each file looked into once."""

    def __init__(self) -> None:
        self._stills: dict[Path, tuple[tuple[int, int], int]] = {}
        self._videos: dict[VideoFrame, tuple[frozenset[int] | range, tuple[int, int]]] = {}

    def find(self, source: Path | VideoFrame, size: tuple[int, int] | None) -> tuple[int, int]:
        """Give (width, height) px as `read_still` and `read_frames` would, for an annotation that states a size.

        Raises:
            OSError: no such file.
            ValueError: no image, no video, or a frame that it does not hold.
        """
        if isinstance(source, VideoFrame):
            key = video_of(source)
            if key not in self._videos:
                self._videos[key] = _probe(source)
            frames, found = self._videos[key]
            if source.index not in frames:
                raise ValueError(
                    f'{source.video}: the frame must be one of its {len(frames)}; got {source.index}. Is it the '
                    'video that was annotated?'
                )
            return found
        if source not in self._stills:
            self._stills[source] = _read_header(source)
        stored, orientation = self._stills[source]
        return _turned(stored, orientation) if _is_upright(stored, orientation, size) else stored


def video_of(frame: VideoFrame) -> VideoFrame:
    """Give what is equal for all frames of a video: its frame 0."""
    return (
        EmbeddedFrame(frame.video, 0, frame.dataset)
        if isinstance(frame, EmbeddedFrame)
        else VideoFrame(frame.video, 0)
    )


def read_frames(source: VideoFrame, indices: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Decode frames of one video in the order of time: (index, RGB uint8 (H, W, 3)).

    Raises:
        OSError: no such file.
        ValueError: no video, or a frame that does not decode.
    """
    if isinstance(source, EmbeddedFrame):
        yield from read_embedded(source, indices)
        return
    with reading(source.video, 'the video'):
        try:
            for index, images in iterate_videos({'video': source.video}, indices):
                yield index, images['video']
        except RuntimeError as error:
            raise ValueError(str(error)) from None


def read_still(path: Path, size: tuple[int, int] | None) -> np.ndarray:
    """Decode an image, RGB uint8 (H, W, 3), upright unless only its stored size is the annotation's.

    Raises:
        OSError: no such file.
        ValueError: it does not decode.
    """
    from PIL import ImageOps

    stored, orientation = _read_header(path)
    with reading(path, 'the image'):
        try:
            with open_image(path, path) as image:
                if _is_upright(stored, orientation, size):
                    image = ImageOps.exif_transpose(image)
                if image.mode.startswith('I'):
                    # PIL clips 16 bits at 255 instead of scaling them.
                    grey = (np.asarray(image) >> 8).astype(np.uint8)
                    return np.repeat(grey[..., None], 3, axis=-1)
                return np.array(image.convert('RGB'))
        except (OSError, SyntaxError) as error:
            raise ValueError(
                f'{path}: the image must decode; got: {shorten(error)}. Copy it again.'
            ) from None


def unused_bits(path: Path) -> int:
    """Count the upper bits that no pixel of a grey 16-bit image uses; 0 of every other image.

    Raises:
        OSError: no such file.
        ValueError: it does not decode.
    """
    _read_header(path)
    with reading(path, 'the image'):
        try:
            with open_image(path, path) as image:
                if not image.mode.startswith('I'):
                    return 0
                return 16 - min(16, int(np.asarray(image).max()).bit_length())
        except (OSError, SyntaxError) as error:
            raise ValueError(
                f'{path}: the image must decode; got: {shorten(error)}. Copy it again.'
            ) from None


def _probe(frame: VideoFrame) -> tuple[frozenset[int] | range, tuple[int, int]]:
    if isinstance(frame, EmbeddedFrame):
        return probe_embedded(frame)
    video = probe_video(frame.video)
    return range(video.n_frames), video.size


def _read_header(path: Path) -> tuple[tuple[int, int], int]:
    """Give the stored size (width, height) and the EXIF orientation, 1 to 8, without decoding."""
    from PIL import UnidentifiedImageError

    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: the image must exist; there is no such file. Check the path, or give the folder.'
        )
    with reading(path, 'the image'):
        try:
            with open_image(path, path) as image:
                return image.size, _orientation(image.getexif().get(_ORIENTATION_TAG, 1))
        except (UnidentifiedImageError, OSError, SyntaxError) as error:
            raise ValueError(f'{path}: the image must open; got: {shorten(error)}. Copy it again.') from None


def _orientation(value: object) -> int:
    """Give what EXIF says, 1 to 8; what is no such number says nothing."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _is_upright(stored: tuple[int, int], orientation: int, size: tuple[int, int] | None) -> bool:
    """Say whether the annotator saw the image turned upright: yes, unless only the stored size agrees."""
    upright = _turned(stored, orientation)
    return size is None or tuple(size) == upright or tuple(size) != stored


def _turned(stored: tuple[int, int], orientation: int) -> tuple[int, int]:
    return stored[::-1] if orientation >= 5 else stored
