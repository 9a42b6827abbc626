"""Frames shared out to threads: a kernel that runs on a CPU lets go of Python's lock."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

# Fewer frames than this a thread are not worth waking it: some 0.1 ms, beside 2 to 6 of work.
FRAMES_A_THREAD = 64


class FrameThreads:
    """So many threads, which live as long as this does.

    Args:
        count: at least 1, the calling one among them.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None

    def parts(self, n: int) -> list[range]:
        """Cut n rows into parts, one a thread: contiguous, and as equal as can be."""
        count = min(self.count, n)
        return [range(i * n // count, (i + 1) * n // count) for i in range(count)]

    def run(self, tasks: Sequence[Callable[[], None]]) -> None:
        """Run tasks at once, the first in this thread; return when all are done."""
        if self._pool is None and len(tasks) > 1:
            self._pool = ThreadPoolExecutor(self.count - 1, thread_name_prefix='smilfit-frames')
        others = [] if self._pool is None else [self._pool.submit(task) for task in tasks[1:]]
        try:
            for task in tasks[:1]:
                task()
        finally:
            for other in others:
                other.result()


def threads_for(n_frames: int, threads: int | None = None) -> int:
    """Report on how many threads so many frames are worked on: at most as many as torch has, unless it is said."""
    if threads is not None:
        return max(1, min(threads, n_frames))
    return max(1, min(torch.get_num_threads(), n_frames // FRAMES_A_THREAD))
