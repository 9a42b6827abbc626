"""Losses and handlers of a user's own, stated in each of the ways there are, run under every solver."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from smilfit.body_models import SMIL
from smilfit.handlers import (
    BaseInput,
    Keypoint3dMSEHandler,
    PriorHandler,
    SilhouetteHandler,
    SmoothPoseHandler,
    TermHandler,
)
from smilfit.losses import BaseLoss, Energies, KeypointMSELoss, PoseRegLoss, Residuals, SmoothJointLoss
from smilfit.registrants import SMPLify, Stage
from smilfit.registrants.second_order import body_problem as frame_batch_module
from smilfit.registrants.second_order import body_problem as problem_module
from smilfit.solvers import LBFGS, Adam, LevenbergMarquardt
from smilfit.structures import Keypoints3d
from tests.animals import random_params, static_animal
from tests.toy_regressor import WEIGHTS, make_batch, make_regressor, shaken

FIT = ('global_orient', 'transl', 'body_pose')
FRAMES = 6


def curve(pose: Tensor) -> Tensor:
    """Bends cost more and more."""
    return pose + 0.3 * pose**3


class BendResidual(BaseLoss):
    def residual(self, body_pose: Tensor) -> Tensor:
        return curve(body_pose)


class BendEnergy(BaseLoss):
    def energy(self, body_pose: Tensor) -> Tensor:
        return curve(body_pose).square()


class BendForward(nn.Module):
    """As XRMoCap's losses are written; it knows nothing of ours."""

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__()
        self.reduction, self.loss_weight = reduction, loss_weight

    def forward(
        self,
        body_pose: Tensor,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        weight = self.loss_weight if loss_weight_override is None else loss_weight_override
        terms = weight * curve(body_pose).square()
        reduction = reduction_override or self.reduction
        return {'mean': terms.mean, 'sum': terms.sum, 'none': lambda: terms}[reduction]()


WAYS = [BendResidual, BendEnergy, BendForward]


def noisy_clip(amount: float = 0.1) -> tuple[SMIL, Keypoints3d]:
    """One pose, seen six times with noise."""
    body = SMIL(static_animal(n_joints=5)).double()
    truth = random_params(body.data, 1, angle=0.4).map(lambda x: x.expand(FRAMES, *x.shape[1:]).clone())
    noise = torch.randn(FRAMES, 5, 3, generator=torch.Generator().manual_seed(4)).double()
    seen = body(truth).joints + amount * noise
    return body, Keypoints3d(seen, torch.ones(FRAMES, 5).double(), body.joint_names)


def usual_handlers():
    """Keypoints, and a prior that leaves no pose unknown."""
    return [
        Keypoint3dMSEHandler(KeypointMSELoss(reduction='sum')),
        PriorHandler(PoseRegLoss('sum'), 'rest', of='body_pose'),
    ]


USUAL = {'keypoints3d_mse': 1.0, 'rest': 0.02}


def fit(handlers, weights, solver, n_iter=60, ftol=1e-10, **kwargs):
    body, seen = noisy_clip()
    handlers = [*usual_handlers(), *handlers]
    stage = Stage(n_iter=n_iter, ftol=ftol, fit=FIT, weights={**USUAL, **weights})
    inputs = [seen, *kwargs.pop('inputs', ())]
    return SMPLify(body, [stage], handlers, solver, **kwargs)(inputs)


def loss_end(*args, **kwargs) -> float:
    return fit(*args, **kwargs).history[-1]['loss_end']


@pytest.fixture(scope='module')
def least() -> float:
    """Where L-BFGS ends with the loss that states residuals."""
    return loss_end([PriorHandler(BendResidual(), of='body_pose')], {'prior': 2.0}, LBFGS(), n_iter=60)


@pytest.mark.parametrize('solver', [LBFGS(), LevenbergMarquardt()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize('way', WAYS)
def test_every_way_ends_at_the_same_minimum(way, solver, least):
    handler = PriorHandler(way(), of='body_pose')
    assert loss_end([handler], {'prior': 2.0}, solver, n_iter=60) == pytest.approx(least, rel=1e-6)


@pytest.mark.parametrize('way', WAYS)
def test_every_way_takes_the_same_steps_of_adam(way):
    result, twin = (
        loss_end([PriorHandler(w(), of='body_pose')], {'prior': 2.0}, Adam(lr=0.02), n_iter=20)
        for w in (way, BendResidual)
    )
    assert result == pytest.approx(twin, rel=1e-9)


@pytest.mark.parametrize('way', WAYS)
def test_every_way_trains_a_regressor(way):
    model = shaken(make_regressor(
        further_handlers=[PriorHandler(way(), 'bend', of='body_pose')],
        loss_weights={**dict.fromkeys(WEIGHTS, 0.0), 'bend': 3.0, 'keypoints3d_mse': 1.0},
    ))  # fmt: skip
    batch = make_batch()
    losses = model(**batch, mode='loss')
    pose = model.predict_parameters(batch['inputs']).params.as_axis_angle().body_pose
    torch.testing.assert_close(losses['loss_bend'], 3 * curve(pose).square().mean())
    losses['loss_bend'].backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in model.head.parameters())


def test_a_loss_states_one_thing():
    with pytest.raises(TypeError, match=r'Both: a loss must state one of .* got residual and forward'):

        class Both(BaseLoss):
            def residual(self, body_pose: Tensor) -> Tensor:
                return body_pose

            def forward(self, body_pose: Tensor, **overrides: object) -> Tensor:
                return body_pose.square().sum()

    with pytest.raises(NotImplementedError, match='BaseLoss: a loss must define residual'):
        BaseLoss()(torch.zeros(1, 2))


class WrongSlope(BaseLoss):
    def residual(self, body_pose: Tensor) -> Residuals:
        return Residuals(curve(body_pose), pointwise=True, slope=2 * torch.eye(3).to(body_pose))


class NotPointwise(BaseLoss):
    def residual(self, body_pose: Tensor) -> Residuals:
        return Residuals(body_pose + body_pose.sum(1, keepdim=True), pointwise=True)


@pytest.mark.parametrize('loss', [WrongSlope, NotPointwise])
def test_wrong_claims_are_refused_by_name_before_a_step(loss):
    steps = []
    handler = PriorHandler(loss(), 'mine', of='body_pose')
    with pytest.raises(TypeError, match=r"PriorHandler 'mine' hands in contradict .* gradients differ by"):
        fit([handler], {'mine': 1.0}, LevenbergMarquardt(), hooks=[lambda *a: steps.append(a)])
    assert steps == []
    # Solvers of first order never read slopes.
    fit([handler], {'mine': 1.0}, LBFGS(), n_iter=2)


class PlaceLoss(BaseLoss):
    """Of several quantities, as pairs that any of them may move."""

    def residual(self, transl: Tensor, log_scale: Tensor, global_orient: Tensor) -> Tensor:
        return torch.cat((transl - 0.3, log_scale.unsqueeze(1) * transl, global_orient), 1)


def test_a_prior_of_place_scale_and_direction_has_all_its_derivatives():
    of = ('transl', 'log_scale', 'global_orient')
    ends = [
        loss_end([PriorHandler(PlaceLoss(), of=of)], {'prior': 5.0}, s, n_iter=60)
        for s in (LBFGS(), LevenbergMarquardt())
    ]
    assert ends[1] == pytest.approx(ends[0], rel=1e-6)


class OneNumber(BaseLoss):
    def residual(self, transl: Tensor) -> Tensor:
        return transl.square().sum(1).add(0.1).sqrt()


def test_one_number_a_frame_is_a_residual():
    ends = [
        loss_end([PriorHandler(OneNumber(), of='transl')], {'prior': 5.0}, s, n_iter=60)
        for s in (LBFGS(), LevenbergMarquardt())
    ]
    assert ends[1] == pytest.approx(ends[0], rel=1e-6)


@dataclass
class Heights(BaseInput):
    """A made-up instrument: how high the first joint stands in each frame."""

    height: Tensor
    sure: Tensor
    handler_key: str = 'altimeter'
    rows = ('height', 'sure')


class AltimeterHandler(TermHandler):
    input_type = Heights
    default_key = 'altimeter'

    def need(self, related_input: Heights | None) -> tuple[str, ...]:
        return ('joints',)

    def residual(self, state, related_input: Heights) -> Residuals:
        off = state.output.joints[:, :1, 2] - related_input.height.unsqueeze(1)
        return Residuals(off, related_input.sure.unsqueeze(1))


class AltimeterEnergyHandler(AltimeterHandler):
    residual = TermHandler.residual

    def energy(self, state, related_input: Heights) -> Energies:
        # A product with what is no number is none: unlike a difference, it must be left out before it is squared.
        off = state.output.joints[:, 0, 2] - related_input.height.nan_to_num()
        return Energies(off.square(), related_input.sure)


@pytest.mark.parametrize('kind', [AltimeterHandler, AltimeterEnergyHandler])
@pytest.mark.parametrize('solver', [LBFGS(), LevenbergMarquardt()], ids=lambda s: type(s).__name__)
def test_a_handler_and_loss_in_one_class_with_an_input_of_its_own(kind, solver):
    sure = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0, 1.0]).double()
    height = torch.where(sure > 0, 2.0, torch.nan)
    seen = Heights(height, sure)
    assert len(seen[torch.tensor([0, 2])].height) == seen[torch.tensor([0, 2])].batch_size == 2
    result = fit([kind()], {'altimeter': 100.0}, solver, n_iter=40, inputs=[seen])
    matches = result.joints()[:, 0, 2]
    free = fit([], {}, solver, n_iter=40).joints()[:, 0, 2]
    away = (free - 2)[sure > 0]
    assert ((matches - 2)[sure > 0].abs() < 0.3 * away.abs()).all()
    assert (matches[2] - free[2]).abs() < 1e-3
    assert result.history[-1]['terms']['altimeter'] < 10 * away.square().mean()


def test_absolute_changes_of_pose_end_where_lbfgs_ends():
    ends = []
    for solver in (LBFGS(), LevenbergMarquardt()):
        handler = SmoothPoseHandler(SmoothJointLoss(loss_func='L1'))
        ends.append(loss_end([handler], {'smooth_pose': 0.3}, solver, n_iter=60, ftol=1e-9))
    # Neither is smooth at the bottom, where a pose rests; both come within a thousandth.
    assert ends[1] <= ends[0] * (1 + 1e-3), ends


class SteadySquares(BaseLoss):
    """Changes from frame to frame of a curve of the pose; nobody has written its derivative down."""

    frame_order = 1

    def residual(self, body_pose: Tensor) -> Residuals:
        return Residuals(curve(body_pose).flatten(1), count=1.0, order=1)


@pytest.mark.parametrize('frames', [None, [0, 1, 2, 6, 7, 8]])
def test_motion_of_any_residual_couples_frames(frames):
    body, seen = noisy_clip()
    handlers = [*usual_handlers(), PriorHandler(SteadySquares(), of='body_pose')]
    stage = Stage(n_iter=60, ftol=1e-10, fit=FIT, weights={**USUAL, 'prior': 3.0})
    ours, theirs = (
        SMPLify(body, [stage], handlers, s)([seen], frames=frames) for s in (LevenbergMarquardt(), LBFGS())
    )
    assert ours.history[-1]['engine'] == 'banded'
    assert ours.history[-1]['loss_end'] == pytest.approx(theirs.history[-1]['loss_end'], rel=1e-6)
    jumps = ours.params.body_pose.diff(dim=0).square().sum((1, 2))
    if frames is not None:
        # Nothing holds the two sides of a gap together.
        assert jumps[2] > 3 * jumps[[0, 1, 3, 4]].max()


class ForgottenOrder(SteadySquares):
    frame_order = 0


@pytest.mark.parametrize('solver', [LBFGS(), LevenbergMarquardt()], ids=lambda s: type(s).__name__)
def test_an_order_that_is_not_declared_is_refused_by_name(solver):
    handler = PriorHandler(ForgottenOrder(), 'steady', of='body_pose')
    with pytest.raises(TypeError, match=r"PriorHandler 'steady': frame_order must say .* ForgottenOrder"):
        fit([handler], {'steady': 1.0}, solver)


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('shared', [False, True])
def test_means_are_of_the_whole_clip_whatever_block_is_looked_at(way, shared, monkeypatch):
    def ends():
        handler = PriorHandler(way(), of='body_pose')
        result = fit([handler], {'prior': 4.0}, LevenbergMarquardt(), use_one_betas_per_video=shared)
        return result.joints(), result.history[-1]['loss_end']

    whole = ends()
    monkeypatch.setattr(problem_module, 'BLOCK', 2)
    monkeypatch.setattr(frame_batch_module, 'CHUNK', 1)
    parts = ends()
    torch.testing.assert_close(whole[0], parts[0], rtol=0, atol=1e-6)
    assert parts[1] == pytest.approx(whole[1], rel=1e-9)


def test_a_rendered_energy_is_refused_by_name_before_any_stage_works():
    body, seen = noisy_clip()
    steps = []
    stages = [
        Stage(n_iter=5, fit=FIT, weights=USUAL),
        Stage(n_iter=5, fit=FIT, weights={'silhouette': 1.0}, name='outline'),
    ]
    handlers = [*usual_handlers(), SilhouetteHandler()]
    fitter = SMPLify(body, stages, handlers, LevenbergMarquardt(), hooks=[lambda *a: steps.append(a)])
    refused = (
        "outline weights SilhouetteHandler 'silhouette', of which SilhouetteRenderer has no second derivative"
    )
    with pytest.raises(TypeError, match=refused):
        fitter([seen])
    assert steps == []


class OneNumberForAll(BendForward):
    """Reduces whatever it is asked for."""

    def forward(self, body_pose: Tensor, **overrides: object) -> Tensor:
        return curve(body_pose).square().mean()


def test_a_number_for_all_frames_is_for_first_order_only():
    handler = PriorHandler(OneNumberForAll(), 'mine', of='body_pose')
    with pytest.raises(TypeError, match=r"PriorHandler 'mine' must give terms of every frame"):
        fit([handler], {'mine': 1.0}, LevenbergMarquardt())
    assert fit([handler], {'mine': 1.0}, LBFGS(), n_iter=2).history[-1]['terms']['mine'] > 0
