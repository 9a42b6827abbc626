"""All that registers itself in this room: the registries import it when one of their names is first asked for."""

from smilfit.networks.engine import optim_wrappers
from smilfit.networks.engine.hooks import (
    bad_batch_hook,
    calibration_hook,
    epoch_hooks,
    plain_checkpoint_hook,
    shape_mixture_hook,
    whole_checkpoint_hook,
)

__all__ = [
    'bad_batch_hook',
    'calibration_hook',
    'epoch_hooks',
    'optim_wrappers',
    'plain_checkpoint_hook',
    'shape_mixture_hook',
    'whole_checkpoint_hook',
]
