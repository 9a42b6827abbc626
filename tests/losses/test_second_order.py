"""What every registered loss states: its value is the sum of its terms, slopes that it hands in are derivatives."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import jacobian

from smilfit import losses
from smilfit.losses import (
    BaseLoss,
    CentreHeatmapLoss,
    Energies,
    HeatmapLoss,
    Residuals,
    SampledPosePriorLoss,
    TriangulationConsistencyLoss,
    fit_pose_mixture,
    reduced,
)
from smilfit.registry import LOSSES
from tests.animals import marked_animal
from tests.handlers.worm import worm_data

DATA = replace(
    (ANIMAL := marked_animal(n_joints=8)),
    joint_groups={**ANIMAL.joint_groups, 'spine': ANIMAL.joint_names[1:4], 'foot': ANIMAL.joint_names[-1:]},
)
# A worm whose joints are all near each other.
CURLED = worm_data(8)
DRAW = torch.Generator().manual_seed(0)


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=DRAW).double()


POSE, POINTS, SIZE = 0.8 * draw(4, 7, 3), draw(4, 8, 3), 1 + draw(4).square()
CONFIDENCE = torch.rand(4, 8, generator=DRAW).double()
LIMBS = torch.tensor([[0, 1], [2, 3], [5, 7]])
ALPHA, MASK = torch.rand(2, 4, 3, 5, 6, generator=DRAW).double()
VIEWS = dict(mask=(MASK > 0.5).double(), view_weight=torch.rand(4, 3, generator=DRAW).double())
MIXTURE = fit_pose_mixture(draw(60, 7, 3).numpy(), 2)


@dataclass(frozen=True)
class Case:
    """A loss, its first argument by name, and the others."""

    make: Callable[[], BaseLoss]
    first: str
    value: Tensor
    others: dict[str, Any]

    def loss(self) -> BaseLoss:
        loss = self.make()
        loss.bind_body(CURLED if isinstance(loss, losses.SelfPenetrationLoss) else DATA)
        return loss

    def stated(self, value: Tensor | None = None) -> tuple[Residuals | Energies, ...]:
        value = self.value if value is None else value
        return self.loss().stated(**{self.first: value}, **self.others)

    def of(self, value: Tensor, **overrides: Any) -> Tensor:
        return self.loss()(**{self.first: value}, **self.others, **overrides)


def case(kind: str, first: str, value: Tensor, others: dict[str, Any] | None = None, **settings: Any) -> Case:
    return Case(partial(getattr(losses, kind), **settings), first, value, others or {})


GROUND = dict(points=POINTS, contact=CONFIDENCE)
SEEN = dict(target=POINTS.flip(0), target_conf=CONFIDENCE)
CASES = {
    'pose_reg': case('PoseRegLoss', 'body_pose', POSE, loss_weight=3.0),
    'mahalanobis': case('MahalanobisPosePriorLoss', 'body_pose', POSE),
    'mixture': case('MaxMixturePriorLoss', 'body_pose', POSE, mixture=MIXTURE),
    'limits': case('JointLimitLoss', 'body_pose', POSE, loss_weight=2.0),
    'joint_prior': case(
        'JointPriorLoss', 'body_pose', POSE, use_full_body=True, smooth_spine=True, lock_foot=True
    ),
    'splay': case('SplayPriorLoss', 'body_pose', POSE),
    'betas': case('ShapePriorLoss', 'betas', draw(4, 3)),
    'kinds': case('ShapeMixturePriorLoss', 'betas', draw(4, 3)),
    'scales': case('JointScalePriorLoss', 'extras', POINTS),
    'offsets': case('JointOffsetPriorLoss', 'extras', POINTS, loss_weight=0.5),
    'landmarks': case('LandmarkOffsetPriorLoss', 'landmark_offsets', POINTS[:, :3], loss_weight=0.5),
    'part_sizes': case('PartSizePriorLoss', 'part_sizes', POINTS[:, 0, :2], wall=0.5),
    'ties': case('TiedJointScalePriorLoss', 'log_joint_scales', 0.3 * POINTS, groups=('spine',), tie=7.0),
    'focal': case('FocalPriorLoss', 'log_focal', draw(4, 1), sd=0.2),
    'keypoints': case('KeypointMSELoss', 'pred', POINTS, SEEN),
    'keypoints_robust': case('KeypointMSELoss', 'pred', POINTS, SEEN, sigma=0.7, loss_weight=3.0),
    'keypoints_l1': case('KeypointL1Loss', 'pred', POINTS, SEEN, eps=0.4),
    'keypoint_steps': case('KeypointStepLoss', 'pred', POINTS, dict(weight=CONFIDENCE), eps=0.4),
    'limbs': case('LimbLengthLoss', 'pred', POINTS, SEEN | dict(limbs=LIMBS), loss_weight=4.0),
    'distances': case(
        'PointDistanceLoss',
        'difference',
        POINTS,
        dict(weight=CONFIDENCE),
        sigma=0.8,
        trim=0.2,
        max_distance=2.0,
    ),
    'self_penetration': case(
        'SelfPenetrationLoss', 'joints', 0.1 * POINTS, dict(scale=torch.ones(4).double(), body_size=SIZE)
    ),
    'ground': case('GroundContactLoss', 'height', POINTS[..., 2], GROUND, contact_weight=2.0),
    'sliding': case('GroundContactLoss', 'height', POINTS[..., 2], GROUND, slip_weight=0.7),
    'smooth_l1': case('SmoothJointLoss', 'body_pose', POSE, degree=False),
    'smooth_l2': case('SmoothJointLoss', 'body_pose', 50 * POSE, degree=True, loss_func='L2'),
    'velocity': case('SmoothPointsLoss', 'points', POINTS, dict(body_size=SIZE), order=1),
    'acceleration': case('SmoothPointsLoss', 'points', POINTS, dict(body_size=SIZE), loss_weight=2.0),
    'jumps': case('SmoothPointsLoss', 'points', POINTS, dict(body_size=SIZE), sigma=0.3),
    'mask_l2': case('SilhouetteL2Loss', 'alpha', ALPHA, VIEWS),
    'mask_l1': case('SilhouetteL1Loss', 'alpha', ALPHA, VIEWS),
    'mask_bce': case('SilhouetteBCELoss', 'alpha', ALPHA, VIEWS),
    'mask_iou': case('SilhouetteIoULoss', 'alpha', ALPHA, VIEWS),
    'mask_outline': case('SilhouetteDistanceTransformLoss', 'alpha', ALPHA, VIEWS),
}
of_each_loss = pytest.mark.parametrize('name', CASES)


def test_every_registered_loss_has_a_case():
    covered = {type(c.make()) for c in CASES.values()}
    # Those of networks are in no fit; a prior of sampled poses is a Mahalanobis prior once its poses are drawn.
    of_networks = {HeatmapLoss, CentreHeatmapLoss, TriangulationConsistencyLoss}
    assert covered | of_networks | {SampledPosePriorLoss} == set(LOSSES.module_dict.values())


@of_each_loss
def test_slopes_are_the_automatic_derivative(name):
    this = CASES[name]
    for index, item in enumerate(this.stated()):
        if isinstance(item, Energies):
            continue
        if item.slope is None and not item.pointwise:
            continue
        exact = jacobian(lambda v, i=index: this.stated(v)[i].value, this.value)
        batch = range(len(this.value))
        exact = torch.stack([exact.select(item.value.ndim, b)[b] for b in batch])
        if item.pointwise:
            # (B, *terms, D, *terms, d): nothing beside the vector at the same place.
            count = item.value[0, ..., 0].numel()
            exact = exact.reshape(len(batch), count, item.value.shape[-1], count, this.value.shape[-1])
            own = exact.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)
            torch.testing.assert_close(own.norm(), exact.norm())
            exact = own.reshape(*item.value.shape, this.value.shape[-1])
        else:
            exact = exact.reshape(len(batch), item.value[0].numel(), -1)
        if item.slope is not None:
            torch.testing.assert_close(item.slope.expand_as(exact).to(exact), exact, rtol=1e-5, atol=1e-6)


@of_each_loss
def test_the_value_is_the_sum_of_what_is_stated(name):
    this = CASES[name]
    weight = this.loss().loss_weight
    total, sums, means = 0.0, [], []
    for item in this.stated():
        if isinstance(item, Energies):
            terms = item.value if item.weight is None else item.weight * item.value
            total = terms.numel() if item.weight is None else item.weight.sum()
        else:
            squared = item.differences().square()
            squared = squared.sum(-1) if item.by_vector else squared
            terms = item.factor * item.weights() * (item.robust(squared)[0] if item.robust else squared)
            torch.testing.assert_close(item.terms().weighted, terms)
            plain = item.value.numel() if item.weight is None else item.weight.sum()
            total = plain if item.count is None else item.count
        sums.append(weight * terms.sum())
        means.append(weight * terms.sum() / total)
    torch.testing.assert_close(this.of(this.value, reduction_override='sum'), sum(sums))
    torch.testing.assert_close(this.of(this.value, reduction_override='mean'), sum(means))
    none = this.of(this.value, reduction_override='none')
    assert len(none) == len(this.value)
    torch.testing.assert_close(none.sum(), sum(sums))
    tripled = this.of(this.value, reduction_override='sum', loss_weight_override=3 * weight)
    torch.testing.assert_close(tripled, 3 * sum(sums))


@of_each_loss
def test_the_gradient_is_that_of_finite_differences(name):
    this = CASES[name]
    value = this.value.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(this.of(value, reduction_override='sum'), value)
    for seed in range(3):
        way = torch.randn(value.shape, generator=torch.Generator().manual_seed(seed)).double()
        ahead, behind = (this.of(this.value + s * way, reduction_override='sum') for s in (1e-6, -1e-6))
        exact = (ahead - behind) / 2e-6
        # Of bones that nearly cross, the direction that leads them apart is held: a thousandth of a length.
        rtol = 2e-3 if name == 'self_penetration' else 1e-4
        torch.testing.assert_close((gradient * way).sum(), exact.detach(), rtol=rtol, atol=1e-5)


@of_each_loss
@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
def test_what_has_no_weight_has_no_effect_and_no_gradient(name, reduction):
    for item in CASES[name].stated():
        shape = item.value.shape[:-1] if isinstance(item, Residuals) and item.by_vector else item.value.shape
        weight = (torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.6).double()
        gone = weight == 0
        odd = item.value.detach().clone()
        odd[gone] = torch.nan
        if isinstance(item, Residuals) and item.order:
            # A difference over frames takes part as soon as one of its ends does.
            weight, odd = torch.zeros_like(weight), torch.full_like(odd, torch.nan)
        given, value = odd.requires_grad_(), item.value.detach()
        result = reduced((replace(item, value=given, weight=weight),), 1.0, reduction)
        wanted = reduced((replace(item, value=value, weight=weight),), 1.0, reduction)
        torch.testing.assert_close(result, wanted)
        (gradient,) = torch.autograd.grad(result.sum(), given)
        assert torch.equal(gradient[weight == 0], torch.zeros_like(gradient[weight == 0]))
        assert gradient.isfinite().all()


@of_each_loss
def test_means_are_those_of_all_frames_whatever_block_is_looked_at(name):
    this = CASES[name]
    whole, batch = this.stated(), len(this.value)
    rows = [slice(0, 1), slice(1, batch)]

    def part(row: slice) -> tuple[Residuals | Energies, ...]:
        others = {
            k: v[row] if isinstance(v, Tensor) and v is not LIMBS else v for k, v in this.others.items()
        }
        return this.loss().stated(**{this.first: this.value[row]}, **others)

    for index, item in enumerate(whole):
        added = sum(part(row)[index].total() for row in rows)
        # What slides over the border of two blocks is one term less, and its weight counts by `count`.
        torch.testing.assert_close(added, item.total())


@pytest.mark.parametrize('order', [1, 2])
def test_differences_leave_gaps_alone(order):
    points, size = draw(7, 4, 3), 1 + draw(7).square()
    continuous = torch.tensor([False, True, True, False, True, True, True])
    (item,) = losses.SmoothPointsLoss(order=order).stated(points, size)
    weighted = item.terms(continuous).weighted
    change = points.diff(n=order, dim=0).square().sum(-1) / size[order:, None].square()
    torch.testing.assert_close(weighted[order:][continuous[order:]], change[continuous[order:]])
    assert weighted[:order].abs().sum() == 0
    assert weighted[~continuous].abs().sum() == 0
