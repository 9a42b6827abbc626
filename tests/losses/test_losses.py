"""What the losses say, against formulas written out by hand."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.losses import (
    GemanMcClure,
    GroundContactLoss,
    JointLimitLoss,
    JointPriorLoss,
    KeypointMSELoss,
    LimbLengthLoss,
    MahalanobisPosePriorLoss,
    MaxMixturePriorLoss,
    PoseRegLoss,
    ShapePriorLoss,
    SmoothJointLoss,
    SmoothPointsLoss,
)
from tests.animals import small_animal, static_animal


def test_keypoints_mean_is_by_valid_weight_and_blind_to_the_batch():
    loss = KeypointMSELoss()
    pred, target = torch.randn(2, 3, 5, 2), torch.randn(2, 3, 5, 2)
    conf = torch.rand(2, 3, 5)
    conf[0, 1] = 0
    by_hand = ((pred - target).square().sum(-1) * conf).sum() / conf.sum()
    assert torch.allclose(loss(pred, target, target_conf=conf), by_hand)
    twice = [torch.cat([x, x]) for x in (pred, target, conf)]
    assert torch.allclose(loss(twice[0], twice[1], target_conf=twice[2]), by_hand)
    assert torch.allclose(
        loss(pred, target, target_conf=conf, reduction_override='sum'), by_hand * conf.sum()
    )
    none = loss(pred, target, target_conf=conf, reduction_override='none', loss_weight_override=3.0)
    assert none.shape == (2, 3, 5)
    assert torch.allclose(none.sum() / conf.sum(), 3 * by_hand)


def test_keypoints_are_robust_once_and_in_their_unit():
    """Sigma bounds the residual itself, not its square: half the square at sigma, at most sigma^2."""
    residual = torch.tensor([0.0, 1.0, 10.0, 1e4])
    loss = KeypointMSELoss(sigma=10.0, reduction='none')
    value = loss(torch.stack([residual, 0 * residual], -1)[None], torch.zeros(1, 4, 2))[0]
    assert torch.allclose(value, torch.tensor([0.0, 1 / 1.01, 50.0, 100.0]), rtol=1e-5)
    small = torch.tensor(1e-3)
    assert torch.allclose(GemanMcClure(100.0)(small**2)[0], small**2)
    far = torch.tensor(1e18, requires_grad=True)
    GemanMcClure(1.0)(far**2)[0].backward()
    assert far.grad.isfinite()


def test_keypoints_do_not_depend_on_the_axes():
    loss = KeypointMSELoss(sigma=0.5)
    pred, target = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    rotation = axis_angle_to_rotmat(torch.randn(3))
    assert torch.allclose(loss(pred, target), loss(pred @ rotation.T, target @ rotation.T), rtol=1e-5)


def test_no_valid_keypoint_is_no_loss_and_no_nan():
    pred = torch.randn(2, 4, 3, requires_grad=True)
    loss = KeypointMSELoss()(pred, torch.zeros(2, 4, 3), target_conf=torch.zeros(2, 4))
    loss.backward()
    assert loss == 0
    assert torch.equal(pred.grad, torch.zeros_like(pred))


def test_limb_lengths_do_not_see_pose_or_place():
    target = torch.randn(2, 4, 3)
    limbs = torch.tensor([[0, 1], [1, 3]])
    moved = target @ axis_angle_to_rotmat(torch.randn(3)).T + 5
    loss = LimbLengthLoss(eps=1e-6)
    assert loss(moved, target, limbs) < 1e-10
    grown = loss(2 * target, target, limbs)
    lengths = (target[:, limbs[:, 0]] - target[:, limbs[:, 1]]).norm(dim=-1)
    assert torch.allclose(grown, lengths.square().mean(), rtol=1e-4)
    conf = torch.ones(2, 4)
    conf[:, 3] = 0
    only = loss(2 * target, target, limbs, target_conf=conf)
    assert torch.allclose(only, lengths[:, 0].square().mean(), rtol=1e-4)


def test_shape_prior_measures_in_standard_deviations():
    data = small_animal()
    loss = ShapePriorLoss(reduction='sum')
    betas = torch.randn(4, 3)
    assert torch.allclose(loss(betas), betas.square().sum())
    loss.bind_body(data)
    d = betas.double().numpy() - data.shape_mean
    want = np.einsum('bi,ij,bj->', d, np.linalg.inv(data.shape_cov), d)
    assert math.isclose(loss(betas).item(), want, rel_tol=2e-3)
    loss.bind_body(replace(data, shape_cov=None, shape_mean=None))
    assert torch.allclose(loss(betas), betas.square().sum())


def test_pose_priors():
    data = small_animal()
    pose = torch.randn(4, 5, 3)
    assert torch.allclose(PoseRegLoss()(pose), pose.square().mean())
    loss = MahalanobisPosePriorLoss(reduction='sum')
    with pytest.raises(ValueError, match='bind_body'):
        loss(pose)
    loss.bind_body(data)
    d = pose.flatten(1).double().numpy() - data.pose_prior_mean
    want = np.einsum('bi,ij,bj->', d, data.pose_prior_precision, d)
    assert math.isclose(loss(pose).item(), want, rel_tol=1e-4)
    with pytest.raises(ValueError, match='must carry a pose_prior'):
        loss.bind_body(replace(data, pose_prior_precision=None))


def test_joint_limits_cost_nothing_inside():
    data = small_animal()
    loss = JointLimitLoss(reduction='sum')
    loss.bind_body(data)
    pose = torch.zeros(1, 5, 3)
    pose[0, 0] = torch.tensor([0.69, -0.49, 0.0])
    assert loss(pose) == 0
    pose[0, 1] = torch.tensor([0.9, -0.6, 0.0])
    assert torch.allclose(loss(pose), torch.tensor(0.2**2 + 0.1**2))
    with pytest.raises(ValueError, match='must state joint limits'):
        loss.bind_body(replace(data, joint_limits=None))


def test_default_limits_give_way_and_stated_ones_hold():
    data = replace(small_animal(), joint_limits_from=('file', 'default', *['user'] * 4))
    loss = JointLimitLoss(reduction='sum', default_factor=1e-3)
    loss.bind_body(data)
    pose = torch.zeros(1, 5, 3)
    pose[0, 0, 0] = 0.9
    assert torch.allclose(loss(pose), torch.tensor(1e-3 * 0.2**2))
    pose[0, 1, 0] = 0.9
    assert torch.allclose(loss(pose), torch.tensor(1.001 * 0.2**2))
    # A joint that is locked is so because nothing moves with it.
    limits = data.joint_limits.copy()
    limits[1] = 0
    loss.bind_body(replace(data, joint_limits=limits))
    assert loss(pose) > 100 * 0.8**2
    # Of a model without limits all are default ones; of one whose all are stated none.
    loss = JointLimitLoss(reduction='sum', default_factor=1e-3, required=False)
    loss.bind_body(replace(data, joint_limits=None, joint_limits_from=()))
    far = torch.full((1, 5, 3), 2.0)
    assert torch.allclose(loss(far), 1e-3 * loss.violation(far).square().sum())
    loss.bind_body(replace(data, joint_limits_from=()))
    assert torch.allclose(loss(pose), torch.tensor(2 * 0.2**2))


def test_joint_prior_is_steep_and_finite():
    data = small_animal()
    loss = JointPriorLoss(use_full_body=True, reduction='sum')
    loss.bind_body(data)
    pose = torch.zeros(1, 5, 3)
    pose[0, 0, 0] = 1.7
    assert torch.allclose(loss(pose), torch.tensor(math.expm1(1.0) ** 2), rtol=1e-5)
    pose = (1e6 * torch.ones(1, 5, 3)).requires_grad_()
    value = loss(pose)
    value.backward()
    assert value.isfinite()
    assert pose.grad.isfinite().all()
    steps = torch.linspace(0.7, 8, 200)
    values = [loss(torch.full((1, 5, 3), float(s))).item() for s in steps]
    assert np.diff(values).min() > 0


def test_joint_prior_parts():
    data = small_animal()
    pose = torch.zeros(1, 5, 3)
    pose[0, :3, 0] = torch.tensor([0.3, -0.3, 0.3])
    hinge = JointPriorLoss(reduction='sum')
    hinge.bind_body(data)
    assert hinge(pose) == 0
    pose_out = pose.clone()
    pose_out[0, 1, 0] = 0.8
    assert hinge(pose_out) > 0
    spine = JointPriorLoss(
        use_full_body=True, smooth_spine=True, smooth_spine_loss_weight=2.0, reduction='sum'
    )
    spine.bind_body(data)
    assert torch.allclose(spine(pose), torch.tensor(2 * 2 * math.expm1(0.09) ** 2), rtol=1e-4)
    foot = JointPriorLoss(use_full_body=True, lock_foot=True, reduction='sum')
    foot.bind_body(data)
    pose[0, 4, 1] = 0.5
    assert torch.allclose(foot(pose), torch.tensor(0.25))
    with pytest.raises(KeyError, match="must name the joint group 'hinge'"):
        JointPriorLoss().bind_body(replace(data, joint_groups={'hinges': ('joint_1',)}))


def write_mixture(folder, dimensions, n=3, seed=0):
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n, dimensions, dimensions))
    mixture = {
        'means': rng.normal(size=(n, dimensions)),
        'covars': factors @ factors.transpose(0, 2, 1) + np.eye(dimensions),
        'weights': rng.dirichlet(np.ones(n)),
    }
    (folder / f'gmm_{n:02d}.pkl').write_bytes(pickle.dumps(mixture, protocol=2))
    return mixture


def test_max_mixture_is_the_nearest_gaussian(tmp_path):
    data = static_animal()
    mixture = write_mixture(tmp_path, 15)
    loss = MaxMixturePriorLoss(tmp_path, num_gaussians=3, reduction='none')
    loss.bind_body(data)
    pose = torch.randn(4, 5, 3)
    d = pose.flatten(1).double().numpy()[:, None] - mixture['means']
    mahalanobis = np.einsum('bmi,mij,bmj->bm', d, np.linalg.inv(mixture['covars']), d)
    determinants = np.sqrt(np.linalg.det(mixture['covars']))
    weights = mixture['weights'] / ((2 * np.pi) ** 7.5 * determinants / determinants.min())
    assert np.allclose(loss(pose), (0.5 * mahalanobis - np.log(weights)).min(1), rtol=1e-4)
    with pytest.raises(ValueError, match='27 dimensions for small; got 15'):
        loss.bind_body(static_animal(n_joints=10))
    with pytest.raises(FileNotFoundError, match=r'gmm_08\.pkl'):
        MaxMixturePriorLoss(tmp_path)


def test_smoothness():
    still = torch.randn(1, 5, 3).expand(6, -1, -1)
    assert SmoothJointLoss()(still) == 0
    assert SmoothJointLoss()(still[:1]) == 0
    turning = torch.zeros(3, 1, 3)
    turning[:, 0, 2] = torch.tensor([0.0, 0.01, 0.02])
    one = SmoothJointLoss(loss_func='L1', reduction='sum')(turning)
    # Two columns turn by 0.01 rad, twice.
    assert torch.allclose(one, torch.tensor(4 * 0.01), rtol=1e-2)
    in_degrees = turning * 180 / math.pi
    assert torch.allclose(SmoothJointLoss(reduction='sum', degree=True)(in_degrees), one)
    steady = torch.arange(6.0).reshape(6, 1, 1) * torch.randn(1, 4, 3)
    size = torch.full((6,), 2.0)
    assert SmoothPointsLoss(order=2)(steady, size) < 1e-10
    velocity = steady.diff(dim=0).square().sum() / 4
    assert torch.allclose(SmoothPointsLoss(order=1, reduction='sum')(steady, size), velocity)


def test_jumps_cost_less_and_small_changes_the_same():
    size = torch.full((8,), 2.0)
    for change, least, most in ((0.001, 0.999, 1.0), (1.0, 0.0, 0.02)):
        points = torch.zeros(8, 1, 3)
        points[4:, 0, 0] = 2.0 * change
        plain, robust = (SmoothPointsLoss(sigma=sigma)(points, size) for sigma in (None, 0.05))
        assert least < robust / plain < most


@pytest.mark.parametrize('loss_func', ['L1', 'L2'])
@pytest.mark.parametrize('degree', [False, True])
def test_smooth_joints_are_the_mean_over_frames_of_what_xrmocap_sums(loss_func, degree):
    pose = torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(0)).double()
    matrices = Rotation.from_rotvec(pose.reshape(-1, 3).numpy()).as_matrix().reshape(6, 4, 3, 3)
    change = np.diff(matrices[..., :2], axis=0)
    change = np.abs(change) if loss_func == 'L1' else change**2
    want = np.concatenate([[0.0], change.sum((1, 2, 3))])
    given = pose * 180 / math.pi if degree else pose
    loss = SmoothJointLoss(degree=degree, loss_func=loss_func)
    assert math.isclose(loss(given).item(), want.mean(), rel_tol=1e-5)
    by_frame = loss(given, reduction_override='none').flatten(1).sum(1)
    assert np.allclose(by_frame.numpy(), want, atol=1e-4)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: KeypointMSELoss(reduction='average'), 'reduction must be one of'),
        (lambda: KeypointMSELoss(sigma=0.0), 'sigma must be positive'),
        (lambda: SmoothJointLoss(loss_func='L3'), 'loss_func must be one of'),
        (lambda: SmoothPointsLoss(order=3), 'order must be 1'),
        (lambda: SmoothPointsLoss(sigma=0.0), 'sigma must be finite and above 0'),
    ],
)
def test_wrong_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_only_a_point_that_stands_before_and_after_slides():
    points = torch.zeros(3, 2, 3)
    points[1:, :, 0] = 1.0
    loss = GroundContactLoss(contact_weight=0.0, slip_weight=2.0, reduction='sum')
    # The first point stands in all frames and moves a unit once; the second is in the air before it moves.
    contact = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    assert float(loss(torch.zeros(3, 2), points=points, contact=contact)) == pytest.approx(2.0)
