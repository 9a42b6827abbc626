"""A render over an image."""

import numpy as np
import pytest
import torch

from smilfit.renderers import ZBufferRenderer, overlay, shade
from tests.renderers.render_scenes import camera, sphere


def test_overlay_mixes_where_the_mesh_is_and_leaves_the_rest():
    vertices, faces = sphere()
    render = ZBufferRenderer(ambient=1.0)(vertices[None], faces, camera())
    image = np.full((48, 64, 3), 100, np.uint8)
    result = overlay(image, render, opacity=0.6, colour=(1.0, 0.0, 0.0))
    covered = render.alpha[0].numpy() > 0
    assert (result[covered] == [193, 40, 40]).all()
    assert (result[~covered] == 100).all()
    assert (image == 100).all()


def test_overlay_refuses_another_size():
    vertices, faces = sphere()
    render = ZBufferRenderer()(vertices[None], faces, camera())
    with pytest.raises(ValueError, match='must have one size'):
        overlay(np.zeros((64, 48, 3), np.uint8), render)


def test_shade_lights_both_sides_alike():
    normal = torch.nn.functional.normalize(torch.randn(9, 3), dim=-1)
    light = torch.nn.functional.normalize(torch.randn(9, 3), dim=-1)
    colour = torch.rand(9, 3)
    assert torch.allclose(shade(normal, light, colour), shade(-normal, light, colour))
    assert torch.allclose(shade(light, light, colour), colour, atol=1e-6)
