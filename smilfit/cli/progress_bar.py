"""A bar in the terminal of how far a call is."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from smilfit.apis.progress import Progress


@contextmanager
def progress_bar(shown: bool) -> Iterator['ProgressBar | None']:
    """Give what shows reports of progress in this context; None where none are wanted."""
    bar = ProgressBar() if shown else None
    try:
        yield bar
    finally:
        if bar is not None:
            bar.end()


class ProgressBar:
    """Shows the reports that it is called with, one task after the other; a bar is gone when its task is done."""

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._id, self._task = TaskID(0), ''

    def __call__(self, step: Progress) -> None:
        """Show a report."""
        if self._bars is None or step.task != self._task:
            self.end()
            columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bars = Bars(
                TextColumn(step.task), *columns, TextColumn('{task.description}'), transient=True
            )
            self._bars.start()
            self._id, self._task = self._bars.add_task(step.note, total=step.total), step.task
        self._bars.update(self._id, completed=step.done, description=step.note)
        if step.done >= step.total:
            self.end()

    def end(self) -> None:
        """Take the bar away."""
        if self._bars is not None:
            self._bars.stop()
        self._bars = None
