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
        self._task: Any = None
        self._before = 0
        self._last: tuple[Stage | None, int] = (None, 0)

    def __call__(self, stage: Stage, step: int, loss: float) -> bool:
        """Take note of a step; never stops a stage."""
        if self._bar is not None:
            last, last_step = self._last
            # A stage that begins again is the next window's.
            if last is not None and (stage is not last or step <= last_step):
                self._before += last.n_iter
            self._last = (stage, step)
            said = f'{stage.name}: loss {loss:.4g}'
            self._bar.update(self._task, completed=self._before + step, description=said)
        return False

    @contextmanager
    def running(self, what: str, registrant: SMPLify, n_frames: int) -> Iterator[None]:
        """Show the bar while a fit of so many frames runs."""
        if not self.shown:
            yield
            return
        self._before, self._last = 0, (None, 0)
        columns = (TextColumn(what), BarColumn(), TimeRemainingColumn(), TextColumn('{task.description}'))
        with Progress(*columns, transient=True) as self._bar:
            steps = registrant.n_epochs * sum(stage.n_iter for stage in registrant.stages)
            self._task = self._bar.add_task('', total=steps * registrant.n_parts(n_frames))
            yield
        self._bar = None


@contextmanager
def step_bar(what: str, total: int, shown: bool) -> Iterator[Callable[[], None]]:
    """Show a bar over `total` equal steps; call what it gives once a step."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True, disable=not shown) as bar:
        task = bar.add_task('', total=total)
        yield lambda: bar.advance(task)
