"""Tests mirror the rooms of smilfit. The checker of type hints is found as `tests.typechecking.check`."""

from tests import typechecking

__all__ = ['typechecking']
