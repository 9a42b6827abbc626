"""What training and testing share: a work dir held by one run, and reports of what they do."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from torch import nn

from smilfit.apis.progress import Progress, ProgressCallback, RunFacts, RunListener, losses_in_words
from smilfit.files import OutputLock, remove_temporary
from smilfit.networks.engine.hooks.plain_checkpoint_hook import inner_model
from smilfit.networks.engine.label_check import files_of

# Losses that are told are means over so many iterations.
_WINDOW = 10
# Of whoever listens, mmengine's lines from this level on are shown; all are in the log file.
QUIET = 'WARNING'


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
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: object = None
    ) -> None:
        """Report a step of training."""
        self.report(Progress('training', runner.iter + 1, runner.max_iters, f'epoch {runner.epoch + 1}'))

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: object = None
    ) -> None:
        """Report a step of testing."""
        self.report(Progress('testing', batch_idx + 1, len(runner.test_dataloader)))


def add_progress(runner: Runner, progress: ProgressCallback | None) -> None:
    """Let the first process report to a caller who asked for it."""
    if progress is not None and runner.rank == 0:
        runner.register_hook(ProgressHook(progress))


class ListenerHook(ProgressHook):
    """Report to a listener what a run does.

    Args:
        listener: hears it.
    """

    def __init__(self, listener: RunListener) -> None:
        super().__init__(listener.progress)
        self.listener = listener

    def before_train(self, runner: Runner) -> None:
        """Report what is trained; what was resumed is known by now."""
        self.listener.begun(facts_of(runner, 'training'))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: object = None
    ) -> None:
        """Report a step of training."""
        losses = losses_in_words(recent_losses(runner))
        note = f'epoch {runner.epoch + 1}: {losses}' if _by_epoch(runner) else losses
        self.report(Progress('training', runner.iter + 1, runner.max_iters, note))

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: object = None
    ) -> None:
        """Report a step of validation."""
        self.report(Progress('validating', batch_idx + 1, len(runner.val_dataloader)))

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        """Report the numbers of a validation."""
        when = f'epoch {runner.epoch}' if _by_epoch(runner) else f'iteration {runner.iter}'
        self.listener.validated(when, metrics or {})

    def before_test(self, runner: Runner) -> None:
        """Report what is tested."""
        self.listener.begun(facts_of(runner, 'testing'))


def add_listener(runner: Runner, listener: RunListener | None) -> None:
    """Let a listener hear of the first process."""
    if listener is not None and runner.rank == 0:
        runner.register_hook(ListenerHook(listener))


def recent_losses(runner: Runner) -> dict[str, float]:
    """Read the mean losses of the last iterations, which mmengine keeps."""
    result = {}
    for name, history in runner.message_hub.log_scalars.items():
        bare = name.removeprefix('train/')
        if name.startswith('train/') and 'loss' in bare:
            result[bare] = float(history.mean(min(_WINDOW, len(history.data[0]))))
    return result


def facts_of(runner: Runner, task: str) -> RunFacts:
    """Gather what a runner is about to do."""
    model = inner_model(runner)
    training = task == 'training'
    loader = runner.train_dataloader if training else runner.test_dataloader
    validation = runner.val_dataloader if training and runner.val_loop is not None else None
    meta = dict(getattr(loader.dataset, 'metainfo', {}))
    counted = [p.numel() for p in model.parameters() if p.requires_grad or not training]
    total = runner.max_iters if training else len(loader)
    return RunFacts(
        task=task,
        model=_model_words(model),
        n_trained=sum(counted),
        body_model=meta.get('body_model_file'),
        data=files_of(loader.dataset),
        n_samples=len(loader.dataset),
        n_validation=None if validation is None else len(validation.dataset),
        cameras=tuple(meta.get('camera_names') or ()),
        keypoints=len(meta.get('keypoint_names') or ()),
        device=_device_words(next(iter(model.parameters())).device),
        work_dir=Path(runner.work_dir),
        log=None if runner.logger.log_file is None else Path(runner.logger.log_file),
        epochs=runner.max_epochs if training and _by_epoch(runner) else None,
        done=runner.iter if training else 0,
        total=total,
    )


def _by_epoch(runner: Runner) -> bool:
    return not isinstance(runner.train_loop, IterBasedTrainLoop)


def _model_words(model: nn.Module) -> str:
    backbone = getattr(model, 'backbone', None)
    if backbone is None:
        return type(model).__name__
    name = getattr(backbone, 'name', None)
    of = name if isinstance(name, str) else type(backbone).__name__
    return f'{type(model).__name__} on {of}'


def _device_words(device: torch.device) -> str:
    if device.type == 'cuda':
        return f'{device} ({torch.cuda.get_device_name(device)})'
    threads = torch.get_num_threads()
    return f'{device}, {threads} thread{"s" if threads > 1 else ""}'
