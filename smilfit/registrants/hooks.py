"""Hooks of a registrant: what is called after every step of every stage."""

from collections.abc import Sequence
from typing import Any, ClassVar

from smilfit.registrants.stage import Stage
from smilfit.registry import REGISTRANT_HOOKS


class RegistrantHook:
    """Called after every step; a subclass says what then happens.

    Any other callable of the same arguments is a hook as well. To build one from a config's
    `hooks=[dict(type='MyHook')]`, register it in `REGISTRANT_HOOKS`.
    """

    # Whether a registrant that has this hook logs its progress.
    verbose: ClassVar[bool] = False

    def __call__(self, stage: Stage, step: int, loss: float) -> bool:
        """Look at a step; True ends the stage."""
        return False


@REGISTRANT_HOOKS.register_module()
class SMPLifyVerboseHook(RegistrantHook):
    """Lets the registrant log its progress, as `verbose=True` does; `info_level` says how much."""

    verbose = True


def wants_log(hooks: Sequence[Any]) -> bool:
    """Say whether one of the hooks asks for a log."""
    return any(isinstance(hook, RegistrantHook) and hook.verbose for hook in hooks)
