"""Frames that a SLEAP package (`.pkg.slp`) holds itself."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from smilfit.files import BadFileError, reading, shorten
from smilfit.io.hdf5_files import open_hdf5
from smilfit.io.image_opening import check_image_size, open_image
from smilfit.structures import VideoFrame

_WHAT = 'the package'


@dataclass(frozen=True)
class EmbeddedFrame(VideoFrame):
    """One frame in a package: `video` is the package, `index` counts in the video that it was taken from."""

    dataset: str = 'video0/video'

    def __str__(self) -> str:
        return f'{self.video}, embedded frame {self.index} of {self.dataset.split("/")[0]}'


def probe_embedded(frame: EmbeddedFrame) -> tuple[frozenset[int], tuple[int, int]]:
    """Give the frames that a package holds of a video, by their numbers in it, and (width, height) px.

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


def _open(frame: EmbeddedFrame) -> Any:
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
