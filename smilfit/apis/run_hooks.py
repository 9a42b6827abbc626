"""What training and testing share: a work dir held by one run, and reports of progress."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook

from smilfit.apis.progress import Progress, ProgressCallback
from smilfit.files import OutputLock, remove_temporary


@contextmanager
def hold_work_dir(work_dir: str | Path) -> Iterator[None]:
    """Keep other runs out of a work dir, by the first process of this one, and clear what killed ones left.

    Raises:
        OutputHeldError: another run is in it.
    """
    if get_rank() != 0:
        yield
        return
    with OutputLock.of_folder(work_dir):
        remove_temporary(work_dir)
        yield


class ProgressHook(Hook):
    """Reports every step of training and of testing.

    Args:
        report: takes the reports.
    """

    def __init__(self, report: ProgressCallback) -> None:
        self.report = report

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Report a step of training."""
        self.report(Progress('training', runner.iter + 1, runner.max_iters, f'epoch {runner.epoch + 1}'))

    def after_test_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Report a step of testing."""
        self.report(Progress('testing', batch_idx + 1, len(runner.test_dataloader)))


def add_progress(runner: Any, progress: ProgressCallback | None) -> None:
    """Let the first process report to a caller who asked for it."""
    if progress is not None and runner.rank == 0:
        runner.register_hook(ProgressHook(progress))
