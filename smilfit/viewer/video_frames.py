"""One frame of a video after another, in any order."""

from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from smilfit.io.videos import opened_video, retrieved

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
        self._context: Any = None
        self._capture: Any = None
        self._next = 0

    def __getitem__(self, index: int) -> UInt8[np.ndarray, 'H W 3']:
        """Decode a frame, RGB.

        Raises:
            IndexError: no such frame.
            RuntimeError: it does not decode.
        """
        if not 0 <= index < self.n_frames:
            raise IndexError(f'{self.path}: frames go from 0 to {self.n_frames - 1}; got {index}.')
        if self._capture is None or not self._next <= index <= self._next + NEAR:
            self._jump(index)
        while self._next <= index:
            if not self._capture.grab():
                raise RuntimeError(
                    f'{self.path}: frame {self._next} must decode; it does not. Copy it again.'
                )
            self._next += 1
        image = retrieved(self._capture)
        if image is None:
            raise RuntimeError(f'{self.path}: frame {index} must decode; it does not. Copy it again.')
        return image

    def _jump(self, index: int) -> None:
        if self._capture is None or index < self._next <= NEAR:
            self._open()
        if index - self._next <= NEAR and index >= self._next:
            return
        # A container that cannot tell where it is is read from its beginning.
        there = self._capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        if there and round(self._capture.get(cv2.CAP_PROP_POS_FRAMES)) == index:
            self._next = index
        else:
            self._open()

    def _open(self) -> None:
        self.close()
        self._context = opened_video(self.path)
        self._capture, self._next = self._context.__enter__(), 0

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
