"""One thread that draws: the frame asked for last, or the next one of a recording that plays."""

import threading
import time
from collections.abc import Callable


class Player:
    """Calls `draw` with frame numbers, one at a time, and only with the newest that was asked for.

    Args:
        draw: draws a frame.
        count: how many frames there are.
        fps: of playing.
    """

    def __init__(self, draw: Callable[[int], None], count: int, fps: float) -> None:
        self._draw, self._count, self.fps = draw, count, fps
        self._wanted: int | None = None
        self._row, self._playing, self._closed = 0, False, False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True, name='smilfit-view')
        self._thread.start()

    @property
    def row(self) -> int:
        """The frame that was drawn last."""
        return self._row

    @property
    def playing(self) -> bool:
        """Whether frames follow by themselves."""
        return self._playing

    def show(self, row: int) -> None:
        """Ask for a frame."""
        with self._changed:
            self._wanted = row
            self._changed.notify()

    def play(self, playing: bool) -> None:
        """Begin or stop playing, from the frame that is shown."""
        with self._changed:
            self._playing = playing
            self._changed.notify()

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        due = 0.0
        while True:
            with self._changed:
                while not self._closed and self._wanted is None:
                    wait = due - time.monotonic() if self._playing else None
                    if wait is not None and wait <= 0:
                        break
                    self._changed.wait(wait)
                if self._closed:
                    return
                row = (self._row + 1) % self._count if self._wanted is None else self._wanted
                self._wanted = None
            # The clock goes from the beginning of a drawing: a slow one costs frames per second, not frames.
            due = time.monotonic() + 1.0 / max(self.fps, 0.1)
            self._draw(row)
            self._row = row
