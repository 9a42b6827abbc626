"""Silhouettes forward and backward: against PyTorch3D's CPU path, and how the cost grows; one thread.

    python -m benchmarks.silhouette [--quick] [--model FILE] [--out DIR]

Prints milliseconds an image, ratios, and the exponents of growth (of a made tube), and writes them as JSON and CSV.
PyTorch3D takes part where it can be imported.
"""

import argparse
import math
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from benchmarks.measuring import RESULTS, Row, print_rows, real_stick, save, seconds_of
from smilfit.body_models import load_body_model_data
from smilfit.renderers import PyTorch3DRenderer, Renderer, SilhouetteRenderer, ZBufferRenderer
from smilfit.structures import Cameras
from smilfit.synthetic import make_insect

SIGMA = 1e-4
Mesh = tuple[torch.Tensor, torch.Tensor]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--quick', action='store_true', help='tiny images, to see that it runs')
    parser.add_argument('--model', type=Path, help='body model; the real stick insect if it is there')
    parser.add_argument('--out', type=Path, default=RESULTS, help='folder for JSON and CSV')
    arguments = parser.parse_args(argv)
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    torch.manual_seed(0)
    path = arguments.model or real_stick()
    data = load_body_model_data(path) if path else make_insect()
    mesh = torch.tensor(data.v_template).float(), torch.tensor(np.asarray(data.faces)).long()
    for name, model, rows in (
        ('silhouette', data.name, peers(mesh, (16,) if arguments.quick else (64, 224))),
        ('silhouette_growth', 'a made tube', growth(arguments.quick)),
    ):
        print_rows(f'{name}, {model}, sigma {SIGMA}', rows)
        save(name, rows, arguments.out, model=model, quick=arguments.quick, sigma=SIGMA)
    return 0


def peers(mesh: Mesh, sizes: Sequence[int]) -> list[Row]:
    """Measure every renderer on the same image."""
    renderers = {
        'soft, kernels': SilhouetteRenderer('soft', SIGMA, backend='auto'),
        'soft, tensors': SilhouetteRenderer('soft', SIGMA, backend='torch'),
        'visible, kernels': SilhouetteRenderer('visible', SIGMA, backend='auto'),
        'visible, tensors': SilhouetteRenderer('visible', SIGMA, backend='torch'),
        'z-buffer (depth, normals), kernels': ZBufferRenderer(backend='auto'),
        'z-buffer (depth, normals), tensors': ZBufferRenderer(backend='torch'),
    }
    if find_spec('pytorch3d') is not None:
        for k in (50, 100):
            renderers[f'PyTorch3D, {k} faces a pixel'] = PyTorch3DRenderer(SIGMA, faces_per_pixel=k)
    rows = []
    for size in sizes:
        alphas, mine = {}, []
        for name, renderer in renderers.items():
            forward, backward, alphas[name] = measure(renderer, mesh, size, 1)
            mine.append(dict(px=size, renderer=name, forward_ms=forward, backward_ms=backward))
        base = mine[0]['forward_ms'] + mine[0]['backward_ms']
        for row in mine:
            apart = (alphas[row['renderer']] - alphas['soft, kernels']).abs()
            row['times_soft_kernels'] = (row['forward_ms'] + row['backward_ms']) / base
            row['alpha_off_by_1e-3'] = int((apart > 1e-3).sum())
        rows += mine
    return rows


def growth(quick: bool) -> list[Row]:
    """Measure how the kernels' cost grows with pixels, faces and images, and fit its exponents."""
    px, faces, images = (32, 48), (300, 600), (1, 2)
    if not quick:
        px, faces, images = (
            (64, 96, 128, 192, 256, 384, 512),
            (2_000, 5_000, 10_000, 20_000, 40_000),
            (1, 2, 4, 8),
        )
    middle_px, middle_faces = (48, 300) if quick else (224, 6_000)
    sweeps: dict[str, list[tuple[float, Callable[[Renderer], tuple]]]] = {
        'pixels': [(n * n, lambda r, n=n: measure(r, tube(middle_faces), n, 1)) for n in px],
        'faces': [(n, lambda r, n=n: measure(r, tube(n), middle_px, 1)) for n in faces],
        'images': [(n, lambda r, n=n: measure(r, tube(middle_faces), middle_px, n)) for n in images],
    }
    rows = []
    for mode in ('soft', 'visible'):
        renderer = SilhouetteRenderer(mode, SIGMA)
        measure(renderer, tube(300), 32, 1)
        for what, points in sweeps.items():
            times = [sum(run(renderer)[:2]) * (n if what == 'images' else 1) for n, run in points]
            counts = [n for n, _ in points]
            exponent = np.polyfit(np.log(counts), np.log(times), 1)[0]
            # From the smallest to the largest, where what does not grow matters least.
            last = math.log(times[-1] / times[-2]) / math.log(counts[-1] / counts[-2])
            for n, ms in zip(counts, times):
                rows.append(dict(mode=mode, grows=what, n=n, ms=ms, exponent=float(exponent), last_step=last))
    return rows


def measure(renderer: Renderer, mesh: Mesh, size: int, n_images: int) -> tuple[float, float, torch.Tensor]:
    """Give milliseconds an image, forward and backward, and the images."""
    vertices, faces = mesh
    vertices = vertices - (vertices.amax(0) + vertices.amin(0)) / 2
    batch = (vertices / vertices.norm(dim=1).max()).expand(n_images, -1, -1)
    batch = batch + 1e-4 * torch.randn(batch.shape, generator=torch.Generator().manual_seed(0))
    cameras = camera(size)
    look = torch.rand(n_images, size, size, generator=torch.Generator().manual_seed(1))

    def forward() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        leaf = batch.clone().requires_grad_()
        render = renderer(leaf, faces, cameras)
        value = render.alpha if renderer.differentiable else render.depth.nan_to_num(posinf=0.0)
        return leaf, value, render.alpha.detach()

    if not isinstance(renderer, PyTorch3DRenderer):
        forward()  # Kernels are compiled once.
    ahead, (_, value, alpha) = seconds_of(forward)
    back, _ = seconds_of(lambda: (value * look).sum().backward(retain_graph=True))
    return 1e3 * ahead / n_images, 1e3 * back / n_images, alpha


def camera(size: int) -> Cameras:
    """Look at the unit ball from three quarters above, so that it fills most of the image."""
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))[0]
    return Cameras(
        names=('camera',),
        K=torch.tensor([[[1.5 * size, 0, (size - 1) / 2], [0, 1.5 * size, (size - 1) / 2], [0, 0, 1.0]]]),
        R=(turn * torch.linalg.det(turn))[None],
        t=torch.tensor([[0.0, 0, 3.5]]),
        size=torch.tensor([[float(size), float(size)]]),
    )


def tube(n_faces: int) -> Mesh:
    """Make a bent tube of about so many faces, whatever their size, all near square."""
    n_sides = max(3, round(math.sqrt(n_faces / 2 / 8)))
    n_rings = max(2, round(n_faces / 2 / n_sides))
    s = torch.linspace(0, 1, n_rings)[:, None]
    phi = torch.arange(n_sides)[None] * (2 * math.pi / n_sides)
    radius = 0.03 + 0.22 * (math.pi * s).sin()
    points = torch.stack(
        (
            (2 * s - 1).expand(-1, n_sides),
            0.4 * (3 * s).sin() + radius * phi.cos(),
            0.3 * (5 * s).cos() + radius * phi.sin(),
        ),
        -1,
    )
    a = (torch.arange(n_rings - 1)[:, None] * n_sides + torch.arange(n_sides)).flatten()
    b = (torch.arange(n_rings - 1)[:, None] * n_sides + (torch.arange(n_sides) + 1) % n_sides).flatten()
    faces = torch.cat((torch.stack((a, a + n_sides, b), 1), torch.stack((b, a + n_sides, b + n_sides), 1)))
    return points.reshape(-1, 3), faces


if __name__ == '__main__':
    raise SystemExit(main())
