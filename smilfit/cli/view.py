"""Look at a fit, a body model or a recording in the browser."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smilfit.apis.options import option
from smilfit.cli.command import run_command
from smilfit.cli.parser import make_parser
from smilfit.cli.serving import ON_A_SERVER, Address, serve

if TYPE_CHECKING:
    from smilfit.apis.viewer import ModelScene, Scene

STOPPED = 'The viewer has ended.'


@dataclass(frozen=True, kw_only=True)
class Command(Address):
    """What a command line says."""

    path: str = option(
        help="a fit's folder or fit.npz, or the folder of several; a body model (.smil.json, .pkl, or quadruped or "
        'insect); a dataset file (.h5); a session or project of SLEAP, anipose, DeepLabCut or Lightning Pose, or a '
        'folder of these; points in space (points3d.h5, .mat, .csv, .nwb, .npz)',
        positional=True,
        metavar='FIT|MODEL|SESSION',
    )
    session: str | None = option(
        None, 'which session, where there are several (default: the first)', metavar='NAME'
    )
    data: Path | None = option(None, "a fit's dataset, where it is not near the fit", metavar='FILE.h5')
    body_model: str | None = option(None, "a fit's body model, where it is not found", metavar='FILE|NAME')
    skeleton: Path | None = option(
        None, 'names of points in space, where their file has none', metavar='FILE'
    )


def build_parser(prog: str | None = 'view') -> argparse.ArgumentParser:
    """Describe the command line."""
    about = (
        f"{__doc__} A fit: its mesh, cameras with their images, keypoints, and each frame's verdict on a time line. "
        'A body model: sliders for shape and joint angles, skinning weights as colours. A dataset file or a '
        'session: cameras, images, labels, and what these give in space. Points in space are shown as they are.'
    )
    return make_parser(Command, prog, about, ON_A_SERVER)


def main(argv: Sequence[str] | None = None, prog: str = 'view') -> int:
    """Run the command until it is stopped."""
    return run_command(_view, build_parser, argv, prog, STOPPED)


def _view(arguments: argparse.Namespace) -> int:
    # Imported late: --help should not wait for torch.
    from smilfit.apis.viewer.server import import_viser

    # At once: what is missing is told before files are read.
    import_viser()
    from smilfit.apis.viewer import open_scene

    scene = open_scene(
        arguments.path, arguments.session, arguments.data, arguments.body_model, arguments.skeleton
    )
    serve(scene, arguments.host, arguments.port, description(scene))
    return 0


def description(scene: 'Scene | ModelScene') -> str:
    """Report in a line what is shown."""
    from smilfit.apis.viewer import Scene

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
