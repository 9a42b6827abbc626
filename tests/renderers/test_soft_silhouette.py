"""The soft silhouette against its formula written out, against the hard one, and against finite differences."""

from dataclasses import replace

import pytest
import torch

from smilfit.registry import build_renderer
from smilfit.renderers import SilhouetteRenderer, ZBufferRenderer
from tests.renderers.render_scenes import BACKENDS, LENS, camera, sphere, triangles


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


@BACKENDS
@pytest.mark.parametrize(('sigma', 'dist'), [(1e-3, None), (3e-2, LENS)])
def test_alpha_is_the_formula(backend, sigma, dist):
    vertices, faces = triangles()
    cameras = camera(14, 10, 14.0, centre=(6.1, 5.2), dist=dist)
    renderer = SilhouetteRenderer('soft', sigma, backend=backend, max_pairs=20)
    alpha = renderer(vertices[None], faces, cameras).alpha
    torch.testing.assert_close(alpha[0], slow_alpha(vertices, faces, cameras, 14, 10, sigma))


@BACKENDS
@pytest.mark.parametrize('dist', [None, LENS])
def test_gradients_are_those_of_finite_differences(backend, dist):
    vertices, faces = triangles(3)
    cameras = camera(9, 7, 9.0, dist=dist)
    renderer = SilhouetteRenderer('soft', 0.05, backend=backend, max_pairs=60)
    look = torch.rand(7, 9, dtype=torch.float64)

    def score(v, K, R, t):
        return (renderer(v[None], faces, replace(cameras, K=K, R=R, t=t)).alpha[0] * look).sum()

    given = [x.clone().requires_grad_() for x in (vertices, cameras.K, cameras.R, cameras.t)]
    assert torch.autograd.gradcheck(score, given, eps=1e-7, atol=1e-5)


def test_the_kernel_is_its_twin_on_fine_meshes_in_single_precision():
    pytest.importorskip('warp', reason='warp-lang is not installed')
    vertices, faces = sphere(24, 30)
    batch = torch.stack((vertices, 0.7 * vertices)) + 1e-3 * torch.randn(2, *vertices.shape)
    look = torch.rand(2, 48, 64)
    pair = []
    for backend in ('torch', 'warp'):
        leaf = batch.float().requires_grad_()
        alpha = SilhouetteRenderer('soft', 1e-4, backend=backend)(leaf, faces, camera()).alpha
        (alpha * look).sum().backward()
        pair.append((alpha.detach(), leaf.grad))
    (alpha, slope), (other_alpha, other_slope) = pair
    torch.testing.assert_close(other_alpha, alpha, atol=2e-5, rtol=0)
    assert torch.cosine_similarity(slope.flatten(), other_slope.flatten(), 0) > 0.9999


def test_a_sharp_one_is_the_hard_one():
    vertices, faces = sphere(14, 18)
    cameras = camera()
    hard = ZBufferRenderer()(vertices[None], faces, cameras).alpha
    soft = SilhouetteRenderer('soft', 1e-7)(vertices[None], faces, cameras).alpha
    assert ((soft > 0.5) == (hard > 0.5)).all()
    # A pixel whose centre lies on the shared side of two triangles is half each: 3/4.
    assert (soft[hard > 0.5] > 0.74).all()
    blurred = SilhouetteRenderer('soft', 1e-2)(vertices[None], faces, cameras).alpha
    assert blurred.sum() > soft.sum()


@BACKENDS
@pytest.mark.parametrize('mode', ['soft', 'visible'])
def test_what_cannot_be_seen_is_left_out_and_nothing_is_empty(backend, mode):
    vertices, faces = sphere(8, 8)
    renderer = build_renderer(dict(type='SilhouetteRenderer', mode=mode, backend=backend))
    assert renderer(vertices[None], faces, camera(depth=-4.0)).alpha.sum() == 0
    assert renderer(vertices[None] + torch.tensor([50.0, 0, 0]), faces, camera()).alpha.sum() == 0
    assert len(renderer(vertices[None][:0], faces, camera())) == 0
    assert renderer(vertices[None], faces[:0], camera()).alpha.sum() == 0
    cut = torch.tensor([[-1, -1, 0], [1, -1, 0], [0, 1, 0], [0, 0, -9]], dtype=torch.float64)
    render = renderer(cut[None], torch.tensor([[0, 1, 2], [0, 1, 3]]), camera())
    assert render.n_cut.tolist() == [1]
    assert render.depth is None
    assert render.alpha.max() > 0.99


@BACKENDS
@pytest.mark.parametrize('mode', ['soft', 'visible'])
def test_half_precision_is_widened(backend, mode):
    vertices, faces = sphere(8, 8)
    renderer = SilhouetteRenderer(mode, backend=backend, surface=ZBufferRenderer(backend=backend))
    half = renderer(vertices[None].bfloat16(), faces, camera())
    single = renderer(vertices[None].bfloat16().float(), faces, camera())
    assert half.alpha.dtype == half.depth.dtype == torch.float32
    assert torch.equal(half.alpha, single.alpha)
    assert torch.equal(half.depth, single.depth)


def test_a_surface_comes_along():
    vertices, faces = sphere(8, 8)
    both = SilhouetteRenderer(surface=ZBufferRenderer())(vertices[None], faces, camera())
    assert torch.equal(both.depth, ZBufferRenderer()(vertices[None], faces, camera()).depth)
    assert both[0].alpha.frac().count_nonzero() > 0


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(mode='hard'), 'mode must be one of'),
        (dict(sigma=0.0), 'sigma must be positive'),
        (dict(max_pairs=0), 'max_pairs must be positive'),
        (dict(backend='cuda'), 'backend must be one of'),
    ],
)
def test_wrong_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        SilhouetteRenderer(**wrong)


def test_without_warp_tensors_do_the_work_and_one_sentence_says_so(monkeypatch, caplog):
    monkeypatch.setattr('smilfit.renderers.base.find_spec', lambda name: None)
    with caplog.at_level('WARNING', 'smilfit'):
        assert SilhouetteRenderer().backend == 'torch'
    assert caplog.text.count('warp-lang is not installed') == 1
    with pytest.raises(ImportError, match='pip install warp-lang'):
        SilhouetteRenderer(backend='warp')
