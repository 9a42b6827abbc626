"""Modules of wings, which may be left out of an installation: the core asks for them by name."""

from importlib import import_module
from types import ModuleType


def wing_module(name: str) -> ModuleType | None:
    """Import a module by its dotted name; None where it, or a folder that it lies in, was left out.

    A module that is there and imports something that is not raises its own error.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f'{name}.'.startswith(f'{error.name}.'):
            raise
        return None
