"""What a training changes with the epoch: loss weights, frozen parts, and its end where it gets no better."""

from collections.abc import Mapping, Sequence
from math import inf

from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from smilfit.networks.engine.hooks.plain_checkpoint_hook import inner_model
from smilfit.networks.regressors.modal_regressor import checked_loss_weights
from smilfit.registry import HOOKS, UnknownNameError, did_you_mean, reject_unknown

# Of losses, by key.
Weights = Mapping[str, float]


def weights_at(epoch: int, base: Weights, schedule: Mapping[int, Weights]) -> dict[str, float]:
    """Return the weights in force in an epoch: the base, then each entry up to that epoch, in order."""
    weights = dict(base)
    for start in sorted(schedule):
        if start <= epoch:
            weights.update(schedule[start])
    return weights


@HOOKS.register_module()
class LossCurriculumHook(Hook):
    """Change the regressor's loss weights at given epochs.

    Args:
        schedule: `{epoch: {loss key: weight}}`, epochs counted from 0. An entry holds until a later one says
            otherwise. Keys are the handlers' and those of the parameter losses; 0 switches a loss off. Keys
            of the epochs may be texts, as in JSON.

    The weights are a function of the epoch alone, so a resumed run has those of an unbroken one.
    """

    priority = 'VERY_HIGH'

    def __init__(self, schedule: Mapping[int | str, Weights]) -> None:
        self.schedule: dict[int, dict[str, float]] = {}
        for epoch, weights in schedule.items():
            # The same epoch may come as a number from a config and as a text from an option.
            self.schedule.setdefault(int(epoch), {}).update(weights)
        for epoch, weights in self.schedule.items():
            if epoch < 0:
                raise ValueError(f'LossCurriculumHook: an epoch must be 0 or greater; got {epoch}.')
            checked_loss_weights(f'LossCurriculumHook, epoch {epoch}', weights)
        self.base: dict[str, float] = {}

    def before_run(self, runner: Runner) -> None:
        """Check the keys before any work is done."""
        self.base = dict(inner_model(runner).loss_weights)
        for epoch, weights in self.schedule.items():
            reject_unknown(f'LossCurriculumHook, epoch {epoch}', 'loss key', weights, self.base)

    def before_train_epoch(self, runner: Runner) -> None:
        """Set the weights of this epoch; a change is logged."""
        model = inner_model(runner)
        weights = weights_at(runner.epoch, self.base, self.schedule)
        changed = {key: w for key, w in weights.items() if model.loss_weights[key] != w}
        if changed:
            runner.logger.info(f'loss weights from epoch {runner.epoch + 1}: {changed}')
        model.set_loss_weights(weights)


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

    def before_run(self, runner: Runner) -> None:
        """Check the names before any work is done."""
        model = inner_model(runner)
        self._starts = self.starts(model)
        frozen = [name for name in self._starts if not model.get_parameter(name).requires_grad]
        if frozen:
            raise ValueError(
                f'StagedUnfreezeHook: parts to train later must not be frozen by the model; {frozen[0]} is, and '
                f'{len(frozen) - 1} others. Leave out frozen and frozen_stages, or those parts.'
            )

    def before_train_epoch(self, runner: Runner) -> None:
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


# In the message hub, and so in checkpoints.
_STATE = 'early_stopping'


@HOOKS.register_module(name='EarlyStoppingHook')
class RememberingEarlyStoppingHook(EarlyStoppingHook):
    """mmengine's hook with its arguments; a resumed run goes on waiting where it was.

    Args:
        monitor: a figure of the validation, no loss: a curriculum changes what losses mean.
        min_delta: the least change that counts as better.
        strict: an absent figure is an error.
        kwargs: see mmengine's hook.
    """

    def __init__(self, monitor: str, min_delta: float = 0.002, strict: bool = True, **kwargs: object) -> None:
        if 'loss' in monitor:
            raise ValueError(
                f'EarlyStoppingHook: monitor must be a figure that no loss weight changes; got {monitor!r}. Use '
                f'pck_auc_original with rule=greater.'
            )
        super().__init__(monitor=monitor, min_delta=min_delta, strict=strict, **kwargs)

    def before_train(self, runner: Runner) -> None:
        """Remember how long the run before has waited, and for what."""
        if runner._resume and _STATE in runner.message_hub.runtime_info:
            self.wait_count, self.best_score = runner.message_hub.get_info(_STATE)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Decide, and keep the state for checkpoints."""
        super().after_val_epoch(runner, metrics)
        runner.message_hub.update_info(_STATE, [int(self.wait_count), float(self.best_score)])
