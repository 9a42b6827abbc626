"""Stop a training that has lost its way."""

import math
from typing import Any

from mmengine.hooks import Hook

from smilfit.registry import HOOKS


@HOOKS.register_module()
class LossGuardHook(Hook):
    """Stop at the first loss that is not finite, before a checkpoint of it is written."""

    priority = 'VERY_HIGH'

    def after_train_iter(self, runner: Any, batch_idx: int, outputs: Any = None, **_: Any) -> None:
        """Check every loss of the iteration.

        Raises:
            FloatingPointError: names the losses, the epoch and the iteration.
        """
        values = {name: float(value.detach()) for name, value in (outputs or {}).items()}
        bad = [f'{name} = {value}' for name, value in values.items() if not math.isfinite(value)]
        if bad:
            # The sum is bad because a part of it is: name the part.
            parts = [entry for entry in bad if not entry.startswith('loss =')] or bad
            raise FloatingPointError(
                f'training: every loss must be finite; got {", ".join(parts)} in epoch {runner.epoch + 1}, '
                f'iteration {batch_idx + 1}. Lower the learning rate or that weight, or train without --amp; '
                f'the last checkpoint is from before.'
            )
