"""Gradients of what the z-buffer sees, and its two backends against each other."""

import math
from dataclasses import replace

import pytest
import torch

from smilfit.renderers import ZBufferRenderer, interpolate
from tests.renderers.render_scenes import BACKENDS, LENS, camera, sphere


@BACKENDS
@pytest.mark.parametrize('dist', [None, LENS])
@pytest.mark.parametrize('field', ['depth', 'normals', 'shading', 'barycentric'])
def test_gradients_are_those_of_finite_differences_away_from_the_outline(backend, dist, field):
    vertices, faces = sphere(6, 8)
    vertices = vertices + 0.02 * torch.randn_like(vertices)
    cameras = camera(24, 18, 20.0, centre=(10.3, 9.2), dist=dist)
    renderer = ZBufferRenderer(backend=backend)
    colour = torch.rand(len(vertices), 3).double()
    seen = renderer(vertices[None], faces, cameras).face_id
    look = torch.rand(1, 18, 24, 3, dtype=torch.float64)

    def score(v, K, R, t, rgb):
        render = renderer(v[None], faces, replace(cameras, K=K, R=R, t=t), rgb)
        assert torch.equal(render.face_id, seen)
        value = getattr(render, field)
        return (value if value.ndim == 4 else value.unsqueeze(-1))[seen >= 0].mul(look[seen >= 0]).sum()

    given = [x.clone().requires_grad_() for x in (vertices, cameras.K, cameras.R, cameras.t, colour)]
    slopes = torch.autograd.grad(score(*given), given, allow_unused=True, materialize_grads=True)
    for i in range(5):
        along = [torch.zeros_like(x) for x in given]
        along[i] = torch.randn_like(given[i])
        ends = [score(*[x.detach() + e * d for x, d in zip(given, along)]) for e in (1e-6, -1e-6)]
        expected = (ends[0] - ends[1]) / 2e-6
        assert math.isclose((slopes[i] * along[i]).sum(), expected, rel_tol=1e-5, abs_tol=1e-5)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_the_kernel_sees_what_the_scanline_sees(dtype):
    pytest.importorskip('warp', reason='warp-lang is not installed')
    vertices, faces = sphere(40, 50, dtype=dtype)
    batch = torch.stack((vertices, vertices.flip(-1) * 0.8)) + 1e-3 * torch.randn(2, *vertices.shape)
    cameras = camera(150, 120, 140.0, centre=(61.2, 55.5), dist=LENS)
    one, other = (ZBufferRenderer(backend=b)(batch.to(dtype), faces, cameras) for b in ('torch', 'warp'))
    assert torch.equal(one.alpha, other.alpha)
    assert (one.face_id != other.face_id).double().mean() < 1e-3
    torch.testing.assert_close(one.depth, other.depth, rtol=1e-6, atol=0)


def test_values_of_vertices_are_spread_with_gradients():
    vertices, faces = sphere(6, 8)
    leaf = vertices.clone().requires_grad_()
    render = ZBufferRenderer()(leaf[None], faces, camera())
    spread = interpolate(render, faces, leaf)[render.face_id >= 0]
    # A point of the surface is its pixel's ray times its depth, so z in the camera's frame is the depth.
    torch.testing.assert_close(spread[:, 2] + 4.0, render.depth[render.face_id >= 0])
    assert torch.autograd.grad(spread.sum(), leaf)[0].abs().sum() > 0
