"""What commands draw in a terminal: tables, and a bar of how far a call is. Lines go through `print`."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from smilfit.apis.progress import Progress


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    text: Sequence[str] = (),
    caption: str | None = None,
    least_width: int = 0,
) -> None:
    """Print a table; None is a dash.

    Args:
        title: above it.
        columns: their heads.
        rows: what stands in them.
        text: columns of words, to the left and never cut; numbers are to the right.
        caption: below it.
        least_width: characters, where the window is narrower.
    """
    table = Table(title=escape(title), caption=caption)
    for column in columns:
        is_text = column in text
        table.add_column(
            column, justify='left' if is_text else 'right', overflow='fold' if is_text else 'ellipsis'
        )
    for row in rows:
        table.add_row(*('-' if cell is None else escape(str(cell)) for cell in row))
    console = Console()
    console.width = max(console.width, least_width)
    console.print(table)


@contextmanager
def progress_bar(shown: bool, console: Console | None = None) -> Iterator['ProgressBar | None']:
    """Return what shows reports of progress in this context; None where none are wanted."""
    bar = ProgressBar(console) if shown else None
    try:
        yield bar
    finally:
        if bar is not None:
            bar.end()


class ProgressBar:
    """Shows the reports that it is called with, one task after the other; a bar is gone when its task is done.

    Args:
        console: where to draw; rich's own if None.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console
        self._bars: Bars | None = None
        self._id, self._task = TaskID(0), ''

    def __call__(self, step: Progress) -> None:
        """Show a report."""
        if self._bars is None or step.task != self._task:
            self.end()
            # Names of sessions are anybody's: neither a format nor markup.
            name, note = (TextColumn(f'{{task.fields[{key}]}}', markup=False) for key in ('name', 'note'))
            columns = (name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), note)
            self._bars = Bars(*columns, console=self.console, transient=True)
            self._bars.start()
            self._id = self._bars.add_task('', total=step.total, name=step.task, note=step.note)
            self._task = step.task
        self._bars.update(self._id, completed=step.done, note=step.note)
        if step.done >= step.total:
            self.end()

    def end(self) -> None:
        """Take the bar away."""
        if self._bars is not None:
            self._bars.stop()
        self._bars = None
