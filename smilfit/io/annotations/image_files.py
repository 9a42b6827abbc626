"""Files that hold images: sizes from headers, and decoding, of stills, videos and packages."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from smilfit.files import BadFileError, reading, shorten
from smilfit.io.hdf5_files import open_hdf5
from smilfit.io.image_opening import check_image_size, decoded_image, open_image
from smilfit.io.recordings.videos import iterate_videos, probe_video
from smilfit.structures import VideoFrame

if TYPE_CHECKING:
    import sleap_io.io.video_reading

_WHAT = 'the package'


@dataclass(frozen=True)
class EmbeddedFrame(VideoFrame):
    """One frame in a package: `video` is the package, `index` counts in the video that it was taken from."""

    dataset: str = 'video0/video'

    def __str__(self) -> str:
        return f'{self.video}, embedded frame {self.index} of {self.dataset.split("/")[0]}'


def probe_embedded(frame: EmbeddedFrame) -> tuple[frozenset[int], tuple[int, int]]:
    """Return the frames that a package holds of a video, by their numbers in it, and (width, height) px.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no package, or one without images of this video.
    """
    with open_hdf5(frame.video, _WHAT) as file:
        video = _open(frame)
        _check_size(frame, file[video.dataset], next(iter(video.frame_map.values())))
        height, width = video.shape[1:3]
        check_image_size(str(frame), int(width), int(height))
        return frozenset(int(i) for i in video.frame_map), (int(width), int(height))


def read_embedded(frame: EmbeddedFrame, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Decode frames of one package: (index, RGB uint8 (H, W, 3)).

    Raises:
        FileNotFoundError: no such file.
        ValueError: no package, or a frame that it does not hold.
    """
    with open_hdf5(frame.video, _WHAT) as file:
        video = _open(frame)
        for index in indices:
            if index not in video.frame_map:
                raise BadFileError(
                    f'{frame.video}: the package must hold frame {index} of {frame.dataset}; it does not.'
                )
            _check_size(frame, file[video.dataset], video.frame_map[index])
            image = np.asarray(video[index])
            if image.ndim != 3 or image.shape[-1] not in (1, 3) or image.dtype != np.uint8:
                raise BadFileError(
                    f'{frame.video}: frame {index} must be an image of 8 bits, grey or in colours; got '
                    f'{image.dtype} of shape {image.shape}. Export the package again.'
                )
            yield index, np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image


def _check_size(frame: EmbeddedFrame, table: h5py.Dataset, row: int) -> None:
    """Hold a frame's stated size against the limit before it is decoded."""
    if table.ndim == 4:
        # Rows, columns and channels, or channels first: the product bounds both.
        check_image_size(str(frame), int(np.prod(table.shape[1:], dtype=object)), 1)
        return
    data = np.asarray(table[row]).astype(np.uint8, copy=False).tobytes()
    with reading(frame.video, _WHAT):
        try:
            with open_image(io.BytesIO(data), frame.video, f'the image in row {row}'):
                return
        except OSError as error:
            raise BadFileError(
                f'{frame.video}: the image in row {row} of {frame.dataset} must decode; got: {shorten(error)}. '
                'Export the package again.'
            ) from None


def _open(frame: EmbeddedFrame) -> 'sleap_io.io.video_reading.HDF5Video':
    from sleap_io.io.video_reading import HDF5Video

    try:
        video = HDF5Video(filename=str(frame.video), dataset=frame.dataset, grayscale=None)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f'{frame.video}: the file must be a SLEAP package; reading failed with: {shorten(error)}.'
        ) from None
    if not video.frame_map:
        raise ValueError(f'{frame.video}: the package must hold images in {frame.dataset}; it holds none.')
    return video


_ORIENTATION_TAG = 0x0112


class ImageSizes:
    """Sizes of images, each file looked into once."""

    def __init__(self) -> None:
        self._stills: dict[Path, tuple[tuple[int, int], int]] = {}
        self._videos: dict[VideoFrame, tuple[frozenset[int] | range, tuple[int, int]]] = {}

    def find(self, source: Path | VideoFrame, size: tuple[int, int] | None) -> tuple[int, int]:
        """Return (width, height) px as `read_still` and `read_frames` would, for an annotation that states a size.

        Raises:
            OSError: no such file.
            ValueError: no image, no video, or a frame that it does not hold.
        """
        if isinstance(source, VideoFrame):
            key = video_of(source)
            if key not in self._videos:
                self._videos[key] = _probe(source)
            frames, result = self._videos[key]
            if source.index not in frames:
                raise ValueError(
                    f'{source.video}: the frame must be one of its {len(frames)}; got {source.index}. Is it the '
                    'video that was annotated?'
                )
            return result
        if source not in self._stills:
            self._stills[source] = _read_header(source)
        stored, orientation = self._stills[source]
        return _rotated(stored, orientation) if _is_upright(stored, orientation, size) else stored


def video_of(frame: VideoFrame) -> VideoFrame:
    """Return what is equal for all frames of a video: its frame 0."""
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
    with decoded_image(path) as image:
        if _is_upright(stored, orientation, size):
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith('I'):
            # PIL clips 16 bits at 255 instead of scaling them.
            grey = (np.asarray(image) >> 8).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=-1)
        return np.array(image.convert('RGB'))


def unused_bits(path: Path) -> int:
    """Count the upper bits that no pixel of a grey 16-bit image uses; 0 of every other image.

    Raises:
        OSError: no such file.
        ValueError: it does not decode.
    """
    with decoded_image(path) as image:
        if not image.mode.startswith('I'):
            return 0
        return 16 - min(16, int(np.asarray(image).max()).bit_length())


def _probe(frame: VideoFrame) -> tuple[frozenset[int] | range, tuple[int, int]]:
    if isinstance(frame, EmbeddedFrame):
        return probe_embedded(frame)
    video = probe_video(frame.video)
    return range(video.n_frames), video.size


def _read_header(path: Path) -> tuple[tuple[int, int], int]:
    """Return the stored size (width, height) and the EXIF orientation, 1 to 8, without decoding."""
    with decoded_image(path, rule='must open') as image:
        return image.size, _orientation(image.getexif().get(_ORIENTATION_TAG, 1))


def _orientation(value: object) -> int:
    """Return what EXIF says, 1 to 8; what is no such number says nothing."""
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _is_upright(stored: tuple[int, int], orientation: int, size: tuple[int, int] | None) -> bool:
    """Check whether the annotator saw the image turned upright: yes, unless only the stored size agrees."""
    upright = _rotated(stored, orientation)
    return size is None or tuple(size) == upright or tuple(size) != stored


def _rotated(stored: tuple[int, int], orientation: int) -> tuple[int, int]:
    return stored[::-1] if orientation >= 5 else stored
