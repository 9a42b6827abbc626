"""A progress bar over the steps of a fit, fed by a registrant's hook."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from smilfit.registrants import SMPLify, Stage


class StepBar:
    """A hook that moves a bar by one a step; a stage that ends early moves it to its end.

    Args:
        shown: whether to draw at all.
    """

    def __init__(self, shown: bool) -> None:
        self.shown = shown
        self._bar: Progress | None = None
        self._starts: dict[int, int] = {}
        self._task: Any = None

    def __call__(self, stage: Stage, step: int, loss: float) -> bool:
        """Take note of a step; never stops a stage."""
        if self._bar is not None:
            done = self._starts.get(id(stage), 0) + step
            self._bar.update(self._task, completed=done, description=f'{stage.name}: loss {loss:.4g}')
        return False

    @contextmanager
    def running(self, what: str, registrant: SMPLify) -> Iterator[None]:
        """Show the bar while a fit runs."""
        if not self.shown:
            yield
            return
        total = 0
        for stage in registrant.stages:
            self._starts[id(stage)] = total
            total += stage.n_iter
        columns = (TextColumn(what), BarColumn(), TimeRemainingColumn(), TextColumn('{task.description}'))
        with Progress(*columns, transient=True) as self._bar:
            self._task = self._bar.add_task('', total=total)
            yield
        self._bar = None


@contextmanager
def step_bar(what: str, total: int, shown: bool) -> Iterator[Callable[[], None]]:
    """Show a bar over `total` equal steps; call what it gives once a step."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True, disable=not shown) as bar:
        task = bar.add_task('', total=total)
        yield lambda: bar.advance(task)
