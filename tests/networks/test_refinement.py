"""Refining lifted bodies on pixels."""

import logging

import pytest
import torch

from smilfit.body_models import SMIL, Landmark
from smilfit.body_models.pose_sampling import PoseSampler
from smilfit.geometry.rotation import geodesic_angle
from smilfit.handlers import BetasPriorHandler, BodyPosePriorHandler, Keypoint2dHandler
from smilfit.losses import KeypointMSELoss, SampledPosePriorLoss, ShapePriorLoss
from smilfit.networks.keypoints.consensus import HeatmapModes
from smilfit.networks.lifter.lifted_refinement import Refinement, facing_back
from smilfit.registrants import SMPLify
from smilfit.registry import build
from smilfit.solvers import LevenbergMarquardt
from smilfit.structures import Keypoints2d
from smilfit.synthetic import make_quadruped
from tests.networks.cameras_around import cameras_around

STAGE = dict(n_iter=10, ftol=1e-4, fit_scale=True, seen_weight=1.0, pose_weight=0.5, shape_weight=0.5)


@pytest.fixture(scope='module')
def body():
    plain = make_quadruped()
    return SMIL(plain).with_landmarks(
        {'click': Landmark(plain.joint_names[3], plain.joint_names[3], sd=0.02)}
    )


def make_refinement(body, covariance=False, **options):
    handlers = [
        Keypoint2dHandler(KeypointMSELoss(sigma=10.0, reduction='sum'), handler_key='seen'),
        BodyPosePriorHandler(handler_key='pose', prior_loss=SampledPosePriorLoss(reduction='sum')),
        BetasPriorHandler(handler_key='shape', prior_loss=ShapePriorLoss(reduction='sum')),
    ]
    solver = LevenbergMarquardt(covariance=covariance)
    return Refinement(SMPLify(body, [STAGE], handlers, optimizer=solver), **options)


def _scene(body, n=4, n_views=3):
    """Known bodies near the origin, what the cameras see of them, and bodies near them."""
    generator = torch.Generator().manual_seed(0)
    truth = PoseSampler(body, scale_sd=0.05)(n, generator).replace(part_sizes=None)
    cameras = cameras_around(n, n_views, distance=4.0, focal=400.0)
    names = (*body.joint_names, 'click')
    px, _, valid = cameras.project(body(truth, need=names).keypoints)
    seen = Keypoints2d(px, valid.float(), names, cameras)
    noise = 0.15 * torch.randn(truth.body_pose.shape, generator=generator)
    near = truth.replace(body_pose=truth.body_pose + noise, transl=truth.transl + 0.02, betas=0 * truth.betas)
    return truth, seen, near


def _error(body, params, truth):
    return (body(params).joints - body(truth).joints).norm(dim=-1).mean(1)


def test_refining_comes_nearer_and_leaves_landmarks(body):
    truth, seen, near = _scene(body)
    result = make_refinement(body)(near, seen)
    assert result.refined.all()
    assert not result.reversed_heading.any()
    assert (_error(body, result.params, truth) < 0.3 * _error(body, near, truth)).all()
    assert torch.equal(result.params.landmark_offsets, near.landmark_offsets)
    assert result.report['refined'] == 4
    assert result.report['fit_failed'] == 0
    assert result.uncertainty is None


def _mistaken(seen):
    """Exchange two feet in one view; the right place stays as a weaker mode."""
    feet = [seen.names.index(name) for name in ('wrist_L', 'ankle_R')]
    wrong = seen.xy.clone()
    wrong[:, 0, feet] = seen.xy[:, 0, feet[::-1]]
    mass = torch.tensor([0.6, 0.3]).expand(*seen.xy.shape[:3], 2)
    modes = HeatmapModes(torch.stack((wrong, seen.xy), -2), mass.contiguous())
    return Keypoints2d(wrong, 0.6 * seen.confidence, seen.names, seen.cameras), modes


def test_a_fitted_body_chooses_between_modes(body):
    truth, seen, near = _scene(body)
    wrong, modes = _mistaken(seen)
    refine = make_refinement(body)
    errors = [
        _error(body, refine(near, wrong, modes=given).params, truth).median() for given in (None, modes)
    ]
    assert errors[1] < 0.6 * errors[0]
    taken = refine(near, wrong).params.body_pose
    never = make_refinement(body, mode_px=0)(near, wrong, modes=modes)
    torch.testing.assert_close(never.params.body_pose, taken)


def test_modes_near_a_place_are_chosen_and_absent_views_stay_absent():
    seen = Keypoints2d(torch.zeros(1, 2, 1, 2), torch.tensor([[[0.6], [0.0]]]), ('tip',))
    modes = HeatmapModes(
        torch.tensor([[[[0.0, 0.0], [30.0, 0.0]]], [[[0.0, 0.0], [30.0, 0.0]]]])[None],
        torch.tensor([[[0.6, 0.3]], [[0.6, 0.3]]])[None],
    )
    at = torch.tensor([28.0, 1.0]).expand(1, 2, 1, 2)
    result = modes.near(seen, at, 8.0)
    assert result.xy[0, :, 0].tolist() == [[30.0, 0.0], [0.0, 0.0]]
    torch.testing.assert_close(result.confidence[0, :, 0], torch.tensor([0.3, 0.0]))
    # With nothing to tell where it should be, mass decides.
    assert modes.near(seen, at, 1e6).xy[0, 0, 0].tolist() == [0.0, 0.0]


def test_it_works_where_networks_predict(body):
    """In inference mode, from rotation matrices."""
    truth, seen, near = _scene(body, 2)
    refine = make_refinement(body)
    with torch.inference_mode():
        rotations = near.rotations()
        lifted = near.replace(global_orient=rotations[:, 0], body_pose=rotations[:, 1:]).map(torch.clone)
        result = refine(lifted, seen)
    again = refine(near, seen)
    assert (_error(body, result.params, truth) < 0.3 * _error(body, near, truth)).all()
    torch.testing.assert_close(body(result.params).joints, body(again.params).joints, atol=1e-3, rtol=0)


def test_a_body_that_stands_the_wrong_way_round_is_turned(body):
    truth, seen, near = _scene(body, n_views=2)
    start = facing_back(body, near)
    torch.testing.assert_close(body(start).joints.mean(1), body(near).joints.mean(1), atol=1e-5, rtol=0)
    turned = geodesic_angle(start.rotations()[:, 0], near.rotations()[:, 0])
    torch.testing.assert_close(turned, torch.full_like(turned, torch.pi), atol=2e-3, rtol=0)
    result = make_refinement(body)(start, seen)
    assert result.reversed_heading.all()
    assert (_error(body, result.params, truth) < 0.1).all()
    kept = make_refinement(body, few_views=0)(start, seen)
    assert not kept.reversed_heading.any()


def test_of_one_view_the_scale_stays_and_the_body_is_fitted(body):
    """Some frames of a batch have one view, others all."""
    _, seen, near = _scene(body, n=6, n_views=3)
    confidence = seen.confidence.clone()
    single = torch.arange(6) % 2 == 0
    confidence[single, 1:] = 0
    seen = Keypoints2d(seen.xy, confidence, seen.names, seen.cameras)
    result = make_refinement(body, covariance=True)(near, seen)
    assert result.refined.all()
    torch.testing.assert_close(result.params.scale[single], near.scale[single])
    assert (result.params.scale[~single] != near.scale[~single]).all()

    def missed(params):
        px, _, _ = seen.rig.project(body(params, need=seen.names).keypoints)
        return ((px - seen.xy).norm(dim=-1) * confidence).sum((1, 2)) / confidence.sum((1, 2))

    assert (missed(result.params) < 0.3 * missed(near)).all()
    # What is not known has no end.
    known = result.uncertainty.keypoints.diagonal(dim1=-2, dim2=-1).isfinite().flatten(1).all(1)
    assert known.tolist() == (~single).tolist()


def test_what_fails_keeps_what_was_lifted_and_is_told(body, caplog):
    _, seen, near = _scene(body)
    confidence = seen.confidence.clone()
    confidence[1] = 0
    seen = Keypoints2d(seen.xy, confidence, seen.names, seen.cameras)
    near = near.replace(transl=near.transl.index_fill(0, torch.tensor([2]), torch.nan))
    with caplog.at_level(logging.WARNING, logger='smilfit'):
        result = make_refinement(body)(near, seen)
    assert result.refined.tolist() == [True, False, False, True]
    assert result.report['too_few_points'] == 1
    assert result.report['lifted_not_finite'] == 1
    assert '2 of 4 frames keep what was lifted' in caplog.text
    torch.testing.assert_close(result.params.body_pose[1], near.body_pose[1])
    assert result.energy.isinf().tolist() == [False, True, True, False]
    nowhere = near.replace(transl=near.transl * torch.nan)
    assert not make_refinement(body)(nowhere, seen).refined.any()


def test_less_sure_places_count_less(body):
    truth, seen, near = _scene(body, 2)
    # One camera's places are wrong, and it says so.
    xy = seen.xy.clone()
    xy[:, 0] += 6.0
    seen = Keypoints2d(xy, seen.confidence, seen.names, seen.cameras)
    sd = torch.ones_like(seen.confidence)
    sd[:, 0] = 30.0
    refine = make_refinement(body, noise_px=1.0)
    notes, plain = (_error(body, refine(near, seen, s).params, truth) for s in (sd, None))
    assert (notes < plain).all()


def test_the_fit_says_how_sure_it_is(body):
    _, seen, near = _scene(body)
    confidence = seen.confidence.clone()
    confidence[0] = 0
    seen = Keypoints2d(seen.xy + torch.randn_like(seen.xy), confidence, seen.names, seen.cameras)
    result = make_refinement(body, covariance=True)(near, seen)
    sd = result.uncertainty.select(seen.names).keypoint_sd()
    assert sd.shape[:2] == (4, len(seen.names))
    assert sd[0].isnan().all()
    assert ((sd[1:] > 0) & (sd[1:] < 0.5)).all()


def test_a_config_builds_it(body):
    config = dict(
        type='Refinement',
        noise_px=2.0,
        registrant=dict(
            type='SMPLify',
            body_model=body,
            stages=[STAGE],
            handlers=[
                dict(type='Keypoint2dHandler', handler_key='seen'),
                dict(
                    type='BodyPosePriorHandler',
                    handler_key='pose',
                    prior_loss=dict(type='SampledPosePriorLoss', poses=dict(type='LimitPoses', spread=0.3)),
                ),
                dict(type='BetasPriorHandler', handler_key='shape', prior_loss=dict(type='ShapePriorLoss')),
            ],
            optimizer=dict(type='LevenbergMarquardt'),
        ),
    )
    assert build(config).noise_px == 2.0
    with pytest.raises(ValueError, match='noise_px must be positive'):
        build({**config, 'noise_px': 0.0})
