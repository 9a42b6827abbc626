"""All views of a keypoint at once, against view by view."""

from dataclasses import replace

import torch

from smilfit.body_models import SMIL
from smilfit.handlers import BodyState, Keypoint2dHandler, Keypoint2dInput
from smilfit.synthetic import make_insect
from tests.animals import ring_of_cameras
from tests.handlers.worm import active, point_model


def test_views_sum_to_the_term():
    body = SMIL(make_insect()).double()
    params, cameras = body.zero_params(2), ring_of_cameras(3)
    names = body.joint_names
    output = body(params, names)
    with torch.no_grad():
        pixels = cameras.project(output.select(names))[0]
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0)).double()
    handler, seen = Keypoint2dHandler(), Keypoint2dInput(pixels + 5 * noise, names, cameras=cameras)
    state = BodyState(body, params, output)
    term = active(handler, seen)
    shifted = replace(state, camera_shift=torch.zeros(3, 6).double())
    whole, by_view = point_model(term, state), point_model(term, shifted, by_view=True)
    torch.testing.assert_close(term.per_frame(state), term.per_frame(shifted))
    torch.testing.assert_close(whole.gradient, by_view.views.gradient.sum(1))
    torch.testing.assert_close(whole.hessian, by_view.views.hessian.sum(1))
