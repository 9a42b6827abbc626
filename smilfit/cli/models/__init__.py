"""`smilfit model COMMAND ...`: what one does with a rigged model before and after fits."""

import sys
from collections.abc import Sequence
from typing import Any

from smilfit.cli.command import run_group
from smilfit.options.fields import option

_COMMANDS = {
    'import': (
        'models.model_import',
        'make a body model of a rig from another program (.glb, .gltf, .xml, .pkl, .npz, .fbx, .blend, .dae)',
    ),
    'check': 'say in words what is wrong with a model, and where',
    'info': 'a page of numbers: mesh, joints, size, weights, limits, shapes',
    'view': 'in the browser: shapes, poses, weights; change limits and keypoints',
    'clean': (
        'models.model_clean',
        'put right what check finds: weights, faces, joints, limits, symmetry, unit',
    ),
    'edit': (
        'models.model_edit',
        'few weights a vertex, both sides alike, joints anew from the skin, limits of your own',
    ),
    'convert': 'from one file format to another: .smil.json, .pkl, .npz, .glb',
    'measure': (
        'models.model_measure',
        'lengths, girths, angles, surface and volume of models, registrations and fits',
    ),
    'shape_space': (
        'models.model_shape_space',
        'principal components of registered specimens, as a model with betas',
    ),
}
COMMANDS = {name: (f'models.model_{name}', what) for name, what in _COMMANDS.items()}


def model_or_rig() -> Any:
    """Make the argument of a model that a command looks at, whatever it is stored as."""
    help = (
        'a body model (.smil.json, .pkl, .npz), a rig (.glb, .gltf, .xml, .fbx, .blend, .dae) as imported, or '
        'quadruped or insect'
    )
    return option(help=help, positional=True, metavar='MODEL')


def main(argv: Sequence[str] | None = None, prog: str = 'model') -> int:
    """Hand the arguments to a command; 2 on an unknown one."""
    return run_group(sys.argv[1:] if argv is None else argv, prog, COMMANDS)
