"""The z-buffer against a slow twin, against spheres, and under changes that must not matter."""

import math
from dataclasses import replace

import pytest
import torch

from smilfit.registry import build_renderer
from smilfit.renderers import ZBufferRenderer, interpolate, paint_faces
from smilfit.structures import Cameras
from tests.renderers.render_scenes import camera, slow_depth, sphere


@pytest.fixture(params=['torch', 'warp'], autouse=True)
def backend(request, monkeypatch):
    """Every truth of this file holds for both backends."""
    if request.param == 'warp':
        pytest.importorskip('warp', reason='warp-lang is not installed')
    monkeypatch.setattr('smilfit.renderers.mesh_painter.choose_backend', lambda backend, where: request.param)


def _random_scene(n_faces=12):
    vertices = torch.randn(n_faces * 3, 3, dtype=torch.float64)
    return vertices, torch.arange(n_faces * 3).reshape(-1, 3)


@pytest.mark.parametrize('dist', [None, (-0.25, 0.05, 0.002, -0.001, 0.0)])
def test_depth_agrees_with_the_slow_twin(dist):
    cameras = camera(32, 24, 30.0, centre=(13.3, 14.8), dist=dist)
    for _ in range(2):
        vertices, faces = _random_scene(8)
        slow = slow_depth(vertices, faces, cameras, 32, 24)
        fast = ZBufferRenderer()(vertices[None], faces, cameras)
        assert torch.equal(fast.alpha[0] > 0, slow.isfinite())
        seen = slow.isfinite()
        assert seen.any()
        assert torch.allclose(fast.depth[0][seen], slow[seen], rtol=1e-6)
        assert fast.depth[0][~seen].isinf().all()


def test_memory_chunks_do_not_change_the_image():
    vertices, faces = _random_scene(30)
    one = ZBufferRenderer()(vertices[None], faces, camera())
    many = ZBufferRenderer(max_pixels=50)(vertices[None], faces, camera())
    assert torch.equal(one.face_id, many.face_id)
    assert torch.equal(one.shading, many.shading)


def test_sphere_has_the_analytic_silhouette_and_depth():
    cameras = camera(160, 120, 150.0, centre=(70.0, 66.0), depth=4.0)
    vertices, faces = sphere(120, 160)
    image = ZBufferRenderer()(vertices[None], faces, cameras)
    y, x = torch.meshgrid(
        torch.arange(120, dtype=torch.float64), torch.arange(160, dtype=torch.float64), indexing='ij'
    )
    ray = torch.stack(((x - 70) / 150, (y - 66) / 150, torch.ones_like(x)), -1)
    # |d ray - (0, 0, 4)| = 1 in d, the depth.
    a, b, c = (ray**2).sum(-1), -8.0, 15.0
    discriminant = b * b - 4 * a * c
    margin = 0.02 * (b * b)
    assert (image.alpha[0][discriminant > margin] == 1).all()
    assert (image.alpha[0][discriminant < 0] == 0).all()
    inner = discriminant > margin
    depth = (-b - discriminant[inner].sqrt()) / (2 * a[inner])
    assert torch.allclose(image.depth[0][inner], depth, atol=3e-3)
    outward = ray[inner] * depth[:, None] - torch.tensor([0, 0, 4.0])
    assert ((image.normals[0][inner] * outward).sum(-1) > 0.999).all()


@pytest.mark.parametrize('dist', [None, (-0.2, 0.03, 0.001, 0.002, 0.0)])
def test_a_vertex_lands_where_the_camera_projects_it(dist):
    """Halves of an image, split at a vertical and a horizontal edge, show the corner to 1/20 px."""
    cameras = camera(200, 160, 260.0, centre=(91.7, 83.1), dist=dist)
    corner = torch.tensor([[0.31, -0.22, 0.4]], dtype=torch.float64)
    where = cameras.project(corner)[0][0, 0]
    size = 0.012
    offsets = [(-size, -size), (size, -size), (size, size), (-size, size)]
    # A small square, magnified: the crop's pixels are 1/40 of the image's.
    zoom = 40.0
    square = corner + torch.tensor([[dx, dy, 0.0] for dx, dy in offsets], dtype=torch.float64)
    affine = torch.tensor([[[zoom, 0, 60 - zoom * where[0]], [0, zoom, 60 - zoom * where[1]]]])
    crop = cameras.transformed(affine.double(), torch.tensor([[121.0, 121.0]], dtype=torch.float64))
    image = ZBufferRenderer()(square[None], torch.tensor([[0, 1, 2], [0, 2, 3]]), crop)
    y, x = image.alpha[0].nonzero().double().mean(0)
    assert abs(x - 60) / zoom < 0.05
    assert abs(y - 60) / zoom < 0.05


def test_centroid_of_a_small_mesh_is_its_projected_centre_at_plain_resolution():
    cameras = camera(160, 120, 1600.0, centre=(71.25, 66.5), depth=40.0)
    vertices, faces = sphere(80, 120)
    for shift in ([0.0, 0.0, 0.0], [0.137, -0.181, 0.5], [-0.313, 0.177, -0.2]):
        moved = vertices + torch.tensor(shift, dtype=torch.float64)
        image = ZBufferRenderer()(moved[None], faces, cameras)
        y, x = image.alpha[0].nonzero().double().mean(0)
        where = cameras.project(moved.mean(0)[None])[0][0, 0]
        assert (torch.stack((x, y)) - where).norm() < 0.05


def test_a_crop_is_a_window_of_the_image():
    vertices, faces = _random_scene()
    cameras = camera(80, 60, 70.0)
    crop = cameras.transformed(
        torch.tensor([[[1.0, 0, -17], [0, 1.0, -9]]], dtype=torch.float64),
        torch.tensor([[41.0, 30.0]], dtype=torch.float64),
    )
    whole = ZBufferRenderer()(vertices[None], faces, cameras)
    part = ZBufferRenderer()(vertices[None], faces, crop)
    assert torch.equal(whole.face_id[:, 9:39, 17:58], part.face_id)


def test_order_and_turn_of_faces_do_not_matter():
    vertices, faces = _random_scene(20)
    order = torch.randperm(len(faces))
    one = ZBufferRenderer()(vertices[None], faces, camera())
    other = ZBufferRenderer()(vertices[None], faces[order].flip(1), camera())
    assert torch.allclose(one.depth, other.depth)
    assert torch.allclose(one.normals, other.normals, atol=1e-9)
    seen = one.face_id >= 0
    assert torch.equal(one.face_id[seen], order[other.face_id[seen]])


def test_moving_world_and_camera_together_changes_nothing():
    vertices, faces = _random_scene()
    cameras = camera()
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    rotation = rotation * torch.linalg.det(rotation)
    moved = replace(
        cameras, R=cameras.R @ rotation.T, t=cameras.t - (cameras.R @ rotation.T @ torch.ones(3).double())
    )
    one = ZBufferRenderer()(vertices[None], faces, cameras)
    other = ZBufferRenderer()((vertices @ rotation.T + 1)[None], faces, moved)
    assert torch.equal(one.face_id, other.face_id)
    assert torch.allclose(one.shading, other.shading, atol=1e-9)


def test_a_batch_is_its_members():
    vertices, faces = _random_scene()
    other = vertices.flip(0)
    cameras = camera()
    pair = Cameras(
        names=('a', 'b'),
        K=torch.cat((cameras.K, cameras.K * torch.tensor([[1.2], [1.2], [1]]).double())),
        R=cameras.R.expand(2, 3, 3),
        t=torch.cat((cameras.t, cameras.t + 0.5)),
        size=cameras.size.expand(2, 2),
        dist=torch.tensor([[-0.1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]).double(),
    )
    both = ZBufferRenderer()(torch.stack((vertices, other)), faces, pair)
    for n, (points, name) in enumerate(((vertices, 'a'), (other, 'b'))):
        alone = ZBufferRenderer()(points[None], faces, pair.select([name]))
        assert torch.equal(both[n].face_id, alone.face_id)
        assert torch.allclose(both[n].shading, alone.shading)
    shared = ZBufferRenderer()(torch.stack((vertices, other)), faces, cameras)
    assert torch.equal(shared[0].depth, ZBufferRenderer()(vertices[None], faces, cameras).depth)


def test_float32_agrees_with_float64():
    vertices, faces = sphere(20, 30)
    double = ZBufferRenderer()(vertices[None], faces, camera())
    single = ZBufferRenderer()(vertices[None].float(), faces, camera())
    assert single.depth.dtype == torch.float32
    assert (single.alpha != double.alpha).float().mean() < 2e-3
    both = (single.alpha * double.alpha) > 0
    assert torch.allclose(single.depth[both].double(), double.depth[both], atol=1e-4)


def test_faces_across_the_camera_plane_are_left_out_and_counted():
    vertices = torch.tensor(
        [[-1, -1, 0], [1, -1, 0], [0, 1, 0], [0, 0, -9], [-1, -1, -8], [1, -1, -8]], dtype=torch.float64
    )
    faces = torch.tensor([[0, 1, 2], [0, 1, 3], [3, 4, 5]])
    image = ZBufferRenderer()(vertices[None], faces, camera())
    assert image.n_cut.tolist() == [1]
    assert set(image.face_id.unique().tolist()) == {-1, 0}
    near = ZBufferRenderer(near=5.0)(vertices[None], faces, camera())
    assert (near.alpha == 0).all()


def test_beyond_the_fold_of_the_lens_nothing_is_drawn():
    vertices = torch.tensor([[6.0, 0, 0], [7.0, 0, 0], [6.5, 1, 0]], dtype=torch.float64)
    image = ZBufferRenderer()(
        vertices[None], torch.tensor([[0, 1, 2]]), camera(200, 100, 40.0, dist=(-0.3, 0, 0, 0, 0))
    )
    assert (image.alpha == 0).all()


def test_colours_of_vertices_and_faces():
    vertices = torch.tensor([[-9.0, -9, 0], [9, -9, 0], [0, 9, 0]], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 2]])
    red = ZBufferRenderer(ambient=1.0)(
        vertices[None], faces, camera(), colour=torch.tensor([1.0, 0.5, 0.0]).double()
    )
    assert torch.allclose(red.shading[0, 24, 32], torch.tensor([1.0, 0.5, 0.0]).double())
    plain = ZBufferRenderer(ambient=1.0)(vertices[None], faces, camera())
    painted = paint_faces(plain, torch.tensor([[0.2, 0.4, 0.6]]))
    assert torch.allclose(painted[0, 24, 32], torch.tensor([0.2, 0.4, 0.6]).double())
    position = interpolate(plain, faces, vertices)
    where = camera().project(position[0, 24, 32][None])[0][0, 0]
    assert torch.allclose(where, torch.tensor([32.0, 24.0]).double(), atol=1e-6)


def test_an_empty_image_and_no_meshes():
    vertices, faces = _random_scene()
    away = ZBufferRenderer()(vertices[None] + 1000, faces, camera())
    assert (away.face_id == -1).all()
    assert len(ZBufferRenderer()(vertices[None][:0], faces, camera())) == 0


def test_headlight_is_brightest_where_the_surface_faces_the_camera():
    vertices, faces = sphere(60, 80)
    image = ZBufferRenderer(ambient=0.25)(vertices[None], faces, camera(65, 49))
    assert math.isclose(float(image.shading[0, 24, 32, 0]), 1.0, abs_tol=1e-3)
    assert image.shading.max() <= 1
    assert image.shading[image.alpha > 0].min() >= 0.25


def test_errors():
    vertices, faces = _random_scene()
    cameras = camera()
    renderer = build_renderer({'type': 'ZBufferRenderer', 'ambient': 0.3})
    assert not renderer.differentiable
    with pytest.raises(ValueError, match='must name vertices 0 to'):
        renderer(vertices[None], faces + 7, cameras)
    with pytest.raises(ValueError, match='must be finite'):
        renderer(vertices[None] * math.nan, faces, cameras)
    two = replace(
        cameras,
        names=('a', 'b'),
        **{n: getattr(cameras, n).expand(2, *getattr(cameras, n).shape[1:]) for n in ('K', 'R', 't')},
        size=torch.tensor([[64.0, 48], [48, 64]]).double(),
    )
    with pytest.raises(ValueError, match='one size'):
        renderer(vertices.expand(2, -1, -1), faces, two)
    with pytest.raises(ValueError, match='one a mesh'):
        renderer(vertices.expand(3, -1, -1), faces, two)
    with pytest.raises(ValueError, match='ambient must be'):
        ZBufferRenderer(ambient=2.0)
