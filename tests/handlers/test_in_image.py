"""The term that keeps a body in its image."""

import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.handlers import BodyState, ImageFrameInput, InImageHandler
from tests.animals import random_params, ring_of_cameras, small_animal
from tests.handlers.worm import active, point_model


@pytest.fixture
def scene():
    body = SMIL(small_animal()).double()
    params = random_params(body.data, 2, seed=2).map(torch.Tensor.double)
    rig = ring_of_cameras(2)
    cameras = rig.map(lambda x: x.double())
    pixels, _, _ = cameras.project(body(params).joints)
    # Images that end in the middle of the body.
    centre = pixels.flatten(0, 2).median(0).values.round()
    size = centre.expand_as(cameras.size).clone()
    return body, params, ImageFrameInput(type(cameras)(
        names=cameras.names, K=cameras.K, R=cameras.R, t=cameras.t, size=size, dist=cameras.dist
    ), 2)  # fmt: skip


def state_of(body, params, move=None):
    output = body(params if move is None else params.replace(transl=params.transl + move))
    return BodyState(body, params, output)


def test_what_is_in_the_image_costs_nothing(scene):
    body, params, frames = scene
    large = frames.cameras.size + 1e6
    from dataclasses import replace

    inside = ImageFrameInput(replace(frames.cameras, size=large), 2)
    pixels, _, valid = inside.cameras.project(body(params).joints)
    beside = torch.where(valid, (-pixels).clamp_min(0).square().sum(-1), 0.0).sum() / valid.sum()
    assert float(InImageHandler()(state_of(body, params), inside)) == pytest.approx(float(beside))
    assert not inside.observed().any()
    assert inside[torch.tensor([True, False])].batch_size == 1


def test_the_quadratic_model_is_that_of_the_loss(scene):
    body, params, frames = scene
    handler = InImageHandler()
    term = active(handler, frames)
    model = point_model(term, state_of(body, params))
    value = handler(state_of(body, params), frames)
    assert float(value) > 0
    per_frame = term.per_frame(state_of(body, params))
    assert float(per_frame.sum()) == pytest.approx(float(value), rel=1e-12)
    move = torch.zeros_like(params.transl).requires_grad_()
    (slope,) = torch.autograd.grad(handler(state_of(body, params, move), frames), move)
    torch.testing.assert_close(model.gradient.sum(1), slope, rtol=1e-9, atol=1e-12)
    assert torch.linalg.eigvalsh(model.hessian).min() >= -1e-9
