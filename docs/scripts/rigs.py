"""Make the figure of docs/rigs.md:  python docs/scripts/rigs.py fox.glb

The fox is Mesh2Motion's, CC0. It is shown at rest and in frames of its own clips, by smilfit's renderer and in its
own skin.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import smilfit as sf
from smilfit.drawing.skin_texture import SkinTexture, read_skin_texture
from smilfit.renderers import ZBufferRenderer
from smilfit.rigs import ClipPoses, read_clips
from smilfit.rigs.rig_import import import_rig
from smilfit.structures import Cameras

OUT = Path(__file__).resolve().parents[1] / 'images' / 'rigs_fox.webp'
SHOWN = (('Rest Pose', 0.0), ('Run', 0.3), ('Howl', 0.5), ('Death', 1.0))
SIDE, LIGHT = 300, np.array([0.4, 0.8, 0.45])
# Drawn so many times larger, and made smaller: smooth edges.
FINER = 3


def main() -> None:
    """Import the rig and draw it."""
    folder = OUT.parents[2] / 'build' / 'rigs'
    folder.mkdir(parents=True, exist_ok=True)
    done = import_rig(sys.argv[1], folder / 'fox.smil.json', overwrite=True)
    body = sf.load_body_model(done.model).double()
    clips = read_clips(done.clips)
    texture = read_skin_texture(done.texture, body.data.n_vertices)
    pictures = [drawn(body, clips[name], share, texture) for name, share in SHOWN]
    # Nothing is seen above and below.
    Image.fromarray(np.hstack(pictures)[SIDE // 5 : 4 * SIDE // 5]).save(OUT, quality=85, method=6)
    print(f'{OUT}: {OUT.stat().st_size / 1e3:.0f} kB')


def drawn(body: sf.SMIL, clip: ClipPoses, share: float, texture: SkinTexture) -> np.ndarray:
    """Draw a frame of a clip on white."""
    params = clip.params(body)[round(share * (len(clip) - 1))]
    with torch.no_grad():
        vertices = body(params, need=('vertices',)).vertices
    middle = ((vertices.amax(1) + vertices.amin(1)) / 2)[0].numpy()
    size = float(np.ptp(body.data.v_template, axis=0).max())
    faces = body.faces.cpu()
    render = ZBufferRenderer()(vertices.float(), faces, camera(middle, size))
    face, weights = render.face_id[0].numpy(), render.barycentric[0].numpy()
    image, seen = np.ones((*face.shape, 3)), face >= 0
    colours = texture.colours(faces.numpy()[face[seen]], weights[seen])
    light = LIGHT / np.linalg.norm(LIGHT)
    normals = render.normals[0].numpy()[seen] @ camera(middle, size).R[0].numpy()
    image[seen] = colours * (0.55 + 0.45 * np.abs(normals @ light))[:, None]
    large = Image.fromarray((255 * image.clip(0, 1)).astype(np.uint8))
    return np.asarray(large.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def camera(middle: np.ndarray, size: float) -> Cameras:
    """Look at the animal from its front left, y up."""
    away = np.array([1.0, 0.35, 0.75])
    forward = -away / np.linalg.norm(away)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    rotation = np.stack((right, np.cross(forward, right), forward))
    eye = middle - 4 * size * forward
    side = FINER * SIDE
    focal = 3.4 * side
    intrinsics = [[focal, 0, (side - 1) / 2], [0, focal, (side - 1) / 2], [0, 0, 1]]
    return Cameras(
        ('view',),
        torch.tensor([intrinsics], dtype=torch.float32),
        torch.tensor(rotation[None], dtype=torch.float32),
        torch.tensor((-rotation @ eye)[None], dtype=torch.float32),
        torch.tensor([[side, side]], dtype=torch.float32),
    )


if __name__ == '__main__':
    main()
