"""`smilfit model view`: look at a rigged model in the browser, and change its limits and keypoints."""

import argparse
import sys
import threading
from collections.abc import Sequence

from smilfit.cli.argument_types import int_from
from smilfit.cli.command import add_import, add_traceback, run_command

STOPPED = 'The viewer has ended. What was not saved is gone.'


def build_parser(prog: str | None = 'model view') -> argparse.ArgumentParser:
    """Make the argument parser."""
    made = argparse.ArgumentParser(
        prog=prog,
        description='Look at a rigged model in the browser: sliders for shape and joint angles (degrees), skinning '
        'weights as colours, keypoints. Limits may be changed, of both sides at once, and keypoints added: write a '
        'name, then click on the skin or take the chosen joint. Save writes a new .smil.json; no file is ever '
        'written over.',
        epilog='On a server: leave it running there, give the ssh command that it prints on your own machine, and '
        'open the address there. Ctrl-C ends it.',
    )
    made.add_argument(
        'model',
        metavar='MODEL',
        help='a body model (.smil.json, .pkl, .npz), a rig (.glb, .gltf, .xml, .fbx, .blend, .dae), or quadruped '
        'or insect',
    )
    made.add_argument(
        '--host',
        default='localhost',
        help='address to listen at; 0.0.0.0 lets everybody look, and change and save (default: %(default)s)',
    )
    made.add_argument(
        '--port',
        type=int_from(0, 65535),
        default=8080,
        help='the next free one if taken (default: %(default)s)',
    )
    add_traceback(made)
    add_import(made)
    return made


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command until it is stopped."""
    return run_command(_run, build_parser, argv, prog, STOPPED)


def _run(arguments: argparse.Namespace) -> int:
    from smilfit.viewer.server import ViewerServer, import_viser

    # At once: what is missing is told before files are read.
    import_viser()
    from smilfit.viewer.model_editor import open_editor

    scene = open_editor(arguments.model)
    with ViewerServer(scene, arguments.host, arguments.port) as server:
        data = scene.body.data
        print(f'{scene.title}: {data.n_vertices} vertices, {data.n_joints} joints, {data.n_betas} betas')
        print(f'open {server.url}', flush=True)
        print(f'from another machine: {server.tunnel}  and open the same address there', flush=True)
        print('Ctrl-C ends it.', flush=True)
        threading.Event().wait()
    return 0


if __name__ == '__main__':
    sys.exit(main())
