"""`smilfit COMMAND ...`: all tools behind one name, for those who installed from a wheel."""

import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from smilfit.cli.command_group import group_usage, run_group
from smilfit.version import __version__

COMMANDS = {
    'preprocess': 'recorded sessions to a dataset file',
    'check': 'look at the ground truth of a dataset file before training',
    'calibrate': 'cameras by boards, or one camera against the others',
    'model': 'a rigged model: import, check, convert, measure, and more',
    'landmarks': 'propose which place of a model each annotated keypoint is',
    'fit': 'fit a body model to a dataset file, stage by stage',
    'fit_images': 'fit a body model to annotated images or single-view videos',
    'register': 'a rigged model, or a template mesh, to scanned meshes',
    'synthesize': 'training sessions rendered of your own rigged model, without labels',
    'train': 'train a regressor on a dataset file',
    'test': 'measure a trained regressor',
    'convert_checkpoint': "SMILify's trained regressor to a checkpoint of smilfit",
    'convert_config': "SMILify's JSON config of a training to a config of smilfit",
    'infer': 'predict bodies in raw videos, images or a dataset file by a trained regressor',
    'export': 'a fit for SLEAP, anipose, DeepLabCut, NWB, Blender, as tables; or a network as ONNX',
    'view': 'look at a fit, a body model or a recording in the browser',
    'demo': 'all of it on a made animal, in a quarter of an hour',
}

# The module of a command is called after it, but where pytest would take it for a test.
_MODULES = {'test': 'testing'}


def usage() -> str:
    """Return what there is."""
    return group_usage('smilfit', COMMANDS, '; smilfit --version')


def command_module(name: str) -> ModuleType:
    """Import the module of a command."""
    return import_module(f'smilfit.cli.{_MODULES.get(name, name)}')


def main(argv: Sequence[str] | None = None) -> int:
    """Hand the arguments to a command; 2 on an unknown one."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ['--version']:
        print(__version__)
        return 0
    return run_group(arguments, 'smilfit', COMMANDS, command_module, usage())


if __name__ == '__main__':
    sys.exit(main())
