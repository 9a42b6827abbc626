"""Reports of a fit that runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from smilfit.apis.progress import Progress, ProgressCallback
from smilfit.registrants import SMPLify, Stage


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
        self._task, self._total = task, registrant.n_steps * registrant.n_parts(n_frames)
        self._before, self._last = 0, (None, 0)
        self.report(Progress(task, 0, self._total))
        yield
        self.report(Progress(task, self._total, self._total))
