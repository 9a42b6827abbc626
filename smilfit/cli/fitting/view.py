"""Look at a fit, a body model or a recording in the browser."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smilfit.cli.command import command
from smilfit.options.fields import option

if TYPE_CHECKING:
    from smilfit.apis.viewer import ModelScene, Scene

STOPPED = 'The viewer has ended.'
ON_A_SERVER = (
    'The address that is printed holds a code, new each time: who has the whole address has the page, nobody else '
    'on this machine or in the network. On a server: leave it running there, give the ssh command that it prints on '
    'your own machine, and open the address there. Ctrl-C ends it.'
)


@dataclass(frozen=True)
class Address:
    """Where the page is."""

    host: str = option(
        'localhost',
        'name or address of this machine to listen at; 0.0.0.0 is all of them: everybody in the network whom you '
        'give the printed address with its code can look, and of model view change and save (nothing is encrypted '
        'on the way; a tunnel by ssh is)',
    )
    port: int = option(8080, 'the next free one if taken', low=0, high=65535)


def serve(scene: 'Scene | ModelScene', host: str, port: int, description: str) -> None:
    """Show a scene until the process is stopped."""
    # Imported late: --help should not wait for viser.
    from smilfit.apis.viewer.server import ViewerServer

    with ViewerServer(scene, host, port, written=lambda path: print(f'wrote {path}', flush=True)) as server:
        print(description)
        print(f'open {server.url}', flush=True)
        for url in server.urls_in_network:
            print(f'in the network: {url}', flush=True)
        print(f'from another machine: {server.tunnel}  and open {server.tunnel_url} there', flush=True)
        print(
            'The address is the key to the page: give it to nobody who should not have it. Ctrl-C ends it.',
            flush=True,
        )
        threading.Event().wait()


@dataclass(frozen=True, kw_only=True)
class Arguments(Address):
    """A command line of `view`."""

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


@command(
    Arguments,
    'view',
    (
        f"{__doc__} A fit: its mesh, cameras with their images, keypoints, and each frame's verdict on a time line. "
        'A body model: sliders for shape and joint angles, skinning weights as colours. A dataset file or a '
        'session: cameras, images, labels, and what these give in space. Points in space are shown as they are.'
    ),
    ON_A_SERVER,
    stopped=STOPPED,
)
def main(options: Arguments) -> int:
    """Run the command."""
    # Imported late: --help should not wait for torch.
    from smilfit.apis.viewer.server import import_viser

    # At once: what is missing is told before files are read.
    import_viser()
    from smilfit.apis.viewer import open_scene

    scene = open_scene(options.path, options.session, options.data, options.body_model, options.skeleton)
    serve(scene, options.host, options.port, description(scene))
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
