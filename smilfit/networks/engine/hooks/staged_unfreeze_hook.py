"""Parts of a network that begin to train at given epochs."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import nn

from smilfit.networks.engine.hooks.plain_checkpoint_hook import inner_model
from smilfit.registry import HOOKS, UnknownNameError, did_you_mean

# The epoch of parts that stay as they are.
NEVER = 'never'


@HOOKS.register_module()
class StagedUnfreezeHook(Hook):
    """Keep named parts of the model as they are until their epoch, then train them too.

    What no entry names trains from the start. Learning rates of their own come from the optimiser's `paramwise_cfg`
    with `custom_keys`, as for any other part. What is frozen depends on the epoch alone, so a resumed run goes on
    as an unbroken one. A distributed wrapper is made anew where it changes, for it fixes what it synchronises when
    it is made.

    Args:
        schedule: `{epoch: [beginnings of parameters' names]}`, epochs counted from 0, such as
            `{3: ['backbone.network.layer4'], 6: ['backbone']}`, or 'never'. Keys may be texts, as in JSON.

    Raises:
        ValueError: a negative epoch, or (before training) a part that the model itself has frozen.
        KeyError: before training, a beginning that no parameter has.
    """

    priority = 'VERY_HIGH'

    def __init__(self, schedule: Mapping[int | str, Sequence[str]]) -> None:
        self.schedule = {
            inf if epoch == NEVER else int(epoch): tuple(names) for epoch, names in schedule.items()
        }
        for epoch in self.schedule:
            if epoch < 0:
                raise ValueError(f'StagedUnfreezeHook: an epoch must be 0 or greater; got {epoch}.')

    def starts(self, model: nn.Module) -> dict[str, float]:
        """Return the epoch in which each named parameter begins to train: the earliest of the entries that
        name it."""
        result: dict[str, float] = {}
        for epoch in sorted(self.schedule):
            for beginning in self.schedule[epoch]:
                # A whole part of the name: layer1 is not layer10.
                named = [n for n, _ in model.named_parameters() if f'{n}.'.startswith(f'{beginning}.')]
                if not named:
                    parts = {n.rsplit('.', 1)[0] for n, _ in model.named_parameters()}
                    raise UnknownNameError(
                        f'StagedUnfreezeHook, epoch {epoch}: no parameter begins with {beginning!r}. '
                        f'{did_you_mean(beginning, parts)}'
                    )
                for name in named:
                    result.setdefault(name, epoch)
        return result

    def before_run(self, runner: Any) -> None:
        """Check the names before any work is done."""
        model = inner_model(runner)
        self._starts = self.starts(model)
        frozen = [name for name in self._starts if not model.get_parameter(name).requires_grad]
        if frozen:
            raise ValueError(
                f'StagedUnfreezeHook: parts to train later must not be frozen by the model; {frozen[0]} is, and '
                f'{len(frozen) - 1} others. Leave out frozen and frozen_stages, or those parts.'
            )

    def before_train_epoch(self, runner: Any) -> None:
        """Freeze what begins later, train what begins now; a change is logged."""
        model = inner_model(runner)
        changed = []
        for name, start in self._starts.items():
            parameter, trains = model.get_parameter(name), runner.epoch >= start
            if parameter.requires_grad != trains:
                parameter.requires_grad_(trains)
                parameter.grad = None
                changed.append(name)
        if not changed:
            return
        waiting = sum(1 for start in self._starts.values() if start > runner.epoch)
        trained = sum(p.requires_grad for p in model.parameters())
        runner.logger.info(
            f'epoch {runner.epoch + 1}: {trained} parameters train, {waiting} wait for a later epoch '
            f'({len(changed)} changed, such as {changed[0]})'
        )
        if is_model_wrapper(runner.model):
            runner.model = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), model)
