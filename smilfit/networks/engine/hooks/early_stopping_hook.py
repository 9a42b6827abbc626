"""Stop a training that gets no better."""

from typing import Any

from mmengine.hooks import EarlyStoppingHook

from smilfit.registry import HOOKS

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

    def __init__(self, monitor: str, min_delta: float = 0.002, strict: bool = True, **kwargs: Any) -> None:
        if 'loss' in monitor:
            raise ValueError(
                f'EarlyStoppingHook: monitor must be a figure that no loss weight changes; got {monitor!r}. Use '
                f'pck_auc_original with rule=greater.'
            )
        super().__init__(monitor=monitor, min_delta=min_delta, strict=strict, **kwargs)

    def before_train(self, runner: Any) -> None:
        """Remember how long the run before has waited, and for what."""
        if runner._resume and _STATE in runner.message_hub.runtime_info:
            self.wait_count, self.best_score = runner.message_hub.get_info(_STATE)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Decide, and keep the state for checkpoints."""
        super().after_val_epoch(runner, metrics)
        runner.message_hub.update_info(_STATE, [int(self.wait_count), float(self.best_score)])
