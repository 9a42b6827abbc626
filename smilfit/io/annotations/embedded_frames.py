"""Frames that a SLEAP package (`.pkg.slp`) holds itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smilfit.structures import VideoFrame


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
        ValueError: no package, or one without pictures of this video.
    """
    video = _open(frame)
    height, width = video.shape[1:3]
    return frozenset(int(i) for i in video.frame_map), (int(width), int(height))


def read_embedded(frame: EmbeddedFrame, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Decode frames of one package: (index, RGB uint8 (H, W, 3)).

    Raises:
        FileNotFoundError: no such file.
        ValueError: no package, or a frame that it does not hold.
    """
    video = _open(frame)
    for index in indices:
        if index not in video.frame_map:
            raise ValueError(
                f'{frame.video}: the package must hold frame {index} of {frame.dataset}; it does not.'
            )
        picture = np.asarray(video[index])
        yield index, np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture


def _open(frame: EmbeddedFrame) -> Any:
    from sleap_io.io.video_reading import HDF5Video

    if not frame.video.is_file():
        raise FileNotFoundError(f'{frame.video}: the package must exist; there is no such file.')
    try:
        video = HDF5Video(filename=str(frame.video), dataset=frame.dataset, grayscale=None)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f'{frame.video}: the file must be a SLEAP package; reading failed with: {error}.'
        ) from None
    if not video.frame_map:
        raise ValueError(f'{frame.video}: the package must hold pictures in {frame.dataset}; it holds none.')
    return video
