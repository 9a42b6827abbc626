"""Priors fitted to a user's poses: known distributions are found again, and serve in a fit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL, load_body_model
from smilfit.losses import (
    MahalanobisPosePriorLoss,
    MaxMixturePriorLoss,
    PoseGaussian,
    PoseMixture,
    fit_pose_gaussian,
    fit_pose_mixture,
    read_pose_gaussian,
    read_pose_mixture,
)
from smilfit.losses.max_mixture import em_step
from smilfit.registry import build_loss, build_registrant
from smilfit.structures import Keypoints3d
from tests.animals import random_params, static_animal


def draw(mixture, n, seed=0):
    rng = np.random.default_rng(seed)
    which = rng.choice(len(mixture.weights), n, p=mixture.weights)
    factors = np.linalg.cholesky(mixture.covariances)
    return mixture.means[which] + np.einsum(
        'nij,nj->ni', factors[which], rng.normal(size=(n, mixture.means.shape[1]))
    )


def known_mixture(d=6, seed=0):
    rng = np.random.default_rng(seed)
    factors = 0.1 * rng.normal(size=(3, d, d))
    covariances = factors @ factors.transpose(0, 2, 1) + 0.01 * np.eye(d)
    return PoseMixture(rng.normal(size=(3, d)), covariances, np.array([0.5, 0.3, 0.2]))


def test_a_known_mixture_is_found_again(tmp_path):
    truth = known_mixture()
    poses = draw(truth, 4000)
    result = fit_pose_mixture(torch.as_tensor(poses).unflatten(1, (2, 3)), 3)
    order = [np.linalg.norm(result.means - mean, axis=1).argmin() for mean in truth.means]
    assert sorted(order) == [0, 1, 2]
    assert np.abs(result.weights[order] - truth.weights).max() < 0.02
    assert np.abs(result.means[order] - truth.means).max() < 0.03
    assert np.abs(result.covariances[order] - truth.covariances).max() < 0.02
    fresh = draw(truth, 2000, seed=1)
    assert abs(result.log_likelihood(fresh) - truth.log_likelihood(fresh)) < 0.03
    again = read_pose_mixture(result.save(tmp_path / 'mine'))
    assert np.array_equal(again.covariances, result.covariances)
    same = fit_pose_mixture(poses, 3)
    assert np.array_equal(same.means, result.means)


@pytest.mark.parametrize('least_variance', [1e-6, 0.05])
def test_every_round_of_em_makes_the_poses_likelier(least_variance):
    poses = draw(known_mixture(), 300)
    mixture = PoseMixture(poses[:4], np.stack([np.eye(6)] * 4), np.full(4, 0.25))
    likelihoods = []
    for _ in range(30):
        mixture, likelihood = em_step(mixture, poses, least_variance)
        likelihoods.append(likelihood)
    assert (np.diff(likelihoods) > -1e-10).all()
    assert likelihoods[-1] > likelihoods[0] + 1
    assert np.linalg.eigvalsh(mixture.covariances).min() > 0.999 * least_variance


def test_few_and_equal_poses_make_no_needle():
    mixture = fit_pose_mixture(np.zeros((5, 6)), 3, least_variance=0.01)
    assert np.linalg.eigvalsh(mixture.covariances).min() >= 0.0099
    loss = MaxMixturePriorLoss(mixture=mixture)
    assert loss(torch.zeros(1, 2, 3)).isfinite()


def test_a_correlation_is_found_and_shrunk_where_poses_are_few():
    truth = known_mixture(9).covariances[0]
    poses = np.random.default_rng(0).multivariate_normal(np.ones(9), truth, 5000)
    result = fit_pose_gaussian(poses.reshape(-1, 3, 3))
    assert np.abs(result.mean - 1).max() < 0.02
    assert np.abs(result.covariance - truth).max() < 0.01
    few = poses[:12]
    sample, shrunk = fit_pose_gaussian(few, shrinkage=0.0), fit_pose_gaussian(few)
    assert np.allclose(sample.covariance, np.cov(few.T, bias=True))
    assert np.linalg.norm(shrunk.covariance - truth) < np.linalg.norm(sample.covariance - truth)
    assert np.isclose(np.trace(shrunk.covariance), np.trace(sample.covariance))
    level = fit_pose_gaussian(few, shrinkage=1.0).covariance
    assert np.allclose(level, level[0, 0] * np.eye(9))


def test_mahalanobis_of_a_file_with_or_without_the_root(tmp_path):
    data = replace(static_animal(), pose_prior_precision=None)
    d = 3 * (data.n_joints - 1)
    covariance = known_mixture(d + 3).covariances[0]
    mean = np.linspace(-0.2, 0.2, d + 3)
    pose = 0.3 * torch.randn(4, data.n_joints - 1, 3)
    offset = pose.flatten(1).double().numpy() - mean[3:]
    by_hand = np.einsum('bi,ij,bj->b', offset, np.linalg.inv(covariance[3:, 3:]), offset)
    for prior in (PoseGaussian(mean, covariance), PoseGaussian(mean[3:], covariance[3:, 3:])):
        path = prior.save(tmp_path / 'prior')
        loss = build_loss(dict(type='MahalanobisPosePriorLoss', prior_path=path, reduction='none'))
        loss.bind_body(data)
        assert np.allclose(loss(pose).sum(1), by_hand, rtol=1e-4)
    with pytest.raises(
        ValueError, match=r'3 \(J - 1\) = 27 dimensions for small, or 30 with the root; got 15'
    ):
        loss.bind_body(static_animal(n_joints=10))


@pytest.mark.real
def test_smals_prior_file_is_read(real_data):
    path = real_data / 'models' / 'unity_pose_prior_with_cov_35parts.pkl'
    prior = read_pose_gaussian(path)
    assert prior.mean.shape == (105,)
    loss = MahalanobisPosePriorLoss(prior_path=path)
    body = load_body_model(real_data / 'models' / 'SMILy_Mouse_static_joints.pkl')
    with pytest.raises(ValueError, match=r'3 \(J - 1\) = 90 dimensions'):
        loss.bind_body(body.data)
    # A model of 35 joints takes the 34 below the root.
    data = replace(
        static_animal(n_joints=10),
        joint_names=tuple(f'joint_{j}' for j in range(35)),
        pose_prior_precision=None,
    )
    loss.bind_body(data)
    mean = torch.as_tensor(prior.mean[3:], dtype=torch.float32).reshape(1, 34, 3)
    assert loss(mean) < 1e-6
    sd = np.sqrt(np.diag(prior.covariance))[3:].max()
    assert 0 < loss(mean + float(sd)) < 1e4


@pytest.mark.parametrize('kind', ['mixture', 'gaussian'])
def test_a_prior_of_ones_own_fills_in_what_nobody_saw(kind, tmp_path):
    """Joint 5 always does as joint 1 does; only joint 1 is known from the keypoints."""
    body = SMIL(static_animal(n_joints=8)).double()
    rng = np.random.default_rng(0)
    poses = 0.05 * rng.normal(size=(300, 7, 3))
    side = np.where(rng.random(300) < 0.5, 0.6, -0.6)
    poses[:, 0, 0] += side
    poses[:, 4, 0] += side
    names = body.joint_names[:5]
    truth = random_params(body.data, 2, angle=0.0)
    pose = truth.body_pose.clone()
    pose[0, [0, 4], 0], pose[1, [0, 4], 0] = 0.6, -0.6
    truth = truth.replace(body_pose=pose)
    points = body(truth, names).keypoints
    if kind == 'mixture':
        path = fit_pose_mixture(poses, 2).save(tmp_path / 'mine')
        prior = dict(type='MaxMixturePriorLoss', prior_path=path)
    else:
        path = fit_pose_gaussian(poses).save(tmp_path / 'mine')
        prior = dict(type='MahalanobisPosePriorLoss', prior_path=path)

    def wrong(weight):
        config = dict(
            type='SMPLify',
            body_model=body,
            handlers=[dict(type='Keypoint3dMSEHandler'), dict(type='BodyPosePriorHandler', prior_loss=prior)],
            stages=[
                dict(
                    n_iter=10, fit_transl=False, fit_global_orient=False, fit_betas=False, ftol=1e-8,
                    keypoints3d_mse_weight=10.0, body_pose_prior_weight=weight,
                )
            ],
            initializer=None,
        )  # fmt: skip
        start = truth.replace(body_pose=torch.zeros_like(pose))
        seen = Keypoints3d(points, torch.ones(2, 5).double(), names)
        result = build_registrant(config)([seen], start).params.body_pose
        return (result - pose)[:, 4, 0].abs().max()

    assert wrong(0.0) > 0.5
    assert wrong(1e-3) < 0.15


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda p: fit_pose_mixture(np.zeros((2, 6)), 3), 'at least 3 rows'),
        (lambda p: fit_pose_mixture(np.zeros((9, 6)), 0), 'must be positive'),
        (lambda p: fit_pose_mixture(np.full((9, 6), np.nan), 2), 'poses must be finite'),
        (lambda p: fit_pose_gaussian(np.zeros((9, 6)), 2.0), r'shrinkage must be in \[0, 1\]'),
        (lambda p: PoseGaussian(np.zeros(3), np.zeros((2, 2))), 'must fit'),
        (lambda p: PoseGaussian(np.zeros(2), np.full((2, 2), np.nan)), 'must be finite'),
        (lambda p: PoseMixture(np.zeros((2, 3)), np.zeros((2, 3, 3)), np.zeros(3)), 'must fit'),
        (lambda p: read_pose_mixture(PoseGaussian(np.zeros(3), np.eye(3)).save(p / 'a')), 'format must be'),
        (lambda p: read_pose_gaussian(known_mixture().save(p / 'b')), 'format must be'),
        (lambda p: MahalanobisPosePriorLoss(least_sd_rad=0.0), 'must be positive'),
        (lambda p: MaxMixturePriorLoss(prior_path='a', mixture=known_mixture()), 'got both'),
        (
            lambda p: MahalanobisPosePriorLoss(prior_path='a', prior=PoseGaussian(np.zeros(3), np.eye(3))),
            'got both',
        ),
    ],
)
def test_wrong_priors(make, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        make(tmp_path)
    with pytest.raises(FileNotFoundError, match='is not there'):
        MahalanobisPosePriorLoss(prior_path=tmp_path / 'no.npz')
