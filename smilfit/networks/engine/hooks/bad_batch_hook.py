"""Tell of the batches that a training left out, and stop one that has lost its way."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from smilfit.networks.engine.hooks.plain_checkpoint_hook import gather
from smilfit.registry import HOOKS

# In the message hub, and so in checkpoints.
_COUNTS = 'bad_batches'
_MOST_NAMED = 12


@HOOKS.register_module()
class BadBatchHook(Hook):
    """Report each batch whose loss or gradient is not finite, with its samples; many in a row stop the run.

    The weights have not seen such a batch, see `SkippingUpdates`. Its losses stay out of the log, where `skipped` is
    the share of batches left out of late, once there was one. Where most batches of a run were left out at the end of
    an epoch, by this or by a loss scale that was too large, it stops before a checkpoint is written.

    Args:
        most_in_a_row: so many bad batches one after the other stop the run; 1 stops at the first.
    """

    # Before mmengine's hook that takes the losses into the log.
    priority = 'HIGHEST'

    def __init__(self, most_in_a_row: int = 10) -> None:
        if most_in_a_row < 1:
            raise ValueError(f'BadBatchHook: most_in_a_row must be at least 1; got {most_in_a_row}.')
        self.most_in_a_row = most_in_a_row
        self.count = self.in_a_row = 0
        # Steps that a loss scale spoilt, the scale before, and the first sentence on a bad batch.
        self._spoilt, self._scale, self._first = 0, 0.0, ''

    def before_train(self, runner: Runner) -> None:
        """Go on counting where a resumed run was."""
        self.count = self.in_a_row = 0
        self._spoilt, self._scale, self._first = 0, _scale_of(runner), ''
        if runner._resume and _COUNTS in runner.message_hub.runtime_info:
            self.count, self.in_a_row = runner.message_hub.get_info(_COUNTS)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: object = None,
        outputs: dict[str, Tensor] | None = None,
    ) -> None:
        """Look at what the optimiser wrapper said of the batch.

        Raises:
            FloatingPointError: too many bad ones in a row.
        """
        wrapper = runner.optim_wrapper
        bad = wrapper.bad if hasattr(wrapper, 'bad') else None
        if not hasattr(wrapper, 'bad') and _not_finite(outputs):
            # A wrapper of the user's own has taken the step already, and other processes know nothing of it.
            raise FloatingPointError(
                _sentence(runner, batch_idx, 'loss', [_of_process(runner, data_batch, outputs)])
            )
        scale, before = _scale_of(runner), self._scale
        # It falls only after a step that was left out.
        self._spoilt += bad is None and scale < before
        self._scale = scale
        self.in_a_row = self.in_a_row + 1 if bad else 0
        self.count += bad is not None
        if self.count:
            runner.message_hub.update_scalar('train/skipped', float(bad is not None))
            runner.message_hub.update_info(_COUNTS, [self.count, self.in_a_row])
        if bad is None:
            return
        sentence = _sentence(runner, batch_idx, bad, gather(_of_process(runner, data_batch, outputs)))
        self._first = self._first or sentence
        if outputs is not None:
            outputs.clear()
        if self.in_a_row >= self.most_in_a_row:
            raise FloatingPointError(
                f'{sentence} That is {self.in_a_row} in a row (BadBatchHook.most_in_a_row): the run stops. Lower the '
                f'learning rate or that weight, or train without --amp; the last checkpoint is from before.'
            )
        runner.logger.warning(
            f'{sentence} It was left out, the {_ordinal(self.count)} of this run; the weights are as before.'
        )

    def after_train_epoch(self, runner: Runner) -> None:
        """Refuse to go on with weights that have hardly learned.

        Raises:
            FloatingPointError: most batches were left out.
        """
        lost = self.count + self._spoilt
        if 2 * lost > runner.iter:
            first = self._first or f'The loss scale of float16 was too large; it is {self._scale:g} now.'
            raise FloatingPointError(
                f'training: most batches must be learned from; {lost} of {runner.iter} were left out, and nothing is '
                f'taken for trained. The first: {first} Look at these samples and that loss; then lower the learning '
                'rate, or train without --amp.'
            )

    def before_val(self, runner: Runner) -> None:
        """Check where no epoch ends."""
        if runner._train_loop is not None and runner.iter:
            self.after_train_epoch(runner)

    def after_train(self, runner: Runner) -> None:
        """Report how many batches were left out."""
        self.after_train_epoch(runner)
        if self.count:
            runner.logger.warning(
                f'training: {self.count} of {runner.iter} batches were left out; see the warnings above.'
            )


def _scale_of(runner: Runner) -> float:
    """Return what losses are scaled by in float16."""
    scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
    return 1.0 if scaler is None else float(scaler.get_scale())


def _of_process(
    runner: Runner, data_batch: object, outputs: Mapping[str, Tensor] | None
) -> tuple[list[str], list[str]]:
    """Return the losses of this process that are not finite, and its samples."""
    metainfo = getattr(runner.train_dataloader.dataset, 'metainfo', {})
    return _not_finite(outputs), sample_names(data_batch, metainfo)


def _sentence(runner: Runner, batch_idx: int, what: str, processes: list[tuple[list[str], list[str]]]) -> str:
    guilty = [item for item in processes if item[0]] or processes
    values = list(dict.fromkeys(value for parts, _ in guilty for value in parts))
    # The sum is bad because a part of it is: name the part.
    values = [v for v in values if not v.startswith('loss =')] or values
    samples = [name for _, names in guilty for name in names]
    more = f' and {len(samples) - _MOST_NAMED} more' if len(samples) > _MOST_NAMED else ''
    dataset = runner.train_dataloader.dataset
    file = getattr(dataset, 'data_path', None) or getattr(dataset, 'metainfo', {}).get('data_path')
    return (
        f'training: every {what} must be finite; got {", ".join(values) or "one that is not"} in epoch '
        f'{runner.epoch + 1}, iteration {batch_idx + 1}, of the samples '
        f'{", ".join(samples[:_MOST_NAMED])}{more}{f" of {file}" if file else ""}.'
    )


def sample_names(data_batch: Any, metainfo: Mapping[str, Any]) -> list[str]:
    """Name a batch's samples by session and frame: those whose inputs are not finite, else all."""
    try:
        truth = data_batch['data_samples']
        sessions, frames = truth['session'].flatten().tolist(), truth['frame'].flatten().tolist()
    except (KeyError, TypeError, AttributeError, IndexError):
        return ['(the dataset gives neither session nor frame)']
    known = list(metainfo.get('session_names', ()))
    names = [
        f'({known[s] if 0 <= s < len(known) else f"session {s}"}, frame {f})'
        for s, f in zip(sessions, frames)
    ]
    bad = torch.zeros(len(names), dtype=torch.bool)
    for value in data_batch['inputs'].values():
        if isinstance(value, torch.Tensor) and value.is_floating_point() and len(value) == len(names):
            bad |= ~value.flatten(1).isfinite().all(1).cpu()
    return [name for name, is_bad in zip(names, bad.tolist()) if is_bad] or names


def _not_finite(outputs: Mapping[str, object] | None) -> list[str]:
    values = {name: float(torch.as_tensor(value).detach()) for name, value in (outputs or {}).items()}
    return [f'{name} = {value}' for name, value in values.items() if not math.isfinite(value)]


def _ordinal(n: int) -> str:
    ending = 'th' if n % 100 in (11, 12, 13) else {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th')
    return f'{n}{ending}'
