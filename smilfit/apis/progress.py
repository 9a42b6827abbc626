"""How far a call is: what a caller's `progress` function is given."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

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


ProgressCallback = Callable[[Progress], object]


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


@dataclass(frozen=True)
class RunFacts:
    """What a run is about.

    Args:
        task: 'training' or 'testing'.
        model: the regressor's class and its backbone.
        n_trained: how many numbers training changes; of a test, how many the model has.
        body_model: the body model's file, if known.
        data: dataset files.
        n_samples: of training, or of the test.
        n_validation: samples that a training is judged by; None where there are none.
        cameras: names.
        keypoints: how many.
        device: where it computes.
        work_dir: where it writes.
        log: the file with all that mmengine says.
        epochs: of the whole training; None where it counts iterations, and for a test.
        done: iterations done before, of a training that goes on.
        total: iterations of the whole training, or batches of the test.
    """

    task: str
    model: str
    n_trained: int
    body_model: str | None
    data: tuple[str, ...]
    n_samples: int
    n_validation: int | None
    cameras: tuple[str, ...]
    keypoints: int
    device: str
    work_dir: Path
    log: Path | None
    epochs: int | None
    done: int
    total: int


@runtime_checkable
class RunListener(Protocol):
    """Hears of a run, in its first process; mmengine's own lines go to the log file alone then."""

    def begun(self, facts: RunFacts) -> None:
        """Hear what is about to be done."""

    def progress(self, step: Progress) -> None:
        """Hear of a step of 'training', 'validating' or 'testing'; the note has the mean losses of late."""

    def validated(self, when: str, metrics: Mapping[str, float]) -> None:
        """Hear the numbers of a validation, and after which epoch or iteration."""


def losses_in_words(losses: Mapping[str, float], most: int = 3) -> str:
    """Write the sum of losses, and the largest of them.

    Args:
        losses: by mmengine's names: `loss` is the sum, others begin with `loss_` or end with `_loss`.
        most: how many parts to name.
    """
    parts = {_bare(name): value for name, value in losses.items() if name != 'loss'}
    largest = sorted(parts.items(), key=lambda part: -abs(part[1]))[:most]
    inside = ', '.join(f'{name} {value:.3g}' for name, value in largest if value)
    if 'loss' not in losses:
        return inside
    named = f' ({inside})' if len(parts) > 1 and inside else ''
    return f'loss {losses["loss"]:.3g}{named}'


def _bare(name: str) -> str:
    return name.removeprefix('loss_').removesuffix('_loss').replace('_', ' ')
