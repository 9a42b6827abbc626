"""`smilfit model info`: a page of numbers of a rigged model."""

import argparse
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from smilfit.cli.command import run_command
from smilfit.cli.models import model_or_rig
from smilfit.cli.parser import make_parser
from smilfit.options.fields import option

_WIDTH, _COLUMN = 110, 16


@dataclass(frozen=True, kw_only=True)
class Command:
    """What a command line says."""

    model: str = model_or_rig()
    tree: bool = option(True, 'show the tree of joints', off='leave the tree of joints out')


def build_parser(prog: str | None = 'model info') -> argparse.ArgumentParser:
    """Make the argument parser."""
    about = (
        'Say what a rigged model has: mesh, joints as a tree, unit and size, skinning weights, limits '
        "and where they are from, symmetry, shape space, keypoints, licence, hash. Lengths are in the model's own "
        'unit, and in mm where it is known; angles in degrees.'
    )
    return make_parser(Command, prog, about)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> int:
    from smilfit.rigs.converting import describe_model, open_model, tree_lines

    model, path = open_model(arguments.model)
    for name, value in describe_model(model, path):
        head = f'{name} '.ljust(_COLUMN)
        print(textwrap.fill(head + value, _WIDTH, subsequent_indent=' ' * _COLUMN, break_on_hyphens=False))
    if arguments.tree:
        print('joints')
        for line in tree_lines(model.data):
            print(f'  {line}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
