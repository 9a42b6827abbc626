"""`smilfit COMMAND ...`: all tools behind one name, for those who installed from a wheel."""

import sys
from collections.abc import Sequence
from types import ModuleType

from smilfit.cli.command import group_usage, module_of, run_group
from smilfit.version import __version__

# The module of each command in this room, and what the command is for.
COMMANDS = {
    'preprocess': ('data.preprocess', 'recorded sessions to a dataset file'),
    'check': ('data.check', 'look at the ground truth of a dataset file before training'),
    'calibrate': ('data.calibrate', 'cameras by boards, or one camera against the others'),
    'model': ('models', 'a rigged model: import, check, convert, measure, and more'),
    'landmarks': ('data.landmarks', 'propose which place of a model each annotated keypoint is'),
    'fit': ('fitting.fit', 'fit a body model to a dataset file, stage by stage'),
    'fit_images': ('fitting.fit_images', 'fit a body model to annotated images or single-view videos'),
    'register': ('fitting.register', 'a rigged model, or a template mesh, to scanned meshes'),
    'synthesize': ('data.synthesize', 'training sessions rendered of your own rigged model, without labels'),
    'train': ('networks.train', 'train a regressor on a dataset file'),
    'test': ('networks.testing', 'measure a trained regressor'),
    'convert_checkpoint': (
        'networks.convert_checkpoint',
        "SMILify's trained regressor, or AniMer's, to a checkpoint of smilfit",
    ),
    'convert_config': (
        'networks.convert_config',
        "SMILify's JSON config of a training to a config of smilfit",
    ),
    'infer': (
        'networks.infer',
        'predict bodies in raw videos, images or a dataset file by a trained regressor',
    ),
    'adapt': ('networks.adapt', 'a trained regressor to one recording, of which some frames are labelled'),
    'export': (
        'fitting.export',
        'a fit for SLEAP, anipose, DeepLabCut, NWB, Blender, as tables; or a network as ONNX',
    ),
    'view': ('fitting.view', 'look at a fit, a body model or a recording in the browser'),
    'demo': ('demo', 'all of it on a made animal, in four minutes'),
}


def usage() -> str:
    """Return what there is."""
    return group_usage('smilfit', COMMANDS, '; smilfit --version')


def command_module(name: str) -> ModuleType:
    """Import the module of a command."""
    return module_of(COMMANDS, name)


def main(argv: Sequence[str] | None = None) -> int:
    """Hand the arguments to a command; 2 on an unknown one."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ['--version']:
        print(__version__)
        return 0
    return run_group(arguments, 'smilfit', COMMANDS, usage())


if __name__ == '__main__':
    sys.exit(main())
