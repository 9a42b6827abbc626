"""What cameras make of seen keypoints, against the body: perfect ones cost nothing, wrong ones feel a gradient."""

from dataclasses import replace

import pytest
import torch

from smilfit.handlers import BodyState, Keypoint2dInput, TriangulationConsistencyHandler
from smilfit.losses import TriangulationConsistencyLoss
from smilfit.networks.regressors.handler_losses import HandlerLosses, Observation
from smilfit.structures import Cameras, Keypoints2d
from tests.networks.blobs import make_cameras
from tests.toy_samples import toy_body

N_FRAMES = 2


@pytest.fixture
def scene():
    """A body of 10 mm, four cameras of their own for each frame, and what these see."""
    body = toy_body().double()
    params = body.zero_params(N_FRAMES).replace(scale=torch.full((N_FRAMES,), 10.0, dtype=torch.float64))
    params = params.replace(global_orient=torch.randn(N_FRAMES, 3, dtype=torch.float64))
    params = params.replace(betas=torch.randn(N_FRAMES, 2, dtype=torch.float64).requires_grad_())
    output = body(params)
    cameras = make_cameras(4, N_FRAMES).to(torch.float64)
    xy, _, _ = cameras.project(output.joints.detach())
    return BodyState(body, params, output), cameras, xy


def _loss(scene, cameras, confidence=None, loss=None, reduction=None):
    state, _, xy = scene
    confidence = torch.ones_like(xy[..., 0]) if confidence is None else confidence
    handler = TriangulationConsistencyHandler(loss)
    seen = Keypoint2dInput(Keypoints2d(xy, confidence, state.body.joint_names, cameras))
    return handler(state, seen, reduction_override=reduction)


def _shaken(cameras: Cameras, size: float = 2.0) -> Cameras:
    return replace(cameras, t=(cameras.t + size * torch.randn_like(cameras.t)).requires_grad_())


def test_perfect_cameras_cost_nothing(scene):
    assert float(_loss(scene, scene[1], reduction='none').max()) < 1e-10


def test_two_views_are_enough_and_fewer_do_not_count(scene):
    _, cameras, xy = scene
    cameras = _shaken(cameras)
    confidence = torch.zeros_like(xy[..., 0])
    confidence[:, [0, 2]] = 1.0
    confidence[0, 0, 1] = 0
    terms = _loss(scene, cameras, confidence, reduction='none')
    terms = terms.detach()
    assert (terms > 0).sum() == terms.numel() - 1
    assert float(terms[0, 1]) == 0
    confidence[:, 2] = 0
    none = _loss(scene, cameras, confidence)
    assert float(none.detach()) == 0
    none.backward()
    assert cameras.t.grad.isfinite().all()


def test_the_gradient_reaches_the_cameras_and_not_the_body(scene):
    state, cameras, _ = scene
    cameras = replace(
        _shaken(cameras), K=cameras.K.clone().requires_grad_(), R=cameras.R.clone().requires_grad_()
    )
    _loss(scene, cameras).backward()
    for value in (cameras.t, cameras.R, cameras.K):
        assert value.grad.isfinite().all()
        assert float(value.grad.abs().amax((0, 1)).max()) > 0
    assert state.params.betas.grad is None


def test_gradients_agree_with_finite_differences(scene):
    cameras = _shaken(scene[1])

    def loss(t):
        return _loss(scene, replace(cameras, t=t))

    assert torch.autograd.gradcheck(loss, (cameras.t,), atol=1e-5)


def test_a_view_without_labels_feels_nothing(scene):
    _, cameras, xy = scene
    cameras, confidence = _shaken(cameras), torch.ones_like(xy[..., 0])
    confidence[:, 3] = 0
    _loss(scene, cameras, confidence).backward()
    assert float(cameras.t.grad[:, 3].abs().max()) == 0
    assert float(cameras.t.grad[:, :3].abs().min()) > 0


def test_worse_cameras_cost_more(scene):
    torch.manual_seed(3)
    losses = [
        float(_loss(scene, replace(scene[1], t=scene[1].t + size * torch.ones(3)))) for size in (0, 1, 2)
    ]
    # All cameras moved alike see the points at another place.
    assert losses[0] < losses[1] < losses[2]
    bounded = TriangulationConsistencyLoss(sigma=0.1)
    assert float(_loss(scene, _shaken(scene[1]), loss=bounded).detach()) <= 0.1**2


def test_descent_mends_the_cameras(scene):
    cameras = _shaken(scene[1])
    t = cameras.t.detach().clone().requires_grad_()
    optimiser = torch.optim.Adam([t], lr=0.1)
    before = None
    for _ in range(50):
        optimiser.zero_grad()
        loss = _loss(scene, replace(cameras, t=t))
        before = float(loss.detach()) if before is None else before
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.5 * before


def test_training_feeds_it_with_predicted_cameras(scene):
    state, cameras, xy = scene
    cameras = _shaken(cameras)
    points = state.output.joints.detach()
    confidence = torch.ones_like(xy[..., 0])
    seen = Observation(xy, confidence, points, confidence[:, 0], cameras)
    losses = HandlerLosses(state.body, [TriangulationConsistencyHandler()], state.body.joint_names)
    result, _ = losses(state.body, state.params, seen, {'triangulation_consistency': 1.0})
    result['triangulation_consistency'].backward()
    assert float(cameras.t.grad.abs().min()) > 0
    assert state.params.betas.grad is None


def test_a_width_must_be_positive():
    with pytest.raises(ValueError, match='sigma must be positive'):
        TriangulationConsistencyLoss(sigma=0.0)
