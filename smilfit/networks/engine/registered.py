"""All that registers itself in this room: the registries import it when one of their names is first asked for."""

from smilfit.networks.engine import autocast_optim_wrapper, grouped_parameters, skipping_updates
from smilfit.networks.engine.hooks import (
    bad_batch_hook,
    early_stopping_hook,
    loss_curriculum_hook,
    plain_checkpoint_hook,
    staged_unfreeze_hook,
    whole_files,
)

__all__ = [
    'autocast_optim_wrapper',
    'bad_batch_hook',
    'early_stopping_hook',
    'grouped_parameters',
    'loss_curriculum_hook',
    'plain_checkpoint_hook',
    'skipping_updates',
    'staged_unfreeze_hook',
    'whole_files',
]
