"""Make docs/images/fit.webp, the moving picture of the README: a made recording, its fit over it, the body in space.

The recording is one of the demo's animal by four made cameras; nothing in it is real. The steps are those of a user:
sessions in a folder, preprocess, fit. A minute on one core:  python docs/scripts/moving_picture.py
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import smilfit as sf
from smilfit.apis.shipped_configs import configs_folder
from smilfit.body_models import SMIL, save_body_model
from smilfit.cli.data.preprocess import main as preprocess
from smilfit.cli.fitting.fit import main as fit
from smilfit.datasets import open_dataset
from smilfit.drawing import OverlayPainter, Panel, ShownBody, View, follow, look
from smilfit.drawing.marks import put_text
from smilfit.structures import Cameras, FitResult
from smilfit.synthetic import make_quadruped, write_sessions

PICTURE = Path(__file__).resolve().parents[1] / 'images' / 'fit.webp'
# Pixels of a tile, frames a second, how many frames, and the cameras that are shown.
SIDE, FPS, FRAMES, SHOWN = 240, 15, 75, ('cam_1', 'cam_3')
SPACE = 2 * SIDE
PAPER = (246, 246, 244)


def make_fit(folder: Path) -> Path:
    """Make a recording of the demo's animal in a folder, and fit it by the commands; gives the dataset file."""
    animal = make_quadruped()
    model = str(save_body_model(animal, folder / 'animal.smil.json'))
    sessions, data = folder / 'sessions', folder / 'out.h5'
    write_sessions(
        sessions, SMIL(animal), n_sessions=1, n_frames=2 * FRAMES, n_cameras=4, size=(400, 320), seed=3
    )
    lookup = sessions / 'joint_lookup.csv'
    options = ['--body-model', model, '--joint-lookup', str(lookup), '--unit', 'mm']
    if preprocess(['sleap', str(sessions), str(data), *options]) != 0:
        raise SystemExit('preprocess failed')
    config = configs_folder() / 'fit' / 'multiview_keypoints_lm.py'
    if fit([str(config), '--data', str(data), '--out', str(folder / 'fit'), '--no-video']) != 0:
        raise SystemExit('the fit is not believable, so it is not to be shown')
    return data


def frames_of(folder: Path, data: Path) -> Iterator[np.ndarray]:
    """Draw the frames: each shown camera's image beside the same image with the body, and the body in space."""
    dataset = open_dataset(data)
    name = dataset.session_names[0]
    body = sf.load_body_model(dataset.body_model_file)
    result = FitResult.load(folder / 'fit' / name / 'fit.npz', body=body)
    session = sf.SleapSession(folder / 'sessions' / name, folder / 'sessions' / 'joint_lookup.csv', unit='mm')
    seen = session.keypoints2d()
    cameras = seen.cameras.select(SHOWN)
    windows = follow(cameras, result.joints().cpu(), SIDE, margin=1.2)
    painter = OverlayPainter(body.faces)
    vertices = result.vertices().cpu()
    numbers = list(range(0, 2 * FRAMES, 2))
    for row, (_, images) in zip(numbers, session.frames(numbers)):
        rows = []
        for c, camera in enumerate(SHOWN):
            one = cameras.select([camera])
            lens = (one.K[0].numpy(), one.dist[0].numpy())
            view = View(
                look(images[camera], windows[row, c], (SIDE, SIDE), lens), undistorted(one), windows[row, c]
            )
            rows.append(np.concatenate(tiles(painter, view, body, result, row, vertices[row]), axis=1))
        space = in_space(painter, vertices[row], 2 * np.pi * row / (2 * FRAMES))
        frame = np.concatenate((np.concatenate(rows), space), axis=1)
        yield with_headings(frame)


def tiles(
    painter: OverlayPainter, view: View, body: SMIL, result: FitResult, row: int, vertices: torch.Tensor
) -> list[np.ndarray]:
    """Draw what the camera saw, and the body over it."""
    none = np.full((0, 2), np.nan)
    shown = ShownBody(vertices, none, normals=painter.normals(vertices))
    return [painter.tile(Panel('', view, none)), painter.tile(Panel('', view, none, body=shown))]


def undistorted(camera: Cameras) -> Cameras:
    """Give the camera of an image without its lens."""
    return Cameras(camera.names, camera.K, camera.R, camera.t, camera.size)


def in_space(painter: OverlayPainter, vertices: torch.Tensor, turn: float) -> np.ndarray:
    """Draw the body alone from an eye that goes round it."""
    middle = (vertices.amin(0) + vertices.amax(0)) / 2
    size = float((vertices.amax(0) - vertices.amin(0)).norm())
    forward = torch.tensor([-np.cos(turn), -np.sin(turn), -0.35], dtype=vertices.dtype)
    forward = forward / forward.norm()
    right = torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0], dtype=vertices.dtype))
    right = right / right.norm()
    rotation = torch.stack((right, torch.linalg.cross(forward, right), forward))
    focal, centre = 3.0 * SPACE, (SPACE - 1) / 2
    K = torch.tensor([[[focal, 0.0, centre], [0.0, focal, centre], [0.0, 0.0, 1.0]]], dtype=vertices.dtype)
    t = torch.tensor([0.0, 0.0, 3.2 * size], dtype=vertices.dtype) - rotation @ middle
    camera = Cameras(('space',), K, rotation[None], t[None], torch.full((1, 2), float(SPACE)).to(K))
    canvas = np.full((SPACE, SPACE, 3), PAPER, np.uint8)
    return painter.mesh_painter.paint(canvas, vertices, camera, (0.36, 0.62, 0.78), 1.0)


def with_headings(frame: np.ndarray) -> np.ndarray:
    """Write what each column is."""
    frame = np.ascontiguousarray(frame)
    for column, text in ((0, 'recording'), (SIDE, 'fit'), (2 * SIDE, 'body in space')):
        put_text(frame, text, (column + 8, 20), 0.5)
    return frame


def main() -> None:
    """Make the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--work', type=Path, help='keep what is made here; a folder that goes again if not given'
    )
    parser.add_argument('--out', type=Path, default=PICTURE)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.work or Path(temporary)
        data = folder / 'out.h5'
        if not data.is_file():
            make_fit(folder)
        images = [Image.fromarray(frame) for frame in frames_of(folder, data)]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    # Compressed as a video is: a GIF of this would have 256 colours and several times the size.
    images[0].save(
        arguments.out,
        save_all=True,
        append_images=images[1:],
        duration=1000 // FPS,
        loop=0,
        quality=60,
        method=4,
    )
    print(f'{arguments.out}: {len(images)} frames, {arguments.out.stat().st_size / 1e6:.2f} MB')


if __name__ == '__main__':
    main()
