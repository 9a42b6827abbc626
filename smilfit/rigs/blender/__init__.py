"""Blender as a reader: it is found, runs a script in a process of its own, and hands over what it read."""

from smilfit.rigs.blender.running import (
    Blender,
    BlenderError,
    NoBlenderError,
    find_blender,
    run_in_blender,
)

__all__ = ['Blender', 'BlenderError', 'NoBlenderError', 'find_blender', 'run_in_blender']
