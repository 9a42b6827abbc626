"""A bar of how far preprocessing is."""

from collections.abc import Callable
from typing import Any


class ProgressBar:
    """A progress bar with the time left, where one is wanted."""

    def __init__(self, wanted: bool, total: int, done: int) -> None:
        self._bar: Any = None
        if wanted:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn('preprocessing'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
            )
            self._task = self._bar.add_task('preprocessing', total=total, completed=done)

    def __enter__(self) -> Callable[[], None]:
        if self._bar is None:
            return lambda: None
        self._bar.start()
        return lambda: self._bar.advance(self._task)

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()
