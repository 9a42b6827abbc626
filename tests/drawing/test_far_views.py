"""Views from far away: none is mirrored, and what is looked at stands in the centre, as large as was asked for."""

import numpy as np
import pytest
import torch

import smilfit as sf
from smilfit.drawing.far_views import ABOVE, FRONT, SIDE, far_camera, looking_at, own_axes
from smilfit.drawing.overlays import BLOCK, posed

AXES = torch.eye(3).double()


@pytest.mark.parametrize('turn', [0.0, 40.0, 90.0])
@pytest.mark.parametrize('tilt', [0.0, 20.0, 90.0])
def test_views_are_rotations_and_never_mirrored(turn, tilt):
    rotation = looking_at(AXES, turn, tilt)
    torch.testing.assert_close(rotation @ rotation.T, AXES)
    assert float(rotation.det()) == pytest.approx(1)


@pytest.mark.parametrize(
    ('view', 'right', 'up'), [(SIDE, 0, 2), (FRONT, 1, 2), (ABOVE, 0, 1)], ids=lambda x: str(x)
)
def test_what_is_to_the_right_and_up_in_each_view(view, right, up):
    """From the side and above the head is to the right; from above the animal's left is up."""
    camera = far_camera(looking_at(AXES, *view[1:]), torch.ones(3), 2.0, (101, 101), 40.0, 0.8)
    points = torch.ones(1, 3, 3) + torch.stack((torch.zeros(3), torch.eye(3)[right], torch.eye(3)[up]))
    pixels = camera.project(points)[0][0, 0].numpy()
    np.testing.assert_allclose(pixels, [[50, 50], [50 + 40.4, 50], [50, 50 - 40.4]], atol=0.01)


def test_a_model_states_its_own_axes_right_handed():
    axes = own_axes(sf.load_body_model('quadruped').data)
    assert float(axes.det()) == pytest.approx(1)


def test_posed_bodies_are_those_of_one_call_over_several_blocks():
    body = sf.load_body_model('quadruped')
    n = BLOCK + 3
    params = body.zero_params(n).replace(transl=torch.arange(3.0 * n).reshape(n, 3))
    names, rows = body.joint_names[:2], [1, BLOCK, n - 1]
    with torch.no_grad():
        output = body(params, ('vertices', *names))
    for row, (vertices, points) in zip(rows, posed(body, params, names, rows), strict=True):
        torch.testing.assert_close(vertices, output.vertices[row])
        torch.testing.assert_close(points, output.select(names)[row])
    assert sum(points.shape == (0, 3) for _, points in posed(body, params)) == n
