"""The quick painter gives the pictures of the z-buffer and `overlay`, which can be read at a glance."""

import numpy as np
import pytest
import torch

from smilfit.renderers import MeshPainter, ZBufferRenderer, overlay
from tests.renderers.render_scenes import BACKENDS, LENS, camera, sphere

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
COLOUR = (0.3, 0.7, 0.9)


def both(vertices, faces, cameras, backend, opacity=0.6):
    vertices, single = vertices.float(), cameras.map(lambda x: x.float())
    render = ZBufferRenderer(backend='torch')(vertices[None], faces, single)
    quick = MeshPainter(faces, backend).paint(IMAGE, vertices, single, COLOUR, opacity)
    return overlay(IMAGE, render, 0, opacity, COLOUR), quick


@BACKENDS
@pytest.mark.parametrize('dist', [None, LENS])
@pytest.mark.parametrize('opacity', [0.6, 1.0])
def test_pictures_are_those_of_the_z_buffer(backend, dist, opacity):
    before = IMAGE.copy()
    ball, faces = sphere()
    # A ball inside, one that the image's edge cuts, one as large as the image, and loose triangles.
    scenes = [(ball * radius + torch.tensor(at), faces) for radius, at in
              ((0.5, (0.2, 0.1, 0.0)), (0.7, (1.6, -1.2, 0.3)), (1.8, (0.0, 0.0, 0.0)))]  # fmt: skip
    scenes.append((torch.randn(60, 3), torch.arange(60).reshape(-1, 3)))
    for vertices, of_faces in scenes:
        slow, quick = both(vertices, of_faces, camera(dist=dist), backend, opacity)
        assert (slow != IMAGE).any()
        assert np.abs(slow.astype(int) - quick).max() <= 1
    np.testing.assert_array_equal(IMAGE, before)


@BACKENDS
def test_what_has_no_image_leaves_the_picture_alone(backend):
    vertices, faces = sphere()
    for move in ((0.0, 0.0, -50.0), (1e4, 0.0, 0.0), (0.0, -1e4, 0.0)):
        slow, quick = both(vertices + torch.tensor(move), faces, camera(), backend)
        assert (slow == IMAGE).all()
        assert (quick == IMAGE).all()
    # A corner behind the camera: the face is left out, others are drawn.
    slow, quick = both(vertices * 5, faces, camera(depth=4.0), backend)
    assert np.abs(slow.astype(int) - quick).max() <= 1


@BACKENDS
def test_normals_may_be_computed_once_for_all_views(backend):
    vertices, faces = sphere()
    painter = MeshPainter(faces, backend)
    normals = painter.normals(vertices)
    torch.testing.assert_close(normals.abs(), vertices.float().abs(), atol=5e-2, rtol=0)
    alone = painter.paint(IMAGE, vertices, camera())
    assert (painter.paint(IMAGE, vertices, camera(), normals=normals) == alone).all()


@BACKENDS
def test_what_cannot_be_painted_is_named(backend):
    vertices, faces = sphere()
    with pytest.raises(ValueError, match='size'):
        MeshPainter(faces, backend).paint(IMAGE, vertices, camera(48, 64))
    with pytest.raises(ValueError, match='vertices must be finite'):
        MeshPainter(faces, backend).paint(IMAGE, vertices * torch.nan, camera())
