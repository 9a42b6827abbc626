"""Subcommands whose options are added when they are asked for: finding them may import much."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any


class LaterParser(argparse.ArgumentParser):
    """A parser that describes itself when it first parses or is shown.

    Args:
        fill: adds its arguments, and may set its description.
        further: as of `argparse.ArgumentParser`.
    """

    def __init__(self, *, fill: Callable[[argparse.ArgumentParser], None], **further: Any) -> None:
        super().__init__(**further)
        self._fill: Callable[[argparse.ArgumentParser], None] | None = fill

    def filled(self) -> 'LaterParser':
        """Add the arguments, once."""
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)
        return self

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, as argparse does a subcommand."""
        self.filled()
        return super().parse_known_args(args, namespace)

    def format_help(self) -> str:
        """Return the help text."""
        self.filled()
        return super().format_help()
