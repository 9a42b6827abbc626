"""Offsets of landmarks and sizes of parts are found with pose and scale, by every solver, once a clip."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL, Landmark
from smilfit.handlers import (
    Keypoint2dHandler,
    Keypoint3dMSEHandler,
    LandmarkOffsetPriorHandler,
    PartSizePriorHandler,
)
from smilfit.losses import KeypointMSELoss
from smilfit.registrants import SMPLify, Stage
from smilfit.solvers import LBFGS, LevenbergMarquardt
from smilfit.structures import FitResult, Keypoints3d
from tests.animals import marked_animal, random_params, ring_of_cameras
from tests.registrants.clip import seen_by

B = 6
FIT = ('global_orient', 'transl', 'body_pose', 'scale', 'landmark_offsets', 'part_sizes')
WEIGHTS = {'landmark_offset_prior': 1e-9, 'part_size_prior': 1e-9}


def landmarks_on(names):
    """Two known points a bone, by which its turn is known, and one whose offset is not."""
    draw = np.random.default_rng(0).normal(size=(len(names), 2, 3))
    marks = {f'unknown_{n}': Landmark(n, n, sd=0.3) for n in names}
    for n, offsets in zip(names, 0.5 * draw):
        marks |= {f'known{i}_{n}': Landmark(n, n, tuple(x.tolist())) for i, x in enumerate(offsets)}
    return marks


def make_session():
    """A body with landmarks, the truth over a clip, and where it was seen."""
    data = replace(marked_animal(n_joints=8), posedirs=None)
    data = replace(data, landmarks=landmarks_on(data.joint_names))
    body = SMIL(data).double()
    truth = random_params(data, B, angle=0.25)
    offsets = 0.3 * torch.randn(1, 8, 3, generator=torch.Generator().manual_seed(4)).double()
    truth = truth.replace(
        betas=truth.betas[:1].expand(B, -1).clone(),
        scale=truth.scale[:1].expand(B).clone(),
        landmark_offsets=offsets.expand(B, -1, -1).clone(),
        part_sizes=torch.tensor([[0.2, -0.15]]).double().expand(B, -1).clone(),
    )
    names = tuple(data.landmarks)
    points = body(truth, names).keypoints
    return body, truth, Keypoints3d(points, torch.ones(B, len(names)).double(), names)


def fit(body, truth, seen, solver, n_iter, handler, **weights):
    stage = Stage(
        n_iter=n_iter, ftol=1e-14, fit=FIT, weights={handler.handler_key: 1.0, **WEIGHTS, **weights}
    )
    handlers = [handler, LandmarkOffsetPriorHandler(), PartSizePriorHandler()]
    registrant = SMPLify(body, [stage], handlers, solver, use_one_betas_per_video=True)
    return registrant([seen], init_params={'betas': truth.betas, 'transl': truth.transl})


def check(result, truth, atol):
    for name in ('part_sizes', 'landmark_offsets', 'scale'):
        matches, expected = getattr(result.params, name), getattr(truth, name)
        torch.testing.assert_close(matches, expected, atol=atol, rtol=0.0, msg=lambda m, n=name: f'{n}: {m}')


@pytest.mark.parametrize('pixels', [False, True])
def test_second_order_finds_them(pixels):
    body, truth, points = make_session()
    loss = KeypointMSELoss(reduction='sum')
    handler = Keypoint2dHandler(loss) if pixels else Keypoint3dMSEHandler(loss)
    seen = seen_by(ring_of_cameras(), points) if pixels else points
    result = fit(body, truth, seen, LevenbergMarquardt('torch'), 60, handler)
    check(result, truth, 1e-5)


def test_first_order_finds_them():
    body, truth, points = make_session()
    result = fit(body, truth, points, LBFGS(), 250, Keypoint3dMSEHandler(KeypointMSELoss(reduction='sum')))
    check(result, truth, 1e-3)


def test_a_fit_keeps_them_in_its_file_and_goes_on_from_them(tmp_path):
    body, truth, points = make_session()
    handler = Keypoint3dMSEHandler(KeypointMSELoss(reduction='sum'))
    result = fit(body, truth, points, LevenbergMarquardt('torch'), 60, handler)
    back = FitResult.load(result.save(tmp_path / 'fit.npz'), body=body)
    assert torch.equal(back.params.landmark_offsets, result.params.landmark_offsets)
    assert torch.equal(back.params.part_sizes, result.params.part_sizes)
    stage = Stage(n_iter=0, weights={handler.handler_key: 1.0})
    again = SMPLify(body, [stage], [handler])([points], init_params=back.params)
    torch.testing.assert_close(again.joints(), result.joints())
    assert back.report['landmark_offsets'] == list(body.data.unknown_landmarks)
    assert back.report['part_sizes'] == {'middle': ['joint_1', 'joint_3'], 'end': ['joint_4', 'joint_5']}
    # What was found is a start that is known.
    names, matches = body.data.unknown_landmarks, back.params.landmark_offsets[0].tolist()
    known = {n: replace(body.data.landmarks[n], offset=tuple(x), sd=0.0) for n, x in zip(names, matches)}
    valid = body.with_landmarks(known)(back.params.replace(landmark_offsets=None), names).keypoints
    torch.testing.assert_close(valid, body(back.params, names).keypoints)


def test_a_strong_prior_holds_them():
    body, truth, points = make_session()
    handler = Keypoint3dMSEHandler(KeypointMSELoss(reduction='sum'))
    strong = {'landmark_offset_prior': 1e9, 'part_size_prior': 1e9}
    result = fit(body, truth, points, LevenbergMarquardt('torch'), 30, handler, **strong)
    assert float(result.params.landmark_offsets.abs().max()) < 1e-6
    assert float(result.params.part_sizes.abs().max()) < 1e-6


def test_their_uncertainty_is_that_of_their_errors():
    body, truth, points = make_session()
    noise, sd = torch.randn(points.xyz.shape, generator=torch.Generator().manual_seed(9)).double(), 0.02
    seen = replace(points, xyz=points.xyz + sd * noise)
    handler = Keypoint3dMSEHandler(KeypointMSELoss(reduction='sum'))
    # Weights in standard deviations: the prior's weight is the statistical one.
    weights = {handler.handler_key: sd**-2, 'landmark_offset_prior': 1.0, 'part_size_prior': 1.0}
    result = fit(body, truth, seen, LevenbergMarquardt('torch', covariance=True), 60, handler, **weights)
    sds = dict(zip(result.covariance.columns, result.covariance.parameter_sd()[0].tolist()))
    offsets = result.params.landmark_offsets[0] - truth.landmark_offsets[0]
    errors = dict(enumerate(offsets.flatten().tolist()))
    matches = torch.tensor([error / sds[f'landmark_offsets[{i}]'] for i, error in errors.items()])
    assert 0.6 < float(matches.square().mean().sqrt()) < 1.5
    sizes = result.params.part_sizes[0] - truth.part_sizes[0]
    assert all(abs(float(e)) < 3.5 * sds[f'part_sizes[{i}]'] < 0.2 for i, e in enumerate(sizes))
    # Landmarks' own covariances are among the keypoints'.
    assert 'unknown_joint_3' in result.covariance.keypoint_names
