"""Videos, read once and in order: probing, honest frame counts, all cameras in lockstep."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from smilfit.io.recordings.video_capture import COMPLAINTS, Capture, opened_video, retrieved

logger = logging.getLogger('smilfit')

# Key frames are seldom farther apart; what lies closer together is read faster in order.
_FAR = 300
# Of a frame's time from its number, frames.
_TIME_ERROR = 0.25
# Steps between timestamps of a video of constant rate are this near to whole numbers of frames.
_STEP_SLACK = 0.05
# So many damaged packets in a row are passed over.
_TRIES = 256
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


@dataclass
class Damage:
    """Frames of a video, by number, that did not decode, and those that the decoder made up in part."""

    lost: list[int] = field(default_factory=list)
    mended: list[int] = field(default_factory=list)


def iterate_videos(
    paths: Mapping[str, Path],
    indices: Sequence[int],
    bgr: bool = False,
    damage: dict[str, Damage] | None = None,
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Decode frames of several synchronised videos in one pass, holding one image a video.

    Random access into compressed video costs a decode from the key frame before; frames in between are
    therefore decoded and dropped, but where they are many. A seek is believed where the video's times agree with its
    frames' numbers. Damaged frames are counted when all are read: where a decoder complained, by decoding once more.

    Args:
        paths: camera -> video.
        indices: frame numbers, strictly increasing.
        bgr: give images as they are decoded, for who shows but a part of each; the next image of a camera takes the
            same memory.
        damage: takes what is damaged, by camera, when all is read; a frame that does not decode then has no image.

    Yields:
        (index, {camera: RGB uint8 (H, W, 3)}).

    Raises:
        ValueError: indices that are negative or do not increase.
        RuntimeError: a frame that cannot be decoded.
    """
    indices = [int(i) for i in indices]
    if any(b <= a for a, b in zip([-1, *indices], indices)):
        raise ValueError('frames: indices must be strictly increasing from 0; sort them and drop repeats.')
    return _iterate(paths, indices, bgr, damage)


def _iterate(
    paths: Mapping[str, Path], indices: list[int], bgr: bool, damage: dict[str, Damage] | None
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    lost: dict[str, list[int]] = {name: [] for name in paths}
    with ExitStack() as stack:
        readers = {name: _Reader(path, stack) for name, path in paths.items()}
        before = COMPLAINTS.length()
        for index in indices:
            images = {name: reader.read(index, bgr) for name, reader in readers.items()}
            for name in (name for name, image in images.items() if image is None):
                if damage is None:
                    raise undecoded(paths[name], index)
                lost[name].append(index)
            yield index, {name: image for name, image in images.items() if image is not None}
        complained = COMPLAINTS.damage_since(before)
    for name, path in paths.items():
        mended = mended_frames(path, indices) if complained else []
        mended = [frame for frame in mended if frame not in lost[name]]
        if mended or lost[name]:
            logger.warning(
                '%s: %d of %d frames are damaged: %d do not decode%s, of %d the decoder made up a part%s. Copy the '
                'video again.',
                *(path, len(mended) + len(lost[name]), len(indices), len(lost[name]), _first(lost[name])),
                *(len(mended), _first(mended)),
            )
            if damage is not None:
                damage[name] = Damage(lost[name], mended)


def _first(frames: Sequence[int]) -> str:
    shown = ', '.join(f'{frame}' for frame in frames[:5])
    return f' ({shown}{", ..." if len(frames) > 5 else ""})' if frames else ''


def mended_frames(path: Path, indices: Sequence[int]) -> list[int]:
    """Find those of some frames that the decoder complains of, by decoding all up to the last in one thread."""
    wanted, result = set(indices), []
    with opened_video(path, threads=1) as capture:
        tape = Tape(capture, every_step=False)
        while indices and tape.number < indices[-1] and not tape.ended:
            before, length = tape.number, COMPLAINTS.length()
            tape.at(before + 1)
            if tape.number in wanted and tape.number == before + 1 and COMPLAINTS.damage_since(length):
                result.append(tape.number)
    return result


class Tape:
    """One video on its way forward, past what is damaged.

    Args:
        capture: of `opened_video`, at its beginning.
        every_step: take any gap between timestamps for damaged frames that the decoder left out; if False, only
            one behind a frame that did not decode.
    """

    def __init__(self, capture: Capture, every_step: bool = True) -> None:
        import cv2

        self.capture, self.every_step = capture, every_step
        self.stated, self.fps = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), capture.get(cv2.CAP_PROP_FPS)
        self.stand_at(-1, 0.0)
        self.steady, self.ended = True, False

    def stand_at(self, number: int, last_ms: float | None = None) -> None:
        """Note which frame was grabbed last, and its timestamp where it is not the capture's."""
        import cv2

        self.number = number
        self.last_ms = self.capture.get(cv2.CAP_PROP_POS_MSEC) if last_ms is None else last_ms

    def at(self, wanted: int, bgr: bool = False, memory: np.ndarray | None = None) -> np.ndarray | str:
        """Go to a frame: its image, or why there is none.

        Args:
            wanted: its number; the same or a later one at each call.
            bgr: as of `retrieved`.
            memory: as of `retrieved`.
        """
        while self.number < wanted and not self.ended:
            self._grab()
        if self.number > wanted:
            return 'the frame is damaged'
        if self.ended:
            return 'the video ends before this frame'
        image = retrieved(self.capture, bgr, memory)
        return 'the frame does not decode' if image is None else image

    def length(self) -> int:
        """Go to the end, and count frames, with damaged ones before the last that decodes."""
        while not self.ended:
            self._grab()
        return self.number + 1

    def _grab(self) -> None:
        import cv2

        # A damaged packet ends a grab as the end of the file does; what comes after it may be whole.
        left = self.stated - 1 - self.number
        failed = next((n for n in range(max(1, min(left, _TRIES))) if self.capture.grab()), None)
        if failed is None:
            self.ended = True
            return
        now = self.capture.get(cv2.CAP_PROP_POS_MSEC)
        step = (now - self.last_ms) * self.fps / 1000
        if self.number >= 0 and abs(step - round(step)) > _STEP_SLACK:
            # A variable rate: its timestamps are no evidence of lost frames.
            self.steady = False
        # The decoder leaves out what is damaged; the next timestamp tells how much that was.
        lost = round(step) - 1 if self.steady and self.number >= 0 else 0
        if not 0 <= lost < self.stated - self.number - 1:
            lost = 0
        if not self.every_step:
            lost = lost or failed if failed else 0
        self.number, self.last_ms = self.number + 1 + lost, now


class _Reader:
    """Reads frames of one video, later and later ones; far ones by a seek where that is sure to find them."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._path, self._stack = path, stack
        self._tape = self._opened()
        self._seekable: bool | None = None
        self._memory: np.ndarray | None = None

    def read(self, index: int, bgr: bool) -> np.ndarray | None:
        """Decode a frame; None where it is damaged, and later ones are not.

        Raises:
            RuntimeError: the video ends before it.
        """
        if index - self._tape.number > _FAR + 1:
            self._seek(index)
        result = self._tape.at(index, bgr, self._memory if bgr else None)
        if isinstance(result, np.ndarray):
            self._memory = result
            return result
        if self._tape.ended:
            raise undecoded(self._path, self._tape.number + 1)
        return None

    def _opened(self) -> Tape:
        return Tape(self._stack.enter_context(opened_video(self._path)), every_step=False)

    def _seek(self, index: int) -> None:
        """Grab a frame by a seek where that is the one: the video's times must agree with its numbers."""
        import cv2

        if self._seekable is None:
            with opened_video(self._path) as fresh:
                self._seekable = _ends_as_stated(fresh)
        if not self._seekable:
            return
        capture = self._tape.capture
        if capture.set(cv2.CAP_PROP_POS_FRAMES, index) and capture.grab():
            place = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 * capture.get(cv2.CAP_PROP_FPS)
            if abs(place - index) < _TIME_ERROR and int(capture.get(cv2.CAP_PROP_POS_FRAMES)) == index + 1:
                self._tape.stand_at(index)
                return
        # Where it stands now is not known.
        self._seekable = False
        self._tape = self._opened()


def undecoded(path: Path, frame: int) -> RuntimeError:
    """Make the error of a frame that does not decode."""
    return RuntimeError(f'{path}: frame {frame} must decode; it does not. Copy the video again.')


def _count_frames(path: Path, capture: Capture) -> int:
    import cv2

    if _ends_as_stated(capture):
        return int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    with opened_video(path) as fresh:
        return Tape(fresh, every_step=False).length()


def _ends_as_stated(capture: Capture) -> bool:
    """Check whether the container's last frame decodes and none follows; the capture then stands at the end."""
    import cv2

    stated = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if stated <= 0 or not capture.set(cv2.CAP_PROP_POS_FRAMES, stated - 1):
        return False
    at_last = int(capture.get(cv2.CAP_PROP_POS_FRAMES)) == stated - 1
    return bool(at_last and capture.grab() and not capture.grab())
