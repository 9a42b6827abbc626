"""How far a call is: what a caller's `progress` function is given."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

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
    """Return the items, and call `step` after each."""
    for item in items:
        yield item
        step()
