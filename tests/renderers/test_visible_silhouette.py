"""The visible silhouette against its definition by brute force, finite differences, and under small motions."""

import math
from dataclasses import replace

import pytest
import torch

from smilfit.renderers import SilhouetteRenderer, ZBufferRenderer
from smilfit.renderers.outline import edge_profile
from tests.renderers.render_scenes import BACKENDS, LENS, camera, sphere, triangles


def slow_alpha(vertices, faces, cameras, width, height, half_width):
    """The profile of the distance to the nearest of many points on edges with an uncovered offset."""
    pixels = cameras.project(vertices)[0][0]
    corners = pixels[faces]
    n = 12_000 // len(faces)
    share = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    outline = []
    for start, end in ((0, 1), (1, 2), (2, 0)):
        a, b = corners[:, start, None], corners[:, end, None]
        points = a + share[:, None] * (b - a)
        normal = torch.stack((a[..., 1] - b[..., 1], b[..., 0] - a[..., 0]), -1)
        offset = 1e-4 * normal / normal.norm(dim=-1, keepdim=True)
        outline.append(points[~(covered(points + offset, corners) & covered(points - offset, corners))])
    outline = torch.cat(outline)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing='ij')
    centres = torch.stack((x, y), -1).double()
    distance = torch.cdist(centres.reshape(-1, 2), outline).amin(1).reshape(height, width)
    return edge_profile(torch.where(covered(centres, corners), distance, -distance), half_width)


def covered(points, corners):
    """Check whether any triangle covers a point."""
    a, b, c = (corners[:, i].reshape(-1, *[1] * (points.ndim - 1), 2) for i in range(3))
    rotation = [
        (v - u)[..., 0] * (points - u)[..., 1] - (v - u)[..., 1] * (points - u)[..., 0]
        for u, v in ((a, b), (b, c), (c, a))
    ]
    rotation = torch.stack(rotation)
    return ((rotation > 0).all(0) | (rotation < 0).all(0)).any(0)


def two_balls(dtype=torch.float64):
    """Balls that overlap in the image, so that their outlines cross; no two corners in one place."""
    ball, faces = sphere(6, 8)
    other = 0.6 * ball + torch.tensor([0.9, 0.5, -0.8])
    vertices = torch.cat((ball, other)) + 1e-3 * torch.randn(2 * len(ball), 3)
    return vertices.to(dtype), torch.cat((faces, faces + len(ball)))


@BACKENDS
@pytest.mark.parametrize('dist', [None, LENS])
def test_alpha_is_the_definition(backend, dist):
    cameras = camera(30, 22, 26.0, centre=(13.1, 12.2), dist=dist)
    half_width = 1.4
    renderer = SilhouetteRenderer('visible', (half_width / 11) ** 2, backend=backend, max_pairs=200)
    for vertices, faces in (triangles(), triangles(12), two_balls()):
        alpha = renderer(vertices[None], faces, cameras).alpha[0]
        slow = slow_alpha(vertices, faces, cameras, 30, 22, half_width)
        torch.testing.assert_close(alpha, slow, atol=8e-3, rtol=0)


@BACKENDS
@pytest.mark.parametrize('dist', [None, LENS])
def test_gradients_are_those_of_finite_differences(backend, dist):
    cameras = camera(16, 12, 14.0, dist=dist)
    renderer = SilhouetteRenderer('visible', 0.05, backend=backend)
    look = torch.rand(12, 16, dtype=torch.float64)

    def score(v, K, R, t):
        return (renderer(v[None], mesh[1], replace(cameras, K=K, R=R, t=t)).alpha[0] * look).sum()

    for mesh in (triangles(4), two_balls()):
        given = [x.clone().requires_grad_() for x in (mesh[0], cameras.K, cameras.R, cameras.t)]
        slopes = torch.autograd.grad(score(*given), given)
        for i in range(4):
            along = [torch.zeros_like(x) for x in given]
            along[i] = torch.randn_like(given[i])
            ends = [score(*[x.detach() + e * d for x, d in zip(given, along)]) for e in (1e-6, -1e-6)]
            expected = (ends[0] - ends[1]) / 2e-6
            assert math.isclose((slopes[i] * along[i]).sum(), expected, rel_tol=1e-6, abs_tol=1e-6)


@pytest.mark.parametrize(('dtype', 'atol'), [(torch.float32, 2e-5), (torch.float64, 1e-9)])
def test_the_kernels_are_their_twin(dtype, atol):
    pytest.importorskip('warp', reason='warp-lang is not installed')
    vertices, faces = two_balls(dtype)
    batch = torch.stack((vertices, vertices.flip(-1)))
    look = torch.rand(2, 96, 128, dtype=dtype)
    pair = []
    for backend in ('torch', 'warp'):
        leaf = batch.clone().requires_grad_()
        alpha = SilhouetteRenderer(backend=backend)(leaf, faces, camera(128, 96, 140.0)).alpha
        (alpha * look).sum().backward()
        pair.append((alpha.detach(), leaf.grad))
    (alpha, slope), (other_alpha, other_slope) = pair
    torch.testing.assert_close(other_alpha, alpha, atol=atol, rtol=0)
    assert torch.cosine_similarity(slope.flatten(), other_slope.flatten(), 0) > 0.9999


@BACKENDS
def test_it_is_the_hard_silhouette_at_one_half_and_one_inside(backend):
    vertices, faces = sphere(60, 80)
    cameras = camera(160, 120, 150.0, centre=(70.0, 66.0))
    for points in (vertices, 0.3 * vertices, two_balls()[0]):
        faces_of = faces if len(points) == len(vertices) else two_balls()[1]
        hard = ZBufferRenderer()(points[None], faces_of, cameras).alpha
        alpha = SilhouetteRenderer(sigma=1e-3, backend=backend)(points[None], faces_of, cameras).alpha
        assert torch.equal(alpha > 0.5, hard > 0.5)
        # Inside by well more than the half width (1.9 px), however fine the triangles are.
        deep = torch.nn.functional.avg_pool2d(hard, 7, 1, 3) == 1
        assert deep.any()
        assert (alpha[deep] == 1).all()


@BACKENDS
def test_small_motions_change_it_little(backend):
    """Alpha has no jump: it changes by at most its steepest slope times the way that the corners go."""
    vertices, faces = two_balls()
    cameras = camera(64, 48, 70.0)
    renderer = SilhouetteRenderer(backend=backend)
    steepest = 0.75 / 0.75  # of the profile, at the least half width, per px
    way = torch.randn(3) * 0.1 + 0.05 * torch.randn_like(vertices)
    before = None
    for step in torch.linspace(0, 1, 40):
        points = vertices + 0.05 * step * way
        now = renderer(points[None], faces, cameras).alpha[0], cameras.project(points)[0][0]
        if before is not None:
            moved = (now[1] - before[1]).norm(dim=1).max()
            assert (now[0] - before[0]).abs().max() <= 1.02 * steepest * moved + 2e-3
        before = now


@BACKENDS
def test_a_seam_between_sheets_that_share_no_corner_is_inside(backend):
    square = torch.tensor([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, -1, 0], [1, 1, 0], [-1, 1, 0.0]]).double()
    alpha = SilhouetteRenderer(backend=backend)(
        square[None], torch.tensor([[0, 1, 2], [3, 4, 5]]), camera()
    ).alpha[0]
    assert (alpha[10:38, 18:46] == 1).all()


def test_another_mesh_by_the_same_renderer():
    renderer = SilhouetteRenderer()
    for n in (8, 12, 8):
        vertices, faces = sphere(n, n)
        again = SilhouetteRenderer()(vertices[None], faces, camera()).alpha
        assert torch.equal(renderer(vertices[None], faces, camera()).alpha, again)
