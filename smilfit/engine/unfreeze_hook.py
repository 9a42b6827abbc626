"""Parts of a model that are trained from an epoch on."""

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from smilfit.engine.plain_checkpoint_hook import inner_model
from smilfit.registry import HOOKS


@HOOKS.register_module()
class UnfreezeHook(Hook):
    """Keep parts of a model as they are until an epoch.

    What is frozen is a function of the epoch alone, so a resumed run is as an unbroken one. What a model itself has
    frozen stays frozen. Distributed runs need `model_wrapper_cfg=dict(find_unused_parameters=True)`.

    Args:
        parts: names of submodules, such as `'network.backbone'`.
        epoch: from this one on, counted from 0, they are trained; None never.

    Raises:
        AttributeError: the model has no such part.
    """

    priority = 'VERY_HIGH'

    def __init__(self, parts: Sequence[str], epoch: int | None = None) -> None:
        self.parts, self.epoch = tuple(parts), epoch
        self._parameters: list[Any] | None = None

    def before_train_epoch(self, runner: Any) -> None:
        """Freeze or unfreeze."""
        if self._parameters is None:
            model = inner_model(runner)
            found = [p for part in self.parts for p in model.get_submodule(part).parameters()]
            self._parameters = [p for p in found if p.requires_grad]
            if is_model_wrapper(runner.model) and not getattr(runner.model, 'find_unused_parameters', True):
                raise ValueError(
                    'UnfreezeHook: a distributed run must expect parameters without a gradient; this one does not. '
                    'Set model_wrapper_cfg=dict(find_unused_parameters=True).'
                )
        training = self.epoch is not None and runner.epoch >= self.epoch
        if any(p.requires_grad != training for p in self._parameters):
            runner.logger.info(f'{", ".join(self.parts)}: {"trained" if training else "frozen"} from now on')
        for parameter in self._parameters:
            parameter.requires_grad_(training)
            if not training:
                parameter.grad = None
