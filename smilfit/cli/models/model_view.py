"""`smilfit model view`: look at a rigged model in the browser, and change its limits and keypoints."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from smilfit.cli.command import run_command
from smilfit.cli.fitting.view import ON_A_SERVER, Address, serve
from smilfit.cli.models import model_or_rig
from smilfit.cli.parser import make_parser

STOPPED = 'The viewer has ended. What was not saved is gone.'


@dataclass(frozen=True, kw_only=True)
class Command(Address):
    """What a command line says."""

    model: str = model_or_rig()


def build_parser(prog: str | None = 'model view') -> argparse.ArgumentParser:
    """Make the argument parser."""
    about = (
        'Look at a rigged model in the browser: sliders for shape and joint angles (degrees), skinning '
        'weights as colours, keypoints. Limits may be changed, of both sides at once, and keypoints added: write a '
        'name, then click on the skin or take the chosen joint. Save writes a new .smil.json; no file is ever '
        'written over.'
    )
    return make_parser(Command, prog, about, ON_A_SERVER)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command until it is stopped."""
    return run_command(_run, build_parser, argv, prog, STOPPED)


def _run(arguments: argparse.Namespace) -> int:
    from smilfit.apis.viewer.server import import_viser

    # At once: what is missing is told before files are read.
    import_viser()
    from smilfit.rigs.model_editor import open_editor

    scene = open_editor(arguments.model)
    data = scene.body.data
    description = f'{scene.title}: {data.n_vertices} vertices, {data.n_joints} joints, {data.n_betas} betas'
    serve(scene, arguments.host, arguments.port, description)
    return 0


if __name__ == '__main__':
    sys.exit(main())
