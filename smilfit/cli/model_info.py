"""`smilfit model info`: a page of numbers of a rigged model."""

import argparse
import sys
import textwrap
from collections.abc import Sequence

from smilfit.cli.command import add_import, add_model_or_rig, add_traceback, run_command

_WIDTH, _COLUMN = 110, 16


def build_parser(prog: str | None = 'model info') -> argparse.ArgumentParser:
    """Make the argument parser."""
    made = argparse.ArgumentParser(
        prog=prog,
        description='Say what a rigged model has: mesh, joints as a tree, unit and size, skinning weights, limits '
        "and where they are from, symmetry, shape space, keypoints, licence, hash. Lengths are in the model's own "
        'unit, and in mm where it is known; angles in degrees.',
    )
    add_model_or_rig(made)
    made.add_argument('--no-tree', action='store_true', help='leave the tree of joints out')
    add_traceback(made)
    add_import(made)
    return made


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> int:
    from smilfit.rigs.converting import open_model
    from smilfit.rigs.describing import describe_model, tree_lines

    model, path = open_model(arguments.model)
    for name, value in describe_model(model, path):
        head = f'{name} '.ljust(_COLUMN)
        print(textwrap.fill(head + value, _WIDTH, subsequent_indent=' ' * _COLUMN, break_on_hyphens=False))
    if not arguments.no_tree:
        print('joints')
        for line in tree_lines(model.data):
            print(f'  {line}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
