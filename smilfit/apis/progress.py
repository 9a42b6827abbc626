"""How far a call is: what a caller's `progress` function is given."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from smilfit.registrants import SMPLify, Stage

T = TypeVar('T')


@dataclass(frozen=True)
class Progress:
    """So many of a task's steps are done; the last report of a task has `done == total`.

    `note` says more where there is more, such as a stage's name and loss.
    """

    task: str
    done: int
    total: int
    note: str = ''


ProgressCallback = Callable[[Progress], Any]


def ignore(step: Progress) -> None:
    """Take no note of progress."""


@contextmanager
def steps(task: str, total: int, report: ProgressCallback) -> Iterator[Callable[[], None]]:
    """Report a task of equal steps; call what it gives once a step."""
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if done < total:
            report(Progress(task, done, total))

    report(Progress(task, 0, total))
    yield step
    report(Progress(task, total, total))


def counted(items: Iterable[T], step: Callable[[], None]) -> Iterator[T]:
    """Give the items, and call `step` after each."""
    for item in items:
        yield item
        step()


class FitProgress:
    """A registrant's hook that reports its steps; a stage that ends early counts as whole.

    Args:
        report: takes the reports.
    """

    def __init__(self, report: ProgressCallback) -> None:
        self.report = report
        self._task, self._total, self._before = '', 0, 0
        self._last: tuple[Stage | None, int] = (None, 0)

    def __call__(self, stage: Stage, step: int, loss: float) -> bool:
        """Take note of a step; never stops a stage."""
        last, last_step = self._last
        # A stage that begins again is the next window's.
        if last is not None and (stage is not last or step <= last_step):
            self._before += last.n_iter
        self._last = (stage, step)
        done = min(self._before + step, self._total)
        self.report(Progress(self._task, done, self._total, f'{stage.name}: loss {loss:.4g}'))
        return False

    @contextmanager
    def running(self, task: str, registrant: SMPLify, n_frames: int) -> Iterator[None]:
        """Report a fit of so many frames that runs in this context."""
        steps_of_part = registrant.n_epochs * sum(stage.n_iter for stage in registrant.stages)
        self._task, self._total = task, steps_of_part * registrant.n_parts(n_frames)
        self._before, self._last = 0, (None, 0)
        self.report(Progress(task, 0, self._total))
        yield
        self.report(Progress(task, self._total, self._total))
