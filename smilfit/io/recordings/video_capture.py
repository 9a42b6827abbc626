"""A video as OpenCV reads it: opened after a look at its head, bounded in what decoding it may take."""

import contextlib
import ctypes
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.files import BadFileError, reading
from smilfit.files.account import Account
from smilfit.io.image_opening import check_image_size

# What a file is recognised by: a playlist would have the decoder open files and addresses that it names.
_HEAD_BYTES = 512
_PLAYLISTS = (b'#EXTM3U', b'ffconcat', b'<?xml', b'<MPD', b'v=0', b'[playlist]', b'[Reference]')
# The largest image of a video, px: 8K. A decoder holds some ten of them.
_MOST_PIXELS = 36_000_000
# Megapixels that a video may decode to, and so many more a byte. Black ones have 31 bytes a megapixel at least
# (H.264 of 4K), still scenes some 3,000. A frame costs as much as 0.02 megapixels however small it is.
_BASE_MEGAPIXELS, _MEGAPIXELS_PER_BYTE, _LEAST_MEGAPIXELS = 1500.0, 0.1, 0.02
# CPU seconds that decoding may take beside those of any file, a megapixel: recordings take 3 ms, FFV1 9 ms.
_BASE_SECONDS, _SECONDS_PER_MEGAPIXEL, _SECONDS_PER_BYTE = 2.0, 0.05, 0.5e-6
# Of a file so much may be holes, bytes: a decoder looks through terabytes that are not there.
_MOST_HOLES = 1 << 26
# What decoders say of damage; of other things they complain that harm no image.
_DAMAGE = re.compile(r'error|damaged|conceal|mismatch|corrupt|invalid|missing|overread|illegal|truncated')


class Capture:
    """OpenCV's capture of a video, by the methods of the same names; it ends where decoding takes too much.

    Args:
        path: the video.
        threads: of the decoder; as many as it likes where None.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        import cv2

        self.path = path
        account = self._account = Account(path, 'the video')
        self._most = account.allowed(_BASE_MEGAPIXELS, _MEGAPIXELS_PER_BYTE)
        self._base_s = account.allowed(_BASE_SECONDS, _SECONDS_PER_BYTE)
        self._pace_s = account.allowed(_SECONDS_PER_MEGAPIXEL, 0.0)
        self._frame, self._position, self._seconds = _LEAST_MEGAPIXELS, 0, 0.0
        how = () if threads is None else (cv2.CAP_ANY, [cv2.CAP_PROP_N_THREADS, threads])
        self._capture = self._timed(cv2.VideoCapture, str(path), *how)
        if not self._capture.isOpened():
            raise ValueError(
                f'{path}: the file must be a video that opens; it does not (cut short?). Copy it again.'
            )
        width, height = int(self.get(cv2.CAP_PROP_FRAME_WIDTH)), int(self.get(cv2.CAP_PROP_FRAME_HEIGHT))
        check_image_size(path, width, height, "the video's image", _MOST_PIXELS)
        self._frame = max(width * height / 1e6, _LEAST_MEGAPIXELS)
        self._check(max(0.0, self.get(cv2.CAP_PROP_FRAME_COUNT)), 'frames that it states')

    def get(self, what: int) -> float:
        """Return a property of the video, or of where it stands."""
        return float(self._capture.get(what))

    def set(self, what: int, value: float) -> bool:
        """Move to a frame; those before it may be decoded on the way."""
        self._position, self._seconds = int(value), 0.0
        self._check(self._position, 'frames before the one that is looked for')
        return bool(self._timed(self._capture.set, what, value))

    def grab(self) -> bool:
        """Step to the next frame; False where none decodes."""
        self._position += 1
        self._check(self._position, 'frames')
        return bool(self._timed(self._capture.grab))

    def retrieve(self, image: np.ndarray | None = None) -> tuple[bool, np.ndarray]:
        """Return whether the frame has an image, and it, BGR."""
        return self._timed(self._capture.retrieve, image)

    def release(self) -> None:
        """Close the file."""
        self._capture.release()

    def _check(self, frames: float, what: str) -> None:
        if frames * self._frame > self._most:
            raise self._account.refusal(
                f'{self._most:,.0f} megapixels', f'{frames * self._frame:,.0f}', f'{frames:,.0f} {what}'
            )

    def _timed(self, call: Callable[..., Any], *arguments: Any) -> Any:
        # Other threads of this process take CPU time meanwhile, other processes make it wait: neither counts.
        wall, cpu = time.perf_counter(), time.process_time()
        result = call(*arguments)
        self._seconds += min(time.perf_counter() - wall, time.process_time() - cpu)
        most = self._base_s + self._pace_s * self._position * self._frame
        if self._seconds > most:
            raise self._account.refusal(
                f'{most:.3g} CPU seconds', f'{self._seconds:.3g}', f'frame {self._position}'
            )
        return result


def retrieved(capture: Capture, bgr: bool = False, memory: np.ndarray | None = None) -> np.ndarray | None:
    """Decode the frame that a capture grabbed; None where it does not decode.

    Args:
        capture: of `opened_video`.
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


@contextmanager
def opened_video(path: Path, threads: int | None = None) -> Iterator[Capture]:
    """Open a video by OpenCV for the time of a context, after looking at its head and its size.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no video, or one that would take more than its bytes allow (while it is read, too).
    """
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: the video must exist; there is no such file. Check the path, or give its folder.'
        )
    with COMPLAINTS.kept():
        with reading(path, 'the video'):
            _refuse_text(path)
            _refuse_holes(path)
            capture = Capture(path, threads)
        try:
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


def _refuse_holes(path: Path) -> None:
    status = path.stat()
    stored = 512 * getattr(status, 'st_blocks', status.st_size)
    # Some disks state no blocks at all.
    if stored and status.st_size > _MOST_HOLES + 2 * stored:
        raise BadFileError(
            f'{path}: a video must lie whole on the disk; got {stored:,} of its {status.st_size:,} bytes, the others '
            'are holes. Copy it again.'
        )


class _Complaints:
    """What decoders print while videos are open, kept from the terminal: they have no other way to tell of damage.

    Decoders print by C's `stderr`, which is exchanged for a file in memory; Python's and C++'s stay as they are. Only
    glibc lets it be exchanged: elsewhere the words go to the terminal, and nothing is known of damage.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self._file: int | None = None
        self._stream, self._usual = 0, 0

    @contextmanager
    def kept(self) -> Iterator[None]:
        self._begin()
        try:
            yield
        finally:
            self._end()

    def length(self) -> int:
        """How much is printed so far; what is printed later comes behind it."""
        return 0 if self._file is None else os.fstat(self._file).st_size

    def damage_since(self, length: int) -> bool:
        """Whether decoders complained of damage since there was so much."""
        size = self.length()
        if self._file is None or size <= length:
            return False
        text = os.pread(self._file, min(size - length, 1 << 20), length).decode(errors='replace').lower()
        return _DAMAGE.search(text) is not None

    def _begin(self) -> None:
        with self._lock:
            self._open += 1
            if self._open > 1 or self._usual or not sys.platform.startswith('linux'):
                return
            with contextlib.suppress(OSError, ValueError, AttributeError):
                if self._file is None:
                    self._make()
                error = ctypes.c_void_p.in_dll(ctypes.CDLL(None), 'stderr')
                self._usual, error.value = error.value or 0, self._stream

    def _end(self) -> None:
        with self._lock:
            self._open -= 1
            if self._open or not self._usual:
                return
            ctypes.c_void_p.in_dll(ctypes.CDLL(None), 'stderr').value = self._usual
            self._usual = 0

    def _make(self) -> None:
        library = ctypes.CDLL(None)
        library.fdopen.restype = ctypes.c_void_p
        file = os.memfd_create('smilfit_video_decoder')
        self._stream = library.fdopen(os.dup(file), b'a')
        library.setvbuf(ctypes.c_void_p(self._stream), None, 2, ctypes.c_size_t(0))
        self._file = file


COMPLAINTS = _Complaints()
