"""The soft silhouette against its formula written out, against the hard one, and against finite differences."""

import pytest
import torch

from smilfit.registry import build_renderer
from smilfit.renderers import SoftSilhouetteRenderer, ZBufferRenderer
from tests.renderers.render_scenes import camera, sphere

LENS = (-0.2, 0.03, 0.001, 0.002, 0.0)


def slow_alpha(vertices, faces, cameras, width, height, sigma):
    """1 - prod(1 - sigmoid(-d / sigma)), pixel by pixel and triangle by triangle."""
    pixels = cameras.project(vertices)[0][0]
    unit = 2 / min(width, height)
    alpha = torch.zeros(height, width, dtype=torch.float64)
    for y in range(height):
        for x in range(width):
            clear = 1.0
            for face in faces.tolist():
                p = torch.tensor([x, y], dtype=torch.float64)
                a, b, c = (pixels[i] for i in face)
                turns, distances = [], []
                for start, end in ((a, b), (b, c), (c, a)):
                    side, to = end - start, p - start
                    turns.append(side[0] * to[1] - side[1] * to[0])
                    distances.append((to - (to @ side / (side @ side)).clamp(0, 1) * side).norm())
                d = (min(distances) * unit) ** 2
                if all(t > 0 for t in turns) or all(t < 0 for t in turns):
                    d = -d
                share = torch.sigmoid(-d / sigma)
                clear = clear * (1 - (share if share >= 1e-4 else 0))
            alpha[y, x] = 1 - clear
    return alpha


def triangles(n=5):
    return 0.8 * torch.randn(3 * n, 3, dtype=torch.float64), torch.arange(3 * n).reshape(-1, 3)


@pytest.mark.parametrize(('sigma', 'dist'), [(1e-3, None), (3e-2, LENS)])
def test_alpha_is_the_formula(sigma, dist):
    vertices, faces = triangles()
    cameras = camera(14, 10, 14.0, centre=(6.1, 5.2), dist=dist)
    fast = SoftSilhouetteRenderer(sigma)(vertices[None], faces, cameras)
    torch.testing.assert_close(fast.alpha[0], slow_alpha(vertices, faces, cameras, 14, 10, sigma))
    chunks = SoftSilhouetteRenderer(sigma, max_pixels=20)(vertices[None], faces, cameras)
    torch.testing.assert_close(chunks.alpha, fast.alpha)
    assert torch.equal(fast.depth, ZBufferRenderer()(vertices[None], faces, cameras).depth)


@pytest.mark.parametrize('dist', [None, LENS])
def test_gradients_are_those_of_finite_differences(dist):
    vertices, faces = triangles(3)
    cameras = camera(9, 7, 9.0, dist=dist)
    renderer = SoftSilhouetteRenderer(0.05, max_pixels=60)
    look = torch.rand(7, 9, dtype=torch.float64)

    def score(v):
        return (renderer(v[None], faces, cameras).alpha[0] * look).sum()

    assert torch.autograd.gradcheck(score, vertices.requires_grad_(), eps=1e-7, atol=1e-5)


def test_a_sharp_one_is_the_hard_one():
    vertices, faces = sphere(14, 18)
    cameras = camera()
    hard = ZBufferRenderer()(vertices[None], faces, cameras).alpha
    soft = SoftSilhouetteRenderer(1e-7)(vertices[None], faces, cameras).alpha
    assert ((soft > 0.5) == (hard > 0.5)).all()
    # A pixel whose centre lies on the shared side of two triangles is half each: 3/4.
    assert (soft[hard > 0.5] > 0.74).all()
    blurred = SoftSilhouetteRenderer(1e-2)(vertices[None], faces, cameras).alpha
    assert blurred.sum() > soft.sum()


def test_what_cannot_be_seen_is_left_out_and_nothing_is_empty():
    vertices, faces = sphere(8, 8)
    behind = SoftSilhouetteRenderer()(vertices[None], faces, camera(depth=-4.0))
    assert behind.alpha.sum() == 0
    aside = build_renderer(dict(type='SoftSilhouetteRenderer', sigma=1e-4))(
        vertices[None] + torch.tensor([50.0, 0, 0]), faces, camera()
    )
    assert aside.alpha.sum() == 0
    assert len(SoftSilhouetteRenderer()(vertices[None][:0], faces, camera())) == 0
    with pytest.raises(ValueError, match='sigma must be positive'):
        SoftSilhouetteRenderer(0.0)
