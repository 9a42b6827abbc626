"""Look at a fit, a body model or a recording in the browser."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smilfit.cli.command import add_import, add_traceback, run_command
from smilfit.cli.serving import ON_A_SERVER, add_address, serve

if TYPE_CHECKING:
    from smilfit.viewer import ModelScene, Scene

STOPPED = 'The viewer has ended.'


def build_parser(prog: str | None = 'view') -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=__doc__
        + " A fit: its mesh, cameras with their images, keypoints, and each frame's verdict on a time line. A body "
        'model: sliders for shape and joint angles, skinning weights as colours. A dataset file or a session: '
        'cameras, images, labels, and what these give in space. Points in space are shown as they are.',
        epilog=ON_A_SERVER,
    )
    parser.add_argument(
        'path',
        metavar='FIT|MODEL|SESSION',
        help="a fit's folder or fit.npz, or the folder of several; a body model (.smil.json, .pkl, or quadruped or "
        'insect); a dataset file (.h5); a session or project of SLEAP, anipose, DeepLabCut or Lightning Pose, or a '
        'folder of these; points in space (points3d.h5, .mat, .csv, .nwb, .npz)',
    )
    parser.add_argument(
        '--session', metavar='NAME', help='which session, where there are several (default: the first)'
    )
    parser.add_argument(
        '--data', type=Path, metavar='FILE.h5', help="a fit's dataset, where it is not near the fit"
    )
    parser.add_argument('--body-model', metavar='FILE|NAME', help="a fit's body model, where it is not found")
    parser.add_argument(
        '--skeleton', type=Path, metavar='FILE', help='names of points in space, where their file has none'
    )
    add_address(parser, 'look')
    add_traceback(parser)
    add_import(parser)
    return parser


def main(argv: Sequence[str] | None = None, prog: str = 'view') -> int:
    """Run the command until it is stopped."""
    return run_command(_view, build_parser, argv, prog, STOPPED)


def _view(arguments: argparse.Namespace) -> int:
    # Imported late: --help should not wait for torch.
    from smilfit.viewer.server import import_viser

    # At once: what is missing is told before files are read.
    import_viser()
    from smilfit.viewer import open_scene

    scene = open_scene(
        arguments.path, arguments.session, arguments.data, arguments.body_model, arguments.skeleton
    )
    serve(scene, arguments.host, arguments.port, description(scene))
    return 0


def description(scene: 'Scene | ModelScene') -> str:
    """Say in a line what is shown."""
    from smilfit.viewer import Scene

    if not isinstance(scene, Scene):
        data = scene.body.data
        return f'{scene.title}: {data.n_vertices} vertices, {data.n_joints} joints, {data.n_betas} betas'
    n_cameras = 0 if scene.cameras is None else len(scene.cameras)
    parts = [f'{len(scene)} frames', f'{n_cameras} cameras']
    if scene.bodies is not None:
        parts.append(f'{int(scene.bodies.fitted.sum())} frames with a body')
    if scene.verdict is not None:
        parts.append(f'verdict: {scene.verdict.word}')
    if scene.images is not None:
        parts.append(f'images: {scene.images.source}')
    return '\n'.join([f'{scene.title}: {"; ".join(parts)}', *scene.notes])


if __name__ == '__main__':
    sys.exit(main())
