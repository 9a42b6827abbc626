"""`smilfit model info`: a page of numbers of a rigged model."""

import textwrap
from dataclasses import dataclass

from smilfit.cli.command import command
from smilfit.cli.models import model_or_rig
from smilfit.options.fields import option

_WIDTH, _COLUMN = 110, 16


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """A command line of `model info`."""

    model: str = model_or_rig()
    tree: bool = option(True, 'show the tree of joints', off='leave the tree of joints out')


@command(
    Arguments,
    'model info',
    (
        'Say what a rigged model has: mesh, joints as a tree, unit and size, skinning weights, limits '
        "and where they are from, symmetry, shape space, keypoints, licence, hash. Lengths are in the model's own "
        'unit, and in mm where it is known; angles in degrees.'
    ),
)
def main(options: Arguments) -> int:
    """Run the command."""
    from smilfit.rigs.converting import describe_model, open_model, tree_lines

    model, path = open_model(options.model)
    for name, value in describe_model(model, path):
        head = f'{name} '.ljust(_COLUMN)
        print(textwrap.fill(head + value, _WIDTH, subsequent_indent=' ' * _COLUMN, break_on_hyphens=False))
    if options.tree:
        print('joints')
        for line in tree_lines(model.data):
            print(f'  {line}')
    return 0
