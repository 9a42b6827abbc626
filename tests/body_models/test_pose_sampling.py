"""Bodies drawn at random."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.body_models.pose_sampling import (
    GivenPoses,
    LimitPoses,
    MixedPoses,
    PoseSampler,
    joint_chains,
    mirror_partners,
    mirrored_joints,
    read_poses,
)
from smilfit.files import BadFileError
from smilfit.structures import BodyParams
from smilfit.synthetic import make_insect, make_quadruped


@pytest.fixture(scope='module')
def data():
    return make_quadruped()


def _bare(data):
    """A model that states nothing but mesh and tree."""
    return replace(
        *(data,),
        **dict.fromkeys(('joint_limits', 'shapedirs', 'shape_mean', 'shape_cov', 'scaledirs', 'transdirs')),
        joint_symmetry=(),
    )


def test_limit_poses_stay_within_and_crowd_about_the_centre(data):
    source = LimitPoses()
    source.bind(data)
    poses = source(2000, torch.Generator().manual_seed(0))
    low, high = torch.as_tensor(data.joint_limits[1:]).float().unbind(-1)
    assert ((poses >= low - 1e-6) & (poses <= high + 1e-6)).all()
    free = high - low > 1e-3
    share = ((poses - low) / (high - low).clamp_min(1e-3))[:, free]
    # Uniform poses would have a third of all components in the outer sixths.
    assert ((share < 1 / 6) | (share > 5 / 6)).float().mean() < 0.2
    assert share.std(0).min() > 0.05


@pytest.mark.parametrize('make', [make_quadruped, make_insect])
@pytest.mark.parametrize('bare', [False, True])
def test_any_model_can_be_sampled(make, bare):
    body = SMIL(_bare(make()) if bare else make())
    params = PoseSampler(body, scale=40.0)(50, torch.Generator().manual_seed(0))
    assert body(params).joints.isfinite().all()
    assert params.betas.shape == (50, body.n_betas)
    assert params.part_sizes.abs().max() <= 0.3
    assert 30 < params.scale.median() < 50
    again = PoseSampler(body, scale=40.0)(50, torch.Generator().manual_seed(0))
    assert all(torch.equal(value, getattr(again, name)) for name, value in params.as_dict().items())


def test_shapes_follow_the_models_distribution():
    mean, cov = np.array([1.0, -2.0]), np.array([[1.0, 0.6], [0.6, 0.5]])
    plain = make_quadruped()
    data = replace(plain, shapedirs=plain.shapedirs[..., :2], shape_mean=mean, shape_cov=cov)
    betas = PoseSampler(SMIL(data))(4000, torch.Generator().manual_seed(0)).betas.numpy()
    np.testing.assert_allclose(betas.mean(0), mean, atol=0.06)
    # Cut at two standard deviations, which leaves 0.92 of the variance at such edges.
    np.testing.assert_allclose(np.cov(betas.T), cov, atol=0.15)


def test_chains_part_the_tree(data):
    chains = joint_chains(data)
    assert sorted(j for chain in chains for j in chain) == list(range(1, data.n_joints))
    parents = data.parents.tolist()
    assert all(parents[b] == a for chain in chains for a, b in zip(chain, chain[1:]))
    assert max(len(chain) for chain in chains) >= 3


def test_recombined_chains_come_from_given_poses(data):
    given = torch.randn(7, data.n_joints - 1, 3)
    source = GivenPoses(given, recombined=0.5, mirrored=0.0, noise_rad=0.0)
    source.bind(data)
    drawn = source(200, torch.Generator().manual_seed(0))
    origin = []
    for chain in joint_chains(data):
        rows = [j - 1 for j in chain]
        same = (drawn[:, None, rows] == given[None, :, rows]).flatten(2).all(-1)
        assert same.any(1).all()
        origin.append(same.float().argmax(1))
    assert (origin[0] != origin[-1]).any()


@pytest.mark.parametrize('make', [make_quadruped, make_insect])
def test_a_mirrored_pose_is_the_mirror_image(make):
    data = make()
    body, (order, signs) = SMIL(data).double(), mirrored_joints(data)
    axis = int(signs.argmax())
    params = BodyParams.zeros(4, body.n_joints, body.n_betas, like=body.v_template)
    pose = 0.4 * torch.randn(4, body.n_joints - 1, 3, dtype=torch.float64)
    other = pose[:, order[1:] - 1] * torch.as_tensor(signs)
    joints, image = (body(params.replace(body_pose=p)).joints for p in (pose, other))
    flip = torch.ones(3, dtype=torch.float64)
    flip[axis] = -1
    centre = body.joints_template[0] * (1 - flip)
    torch.testing.assert_close(image[:, order], joints * flip + centre, atol=1e-3, rtol=0)


def test_partners_stand_across_the_middle(data):
    axis = int(mirrored_joints(data)[1].argmax())
    partner = mirror_partners(data.joints, axis, 0.05 * data.rest_size)
    place = {name: j for j, name in enumerate(data.joint_names)}
    for left, right in data.joint_symmetry:
        assert partner[place[left]] == place[right]
        assert partner[place[right]] == place[left]
    assert partner[0] == 0


def test_several_sources_are_mixed_by_their_weights(data):
    here = GivenPoses(torch.zeros(1, data.n_joints - 1, 3), mirrored=0.0, noise_rad=0.0)
    valid = GivenPoses(torch.ones(1, data.n_joints - 1, 3), mirrored=0.0, noise_rad=0.0)
    mixed = MixedPoses([here, valid], [3, 1])
    mixed.bind(data)
    assert 0.2 < float(mixed(2000, torch.Generator().manual_seed(0)).mean()) < 0.3
    with pytest.raises(ValueError, match='weights must be above 0'):
        MixedPoses([here], [0])


def test_given_shapes_and_scales_are_drawn_from(data):
    body = SMIL(data)
    given = BodyParams.zeros(3, body.n_joints, body.n_betas)
    scales = torch.tensor([10.0, 20.0, torch.nan])
    given = given.replace(scale=scales, betas=given.betas + 5)
    params = PoseSampler(body, given=given, scale_sd=0.0, betas_noise=0.0)(100)
    assert set(params.scale.round().tolist()) == {10.0, 20.0}
    assert (params.betas == 5).all()


def test_poses_are_read_from_a_file(tmp_path, data):
    poses = 0.1 * np.ones((3, data.n_joints - 1, 3))
    np.savez(tmp_path / 'fit.npz', body_pose=poses)
    np.testing.assert_allclose(read_poses(tmp_path / 'fit.npz'), poses)
    np.savez(tmp_path / 'other.npz', pose=poses)
    with pytest.raises(BadFileError, match='body_pose must be'):
        read_poses(tmp_path / 'other.npz')
    source = GivenPoses(np.zeros((3, 2, 3)))
    with pytest.raises(ValueError, match='poses must be'):
        source.bind(data)
    with pytest.raises(ValueError, match='with a finite row'):
        GivenPoses(np.full((3, 2, 3), np.nan))
