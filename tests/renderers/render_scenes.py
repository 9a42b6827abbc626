"""Small scenes for the renderer's tests, and a slow renderer that can be read at a glance."""

import math
from importlib.util import find_spec

import pytest
import torch

from smilfit.structures import Cameras

LENS = (-0.2, 0.03, 0.001, 0.002, 0.0)
without_warp = pytest.mark.skipif(find_spec('warp') is None, reason='warp-lang is not installed')
BACKENDS = pytest.mark.parametrize('backend', ['torch', pytest.param('warp', marks=without_warp)])


def triangles(n=5):
    """Triangles here and there that share no corner."""
    return 0.8 * torch.randn(3 * n, 3, dtype=torch.float64), torch.arange(3 * n).reshape(-1, 3)


def camera(width=64, height=48, focal=70.0, centre=None, dist=None, depth=4.0, dtype=torch.float64):
    """One camera at (0, 0, -depth) that looks along +z."""
    cx, cy = centre if centre is not None else ((width - 1) / 2, (height - 1) / 2)
    return Cameras(
        names=('one',),
        K=torch.tensor([[[focal, 0, cx], [0, focal, cy], [0, 0, 1.0]]], dtype=dtype),
        R=torch.eye(3, dtype=dtype)[None],
        t=torch.tensor([[0.0, 0.0, depth]], dtype=dtype),
        size=torch.tensor([[width, height]], dtype=dtype),
        dist=None if dist is None else torch.tensor([dist], dtype=dtype),
    )


def sphere(n_rings=40, n_sides=60, radius=1.0, dtype=torch.float64):
    """A closed sphere around the origin, poles on the y axis."""
    theta = torch.linspace(0, math.pi, n_rings + 1, dtype=dtype)[1:-1]
    phi = torch.arange(n_sides, dtype=dtype) * (2 * math.pi / n_sides)
    ring = torch.stack(
        (
            theta.sin()[:, None] * phi.cos(),
            theta.cos()[:, None].expand(-1, n_sides),
            theta.sin()[:, None] * phi.sin(),
        ),
        -1,
    ).reshape(-1, 3)
    poles = torch.tensor([[0, 1.0, 0], [0, -1.0, 0]], dtype=dtype)
    top, bottom = len(ring), len(ring) + 1
    faces = []
    for j in range(n_sides):
        k = (j + 1) % n_sides
        faces.append((top, k, j))
        last = (n_rings - 2) * n_sides
        faces.append((bottom, last + j, last + k))
        for i in range(n_rings - 2):
            a, b = i * n_sides, (i + 1) * n_sides
            faces += [(a + j, a + k, b + j), (a + k, b + k, b + j)]
    return radius * torch.cat((ring, poles)), torch.tensor(faces)


def slow_depth(vertices, faces, cameras, width, height):
    """Depth by asking every triangle at every pixel; what is behind the camera is skipped."""
    pixels, depth, valid = (x[0] for x in cameras.project(vertices))
    image = torch.full((height, width), math.inf, dtype=torch.float64)
    for i, j, k in faces.tolist():
        if not (valid[i] and valid[j] and valid[k]):
            continue
        a, b, c = pixels[i], pixels[j], pixels[k]
        area = _cross(b - a, c - a)
        if abs(area) < 1e-10:
            continue
        for y in range(height):
            for x in range(width):
                p = torch.tensor([x, y], dtype=torch.float64)
                share = torch.stack((_cross(c - b, p - b), _cross(a - c, p - c), _cross(b - a, p - a))) / area
                if (share >= 0).all():
                    z = 1 / (share / depth[[i, j, k]]).sum()
                    image[y, x] = min(image[y, x], z)
    return image


def _cross(u, v):
    return u[0] * v[1] - u[1] * v[0]
