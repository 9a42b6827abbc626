"""What must hold of the lifter, whatever its weights."""

from dataclasses import replace

import pytest
import roma
import torch

from smilfit.body_models import SMIL, Landmark
from smilfit.body_models.pose_sampling import PoseSampler
from smilfit.geometry.alignment import procrustes
from smilfit.losses import reduced
from smilfit.networks.lifter.point_evidence import PointCorruption, PointEvidence
from smilfit.networks.lifter.point_lifter import LifterTruth, PointLifter
from smilfit.structures import BodyParams
from smilfit.synthetic import make_insect, make_quadruped

SHIFT = torch.tensor([30.0, -20.0, 7.0])


@pytest.fixture(scope='module')
def body():
    return SMIL(make_quadruped())


def _lifter(body, **options):
    return PointLifter(body, sampler=PoseSampler(body, scale=50.0), dim=64, n_blocks=2, **options)


def _shaken(lifter):
    for parameter in lifter.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return lifter


def _seen(lifter, n=6, views=None):
    lifter.corruption = PointCorruption(views)
    with torch.no_grad():
        return lifter.draw(n, torch.Generator().manual_seed(3))


def _losses(stated):
    return {name: reduced((terms,), 1.0, 'mean') for name, terms in stated.items()}


def _assert_near(body, first, second, unit=50.0, share=2e-3):
    """Compare where the joints are."""
    a, b = (body(p).joints for p in (first, second))
    assert float((a - b).detach().norm(dim=-1).max()) < share * unit


@pytest.mark.parametrize('make', [make_quadruped, make_insect])
def test_untrained_it_gives_the_mean_pose_on_the_points(make):
    body = SMIL(make())
    lifter = _lifter(body)
    evidence, truth = _seen(lifter, 20, {4: 1.0})
    params, frame = lifter.lift(evidence)
    torch.testing.assert_close(
        params.body_pose, lifter.mean_pose.expand_as(params.body_pose), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(params.global_orient, frame.rotation, atol=1e-5, rtol=0)
    mean = body(params, need=lifter.keypoint_names).keypoints
    torch.testing.assert_close(
        mean, frame.points_to_world(lifter.reference.expand_as(mean)), atol=1e-3, rtol=0
    )
    # And that is nearly as near to the points as any placing of it.
    best = procrustes(mean, truth.keypoints3d).apply(mean)
    far, least = ((x - truth.keypoints3d).norm(dim=-1).mean() for x in (mean, best))
    assert far < 1.3 * least + 1


def test_sizes_are_read_as_logarithms(body):
    """A smaller animal is as much smaller as a larger one is larger, and never of a negative size."""
    lifter = _lifter(body)
    evidence, _ = _seen(lifter)
    place = sum(lifter.out_sizes[:3])
    scales = []
    for change in (-4.0, 0.0, 4.0):
        lifter.out.bias.data[place] = change
        scales.append(lifter(evidence).scale.detach())
    smaller, usual, larger = scales
    assert bool((larger > 1.05 * usual).all())
    torch.testing.assert_close(smaller * larger, usual.square())


@pytest.mark.parametrize('views', [{4: 1.0}, {2: 1.0}])
def test_moving_the_world_moves_the_answer(body, views):
    lifter = _shaken(_lifter(body))
    evidence, _ = _seen(lifter, views=views)
    rotation, scale = roma.random_rotmat(), 2.5
    first, second = lifter(evidence), lifter(evidence.moved(rotation, SHIFT, scale))
    moved = scale * body(first).joints @ rotation.T + SHIFT
    torch.testing.assert_close(body(second).joints, moved, atol=0.1, rtol=0)
    torch.testing.assert_close(second.global_orient, rotation @ first.global_orient, atol=2e-3, rtol=0)
    torch.testing.assert_close(second.body_pose, first.body_pose, atol=2e-3, rtol=0)
    torch.testing.assert_close(second.scale, scale * first.scale, atol=0, rtol=2e-3)


def test_moving_the_world_moves_the_answer_of_one_view(body):
    lifter = _shaken(_lifter(body))
    evidence, _ = _seen(lifter, views={1: 1.0})
    rotation = roma.random_rotmat()
    first, second = lifter(evidence), lifter(evidence.moved(rotation, SHIFT))
    torch.testing.assert_close(body(second).joints, body(first).joints @ rotation.T + SHIFT, atol=0.3, rtol=0)
    # One view knows no size: with the expected size all grows.
    lifter.mean_scale *= 2
    third = lifter(evidence.moved(rotation, SHIFT, 2.0))
    torch.testing.assert_close(third.scale, 2 * second.scale)
    torch.testing.assert_close(third.body_pose, second.body_pose, atol=2e-3, rtol=0)


def test_what_is_missing_changes_nothing(body):
    lifter = _shaken(_lifter(body, feature_dim=3))
    evidence, _ = _seen(lifter, 9, {1: 1.0, 2: 1.0, 4: 1.0})
    features = torch.randn(*evidence.ray_mass.shape[:3], 3)
    confidence, mask = evidence.confidence.clone(), evidence.view_mask
    confidence[:, ::5] = 0
    mass = evidence.ray_mass.clone()
    mass[:, :, 1::6] = 0
    clean = replace(evidence, confidence=confidence, ray_mass=mass, features=features)
    absent = ~mask[..., None, None, None]
    missing = absent | (mass == 0).unsqueeze(-1)
    unseen = missing.all(3).squeeze(-1)
    dirty = replace(
        clean,
        xyz=torch.where((confidence == 0).unsqueeze(-1), torch.nan, clean.xyz),
        covariance=torch.where((confidence == 0)[..., None, None], torch.nan, clean.covariance),
        rays=torch.where(missing, 7.0, clean.rays),
        features=torch.where(unseen.unsqueeze(-1), torch.nan, features),
    )
    for name, value in lifter(clean).as_dict().items():
        assert value.isfinite().all(), name
        assert torch.equal(value, getattr(lifter(dirty), name)), name


def test_views_and_modes_may_come_in_any_order(body):
    lifter = _shaken(_lifter(body))
    evidence, _ = _seen(lifter, 12)
    order = [2, 0, 3, 1]
    permuted = replace(
        evidence,
        centres=evidence.centres[:, order],
        rays=evidence.rays[:, order].flip(3),
        ray_mass=evidence.ray_mass[:, order].flip(3),
        view_mask=evidence.view_mask[:, order],
    )
    _assert_near(body, lifter(evidence), lifter(permuted))


def test_rows_do_not_know_each_other(body):
    lifter = _shaken(_lifter(body))
    evidence, _ = _seen(lifter, 8)
    whole = lifter(evidence)
    for row in range(8):
        _assert_near(body, lifter(evidence[row : row + 1]), whole[row])


def test_points_that_nobody_saw_give_the_mean_pose_somewhere(body):
    lifter = _lifter(body)
    evidence, _ = _seen(lifter, 3)
    blind = replace(
        evidence,
        confidence=0 * evidence.confidence,
        ray_mass=0 * evidence.ray_mass,
        xyz=evidence.xyz * torch.nan,
    )
    assert all(value.isfinite().all() for value in lifter(blind).as_dict().values())


@pytest.mark.parametrize('with_params', [True, False])
def test_every_output_has_a_gradient(with_params):
    body = SMIL(make_quadruped())
    first, last = body.joint_names[0], body.joint_names[-1]
    body = body.with_landmarks({f'at_{name}': Landmark(name, name, sd=0.02) for name in (first, last)})
    names = (*body.joint_names, *body.data.landmarks)
    further = ('part_sizes', 'landmark_offsets')
    lifter = _shaken(_lifter(body, keypoint_names=names, further=further, feature_dim=5))
    evidence, truth = _seen(lifter, 8)
    evidence = replace(evidence, features=torch.randn(*evidence.ray_mass.shape[:3], 5))
    # What is not known may be anything.
    unknown = truth.params.map(lambda x: torch.full_like(x, torch.nan))
    known = torch.full((8,), with_params)
    points = (truth.keypoints3d, truth.confidence3d)
    stated = lifter.energies(
        evidence, LifterTruth.of(*points, truth.params if with_params else unknown, known, known)
    )
    total = sum(_losses(stated).values())
    assert total.isfinite()
    total.backward()
    assert (lifter.out.bias.grad != 0).all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in lifter.parameters())
    assert set(lifter.energies(evidence, LifterTruth.of(*points))) == {
        'keypoints3d', 'pose_prior', 'shape_prior'
    }  # fmt: skip


def test_keypoints_of_confidence_0_count_for_nothing(body):
    lifter = _shaken(_lifter(body))
    evidence, truth = _seen(lifter, 8)
    confidence = truth.confidence3d.clone()
    confidence[:, ::3] = 0
    other = torch.where((confidence == 0).unsqueeze(-1), torch.nan, truth.keypoints3d)
    first, second = (
        _losses(lifter.energies(evidence, LifterTruth.of(x, confidence))) for x in (truth.keypoints3d, other)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_short_training_goes_far(body):
    """Without any picture or label."""
    torch.manual_seed(0)
    lifter = _lifter(body)
    evidence, truth = _seen(lifter, 100, {4: 1.0})

    def error():
        with torch.no_grad():
            points = body(lifter(evidence), need=lifter.keypoint_names).keypoints
        return float((points - truth.keypoints3d).norm(dim=-1).mean())

    before, solver = error(), torch.optim.AdamW(lifter.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(80):
        solver.zero_grad()
        sum(lifter.loss(32, generator).values()).backward()
        solver.step()
    assert error() < 0.7 * before


def test_told_covariances_are_those_of_the_errors(body):
    lifter = _lifter(body)
    lifter.corruption = PointCorruption({3: 1.0}, blunders=0.0, swaps=0.0, gaps=0.0)
    evidence, truth = lifter.draw(400, torch.Generator().manual_seed(0))
    off = (evidence.xyz - truth.keypoints3d).unsqueeze(-1).double()
    squared = (off.transpose(-1, -2) @ torch.linalg.solve(evidence.covariance.double(), off)).flatten()
    # Chi-squared of 3 degrees has the median 2.37; the misfit of rays widens what is told a little.
    assert 1.2 < float(squared.median()) < 2.8


def test_evidence_takes_what_views_agreed_on(body):
    """The rays of the modes pass through the points that the cameras saw there."""
    from types import SimpleNamespace

    from tests.networks.cameras_around import cameras_around

    points = torch.randn(2, 5, 3)
    cameras = cameras_around(n_frames=2, n_views=3)
    px, _, _ = cameras.project(points)
    seen = SimpleNamespace(
        xyz=points,
        covariance=torch.eye(3).expand(2, 5, 3, 3),
        confidence=torch.ones(2, 5),
        modes=px.unsqueeze(3).expand(-1, -1, -1, 2, -1),
        mode_mass=torch.full((2, 3, 5, 2), 0.5),
    )
    mask = torch.tensor([[True, True, False], [True, True, True]])
    evidence = PointEvidence.of(seen, cameras, mask)
    assert evidence.n_views.tolist() == [2, 3]
    along = points[:, None] - evidence.centres[:, :, None]
    across = torch.linalg.cross(along.unsqueeze(3).expand_as(evidence.rays), evidence.rays)
    assert float(across.norm(dim=-1).max()) < 1e-3


def test_errors_say_what_to_do(body):
    evidence, _ = _seen(_lifter(body), 2)
    with pytest.raises(ValueError, match='points must be those of its'):
        _lifter(body, keypoint_names=body.joint_names[:5])(evidence)
    with pytest.raises(ValueError, match='a sampler must be given'):
        PointLifter(body, dim=8, n_blocks=1).loss(2)
    with pytest.raises(KeyError, match='part_sizes'):
        PointLifter(body, further=('part_size',))
    with pytest.raises(ValueError, match='views must map'):
        PointCorruption({0: 1.0})
    with pytest.raises(ValueError, match='given betas must have'):
        PoseSampler(body, given=BodyParams.zeros(1, body.n_joints, body.n_betas + 1))
