"""Checkpoints that `torch.load(weights_only=True)` reads as they are, and from which a run goes on."""

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor

from smilfit.networks.engine.checkpoint_loader import (
    ENTRY,
    FORMAT_VERSION,
    Entry,
    check_body_model,
    check_weights,
    names_entry,
    smilfit_entry,
)
from smilfit.networks.engine.data_loading import RandomState, random_state, set_random_state
from smilfit.networks.engine.plain_values import from_plain, plain_config, to_plain
from smilfit.registry import HOOKS
from smilfit.version import __version__

Item = TypeVar('Item')


def inner_model(runner: Runner) -> Any:
    """Return the model without its distributed wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Make checkpoints plain, complete, and sure to fit.

    On saving: mmengine's message hub is written as lists; the states of all random generators (of every
    process), the loss weights in force, and the dataset's names with the body model's file and hash are
    added, as well as the place in the epoch and the config as plain values. On loading: the body model and every
    weight's name and shape are checked, the message hub is rebuilt. On resuming: data and generators go on where
    they were, and a validation that was left out is made up for.
    Validation is kept from drawing numbers that training would have drawn, so a run with a break equals one
    without.

    Args:
        averaged: of a training with `EMAHook`, load the averaged weights; else those of the last step.
    """

    priority = 'LOWEST'

    def __init__(self, averaged: bool = True) -> None:
        self.averaged = averaged
        self._states: list[dict[str, RandomState | None]] | None = None
        self._before_val: RandomState | None = None
        self._loaded: Entry = {}

    def before_run(self, runner: Runner) -> None:
        """Forget an earlier run."""
        self._states = None

    def before_train(self, runner: Runner) -> None:
        """Set the generators and make up for a validation, where a run is resumed."""
        self._set_generators(runner)
        self._loaded = {}
        if runner._resume and validation_was_due(runner):
            runner.val_loop.run()

    def _set_generators(self, runner: Runner) -> None:
        states = self._loaded.get('random_state')
        rounds = getattr(runner.train_loop, 'rounds', None)
        if not runner._resume or states is None:
            return
        same = len(states) == get_world_size()
        if rounds is not None:
            begun = self._loaded.get('round_random_state')
            rounds.go_on(
                self._loaded.get('place') or _old_place(runner), begun[get_rank()] if begun and same else None
            )
        if not same:
            runner.logger.warning(
                f'resume: the run had {len(states)} processes and has {get_world_size()} now; '
                f'it goes on with newly seeded random numbers.'
            )
            return
        set_random_state(states[get_rank()])

    def before_any_save(self, runner: Runner) -> None:
        """Read every process's random state; all of them come here before the first one writes a checkpoint."""
        rounds = getattr(runner.train_loop, 'rounds', None)
        now = random_state() if self._before_val is None else self._before_val
        self._states = gather({'now': now, 'round': None if rounds is None else rounds.began_with})
        if hasattr(runner.optim_wrapper, 'share_gradients'):
            runner.optim_wrapper.share_gradients()

    def before_val(self, runner: Runner) -> None:
        """Remember the generators."""
        self._before_val = random_state()

    def after_val(self, runner: Runner) -> None:
        """Set the generators as training had them."""
        if self._before_val is not None:
            set_random_state(self._before_val)
            self._before_val = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add what a run needs to go on, and make everything plain."""
        model = inner_model(runner)
        states, self._states = self._states or [{'now': random_state(), 'round': None}], None
        checkpoint[ENTRY] = {
            'format_version': FORMAT_VERSION,
            'version': __version__,
            'random_state': [state['now'] for state in states],
            'round_random_state': [state['round'] for state in states],
            'place': _place(runner, checkpoint['meta']),
            'config': plain_config(runner.cfg),
            'loss_weights': dict(getattr(model, 'loss_weights', {})),
            'summaries': model.statistics.summaries,
            'calibration': model.statistics.calibration,
            **names_entry(model.statistics.names, runner.work_dir),
        }
        plain = to_plain(dict(checkpoint))
        checkpoint.clear()
        checkpoint.update(plain)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Check that the file fits, and rebuild what was made plain."""
        where = str(runner._load_from or 'checkpoint')
        stored = smilfit_entry(where, checkpoint)
        model = inner_model(runner)
        names = model.statistics.names
        check_body_model(where, stored, names.body_model_hash, str(names.body_model_file))
        if not self.averaged and not runner._resume:
            checkpoint['state_dict'] = _last_weights(where, checkpoint)
        to_train = runner._train_loop is not None and not runner._resume
        check_weights(where, model, checkpoint['state_dict'], to_train)
        # mmengine would run it as python.
        checkpoint.get('meta', {}).pop('config', None)
        if 'message_hub' in checkpoint:
            checkpoint['message_hub'] = from_plain(checkpoint['message_hub'])
        if runner._resume:
            model.statistics.calibration = stored.get('calibration') or {}
        self._loaded = stored


def _last_weights(where: str, checkpoint: Entry) -> dict[str, Tensor]:
    """Return the weights of the last step, which mmengine's `EMAHook` stores beside the averaged ones."""
    beside = checkpoint.get('ema_state_dict')
    if not isinstance(beside, Mapping):
        raise ValueError(
            f'{where}: a checkpoint must be of a training with EMAHook for --no-ema; this one has one set of '
            f'weights. Leave the option out.'
        )
    last = {key.removeprefix('module.'): value for key, value in beside.items() if key.startswith('module.')}
    return {**checkpoint['state_dict'], **last}


def _place(runner: Runner, meta: Mapping[str, int]) -> dict[str, int]:
    """Return where in the training set a checkpoint stands: at the beginning of a round, if it is of an
    epoch's end."""
    rounds = getattr(runner.train_loop, 'rounds', None)
    place = {} if rounds is None else rounds.place
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    if place and by_epoch and meta['epoch'] > runner.train_loop.epoch:
        return {**place, 'round': meta['epoch'], 'batch': 0}
    return place


def _old_place(runner: Runner) -> dict[str, int]:
    """Take a checkpoint that does not say its place for one of the end of an epoch."""
    count = len(runner.train_loop.rounds.loader)
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        return {'round': runner.train_loop.epoch, 'batch': 0, 'n_batches': count}
    whole, batch = divmod(runner.train_loop.iter, count)
    return {'round': whole, 'batch': batch, 'n_batches': count}


def validation_was_due(runner: Runner) -> bool:
    """Check whether a run validates right after the checkpoint that it goes on from.

    A checkpoint is written before its epoch is validated. A run that was stopped between the two, or whose later
    epochs were lost, would never learn how good that epoch was, and take a worse one for the best.
    """
    loop = runner.train_loop
    if runner.val_loop is None:
        return False
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    if by_epoch and hasattr(loop, 'rounds') and loop.rounds.done:
        return False
    done, last = (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)
    return done > 0 and done >= loop.val_begin and (done % loop.val_interval == 0 or done == last)


def gather(item: Item) -> list[Item]:
    """Collect one item of each process, in the order of ranks, in all processes."""
    world = get_world_size()
    if world == 1:
        return [item]
    gathered = [item] * world
    torch.distributed.all_gather_object(gathered, item)
    return gathered
