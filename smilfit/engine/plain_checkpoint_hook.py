"""Checkpoints that `torch.load(weights_only=True)` reads as they are, and from which a run goes on."""

from dataclasses import asdict
from typing import Any

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop

from smilfit.engine.checkpoint_loader import (
    ENTRY,
    FORMAT_VERSION,
    check_body_model,
    check_weights,
    smilfit_entry,
)
from smilfit.engine.model_description import described_model
from smilfit.engine.plain_values import from_plain, to_plain
from smilfit.engine.random_state import random_state, set_random_state
from smilfit.registry import HOOKS
from smilfit.version import __version__


def inner_model(runner: Any) -> Any:
    """Give the model without its distributed wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Make checkpoints plain, complete, and sure to fit.

    On saving: mmengine's message hub is written as lists; the states of all random generators (of every
    process), the loss weights in force, and the dataset's names with the body model's file and hash are
    added. On loading: the body model and every weight's name and shape are checked, the message hub is
    rebuilt. On resuming: the generators go on where the epoch ended, and its validation is made up for.
    Validation is kept from drawing numbers that training would have drawn, so a run with a break equals one
    without.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._at_epoch_end: list[dict[str, Any]] | None = None
        self._before_val: dict[str, Any] | None = None
        self._loaded: dict[str, Any] = {}

    def before_run(self, runner: Any) -> None:
        """Forget an earlier run."""
        self._at_epoch_end = None

    def before_train(self, runner: Any) -> None:
        """Set the generators and make up for a validation, where a run is resumed."""
        self._set_generators(runner)
        if runner._resume and validation_was_due(runner):
            runner.val_loop.run()

    def _set_generators(self, runner: Any) -> None:
        states = self._loaded.pop('random_state', None)
        if not runner._resume or states is None:
            return
        if len(states) != get_world_size():
            runner.logger.warning(
                f'resume: the run had {len(states)} processes and has {get_world_size()} now; '
                f'it goes on with newly seeded random numbers.'
            )
            return
        set_random_state(states[get_rank()])

    def after_train_iter(self, runner: Any, batch_idx: int, **_: Any) -> None:
        """Read every process's random state at the end of an epoch, before a checkpoint is written."""
        if self.end_of_epoch(runner.train_dataloader, batch_idx):
            self._at_epoch_end = gather(random_state())

    def before_val(self, runner: Any) -> None:
        """Remember the generators."""
        self._before_val = random_state()

    def after_val(self, runner: Any) -> None:
        """Give training its generators back."""
        if self._before_val is not None:
            set_random_state(self._before_val)
            self._before_val = None

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Add what a run needs to go on, and make everything plain."""
        model = inner_model(runner)
        checkpoint[ENTRY] = {
            'format_version': FORMAT_VERSION,
            'version': __version__,
            'random_state': self._at_epoch_end or [random_state()],
            'loss_weights': dict(getattr(model, 'loss_weights', {})),
            'summaries': model.statistics.summaries,
            'model': described_model(runner.cfg.get('model')),
            **asdict(model.statistics.names),
        }
        plain = to_plain(dict(checkpoint))
        checkpoint.clear()
        checkpoint.update(plain)

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Check that the file fits, and rebuild what was made plain."""
        where = str(runner._load_from or 'checkpoint')
        stored = smilfit_entry(where, checkpoint)
        model = inner_model(runner)
        names = model.statistics.names
        check_body_model(where, stored, names.body_model_hash, str(names.body_model_file))
        check_weights(where, model, checkpoint['state_dict'])
        if 'message_hub' in checkpoint:
            checkpoint['message_hub'] = from_plain(checkpoint['message_hub'])
        self._loaded = stored


def validation_was_due(runner: Any) -> bool:
    """Say whether a run validates right after the checkpoint that it goes on from.

    A checkpoint is written before its epoch is validated. A run that was stopped between the two, or whose later
    epochs were lost, would never learn how good that epoch was, and take a worse one for the best.
    """
    loop = runner.train_loop
    if runner.val_loop is None:
        return False
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    done, last = (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)
    return done > 0 and done >= loop.val_begin and (done % loop.val_interval == 0 or done == last)


def gather(item: Any) -> list[Any]:
    """Collect one item of each process, in the order of ranks, in all processes."""
    world = get_world_size()
    if world == 1:
        return [item]
    gathered: list[Any] = [None] * world
    torch.distributed.all_gather_object(gathered, item)
    return gathered
