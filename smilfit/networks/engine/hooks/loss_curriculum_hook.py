"""Loss weights that change with the epoch."""

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook

from smilfit.networks.engine.hooks.plain_checkpoint_hook import inner_model
from smilfit.registry import HOOKS, reject_unknown


def weights_at(epoch: int, base: Mapping[str, float], schedule: Mapping[int, Mapping[str, float]]) -> dict:
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

    def __init__(self, schedule: Mapping[int | str, Mapping[str, float]]) -> None:
        self.schedule: dict[int, dict[str, float]] = {}
        for epoch, weights in schedule.items():
            # The same epoch may come as a number from a config and as a text from an option.
            self.schedule.setdefault(int(epoch), {}).update(weights)
        for epoch, weights in self.schedule.items():
            if epoch < 0:
                raise ValueError(f'LossCurriculumHook: an epoch must be 0 or greater; got {epoch}.')
            for key, weight in weights.items():
                if not 0 <= weight < float('inf'):
                    raise ValueError(
                        f'LossCurriculumHook: the weight of {key!r} at epoch {epoch} must be finite and '
                        f'not negative; got {weight}.'
                    )
        self.base: dict[str, float] | None = None

    def before_run(self, runner: Any) -> None:
        """Check the keys before any work is done."""
        self.base = dict(inner_model(runner).loss_weights)
        for epoch, weights in self.schedule.items():
            reject_unknown(f'LossCurriculumHook, epoch {epoch}', 'loss key', weights, self.base)

    def before_train_epoch(self, runner: Any) -> None:
        """Set the weights of this epoch; a change is logged."""
        model = inner_model(runner)
        weights = weights_at(runner.epoch, self.base, self.schedule)
        changed = {key: w for key, w in weights.items() if model.loss_weights[key] != w}
        if changed:
            runner.logger.info(f'loss weights from epoch {runner.epoch + 1}: {changed}')
        model.set_loss_weights(weights)
