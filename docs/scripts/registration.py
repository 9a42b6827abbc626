"""Make the pictures of docs/registration.md and docs/measurements.md:  python docs/scripts/registration.py [FOLDER]

Insects of other shapes, sizes and poses than the model are the scans; both pictures are what the commands write.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import trimesh
from PIL import Image

import smilfit as sf
from smilfit.cli.main import main

IMAGES = Path(__file__).resolve().parents[1] / 'images'
# Length of the animals, mm: what differs most between them, as in workers of a colony.
LENGTHS = (7.0, 8.5, 10.5, 13.0, 16.0)


def write_scans(folder: Path) -> None:
    """Write a scan an animal: pose sd 0.25 rad, shape sd 1, noise of 0.1 % of the length."""
    folder.mkdir(parents=True, exist_ok=True)
    body = sf.load_body_model('insect')
    chance = torch.Generator().manual_seed(3)
    for k, length in enumerate(LENGTHS):
        rest = body.zero_params(1)
        params = rest.replace(
            global_orient=torch.randn(1, 3, generator=chance),
            body_pose=0.25 * torch.randn(rest.body_pose.shape, generator=chance),
            betas=torch.randn(rest.betas.shape, generator=chance),
            scale=torch.tensor([length]),
        )
        vertices = body(params, need=('vertices',)).vertices[0]
        vertices = vertices + 1e-3 * length * torch.randn(vertices.shape, generator=chance)
        mesh = trimesh.Trimesh(vertices.numpy(), body.faces.numpy(), process=False)
        mesh.export(folder / f'worker_{k}.ply')


def save(picture: Path, name: str, width: int) -> None:
    """Keep a picture in docs/images."""
    with Image.open(picture) as image:
        small = image.convert('RGB').resize((width, round(width * image.height / image.width)), Image.LANCZOS)
    path = IMAGES / f'{name}.webp'
    small.save(path, quality=80)
    print(f'{path}: {path.stat().st_size / 1e3:.0f} kB, {np.asarray(small).shape}')


if __name__ == '__main__':
    out = Path(sys.argv[1] if len(sys.argv) > 1 else 'demo_out/scans')
    write_scans(out / 'scans')
    words = (
        '--scans',
        str(out / 'scans'),
        '--body-model',
        'insect',
        '--unit',
        'mm',
        '--out',
        str(out / 'registered'),
    )
    assert main(['register', 'register/scans.py', *words]) == 0
    table = str(out / 'ants.csv')
    measured = ('--body-model', 'insect', '--out', table, '--allometry', 'body_length')
    assert main(['model', 'measure', str(out / 'registered'), *measured]) == 0
    save(out / 'registered' / 'worker_0' / 'registration.jpg', 'registration', 800)
    save(out / 'ants_allometry.png', 'allometry', 900)
