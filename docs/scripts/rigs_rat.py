"""Make the figure of a MuJoCo animal in docs/rigs.md:

    python docs/scripts/rigs_rat.py rat.smil.json fit/rat/fit.npz points.npz

The rat is dm_control's (Apache-2.0), fitted to points of a recording. Both are seen from the side in frames far
apart: red is where a point was measured.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

import smilfit as sf
from smilfit.renderers import ZBufferRenderer
from smilfit.structures import Cameras, FitResult

OUT = Path(__file__).resolve().parents[1] / 'images' / 'rigs_rat.webp'
SHOWN, WIDTH, HEIGHT, FINER = 4, 300, 220, 3
FUR, LIGHT, POINT = np.array([0.72, 0.66, 0.6]), np.array([0.3, 0.5, 0.85]), (200, 30, 30)


def main() -> None:
    """Draw frames of the fit."""
    body = sf.load_body_model(sys.argv[1])
    result = FitResult.load(sys.argv[2])
    chosen = np.linspace(0, len(result.params.transl) - 1, SHOWN).round().astype(int).tolist()
    with torch.no_grad():
        vertices = body(result.params[chosen], need=('vertices',)).vertices
    with np.load(sys.argv[3]) as recorded:
        points = recorded['xyz'][chosen]
    pictures = [drawn(v, p, body.faces.cpu()) for v, p in zip(vertices, points)]
    Image.fromarray(np.hstack(pictures)).save(OUT, quality=85, method=6)
    print(f'{OUT}: {OUT.stat().st_size / 1e3:.0f} kB')


def drawn(vertices: torch.Tensor, points: np.ndarray, faces: torch.Tensor) -> np.ndarray:
    """Draw a frame on white, and the points over it."""
    view = side_camera(vertices.numpy())
    render = ZBufferRenderer()(vertices[None].float(), faces, view)
    seen = render.face_id[0].numpy() >= 0
    normals = render.normals[0].numpy()[seen] @ view.R[0].numpy()
    light = LIGHT / np.linalg.norm(LIGHT)
    image = np.ones((*seen.shape, 3))
    image[seen] = FUR * (0.45 + 0.55 * np.abs(normals @ light))[:, None]
    large = Image.fromarray((255 * image.clip(0, 1)).astype(np.uint8))
    pen = ImageDraw.Draw(large)
    inside = view.R[0].numpy() @ points.T + view.t[0].numpy()[:, None]
    pixels = (view.K[0].numpy() @ (inside / inside[2]))[:2].T
    for x, y in pixels[np.isfinite(pixels).all(1)]:
        pen.ellipse((x - 6, y - 6, x + 6, y + 6), fill=POINT)
    return np.asarray(large.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))


def side_camera(vertices: np.ndarray) -> Cameras:
    """Look at the animal from its side, z up: across its longest direction on the ground."""
    middle = (vertices.max(0) + vertices.min(0)) / 2
    size = float(np.linalg.norm(np.ptp(vertices, axis=0)))
    along = np.linalg.svd(vertices[:, :2] - vertices[:, :2].mean(0), full_matrices=False)[2][0]
    forward = np.array([-along[1], along[0], -0.12])
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack((right, np.cross(forward, right), forward))
    eye = middle - 4 * size * forward
    width, height = FINER * WIDTH, FINER * HEIGHT
    intrinsics = [[3.9 * width, 0, (width - 1) / 2], [0, 3.9 * width, (height - 1) / 2], [0, 0, 1]]
    return Cameras(
        ('view',),
        torch.tensor([intrinsics], dtype=torch.float32),
        torch.tensor(rotation[None], dtype=torch.float32),
        torch.tensor((-rotation @ eye)[None], dtype=torch.float32),
        torch.tensor([[width, height]], dtype=torch.float32),
    )


if __name__ == '__main__':
    main()
