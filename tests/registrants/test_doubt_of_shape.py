"""A clip whose landmarks few frames have found: intervals of all poses hold the truth only with their own doubt."""

from dataclasses import replace

import pytest
import torch

from smilfit.body_models import SMIL, Landmark
from smilfit.handlers import BodyPosePriorHandler, Keypoint3dMSEHandler, LandmarkOffsetPriorHandler
from smilfit.losses import KeypointMSELoss, PoseRegLoss
from smilfit.registrants import SMPLify, Stage, clip_fit
from smilfit.solvers import LevenbergMarquardt
from smilfit.structures import Keypoints3d
from tests.animals import marked_animal, random_params

COUNT, NOISE, POSE_SD, OFFSET_SD, SESSIONS = 12, 0.05, 0.2, 0.2, 5
WEIGHTS = {'keypoints3d_mse': NOISE**-2, 'pose': POSE_SD**-2, 'landmark_offset_prior': 1.0}


def made_body():
    data = replace(marked_animal(n_joints=6), posedirs=None)
    marks = {f'mark_{n}': Landmark(n, n, sd=OFFSET_SD) for n in data.joint_names}
    return SMIL(replace(data, landmarks=marks)).double()


def fit(body, seed):
    """Fit a made session of unknown landmarks, which 3 of its frames find; a fifth of its labels is missing."""
    g = torch.Generator().manual_seed(seed)
    truth = random_params(body.data, COUNT, angle=POSE_SD, seed=seed)
    offsets = OFFSET_SD * torch.randn(1, body.n_joints, 3, generator=g, dtype=torch.float64)
    truth = truth.replace(
        betas=0 * truth.betas,
        scale=torch.ones(COUNT).double(),
        landmark_offsets=offsets.expand(COUNT, -1, -1),
    )
    names = tuple(body.data.landmarks)
    points = body(truth, names).keypoints.detach()
    noisy = points + NOISE * torch.randn(points.shape, generator=g, dtype=torch.float64)
    seen = (torch.rand(points.shape[:2], generator=g) < 0.8).double()
    handlers = [
        Keypoint3dMSEHandler(KeypointMSELoss(reduction='sum')),
        BodyPosePriorHandler(PoseRegLoss(reduction='sum'), handler_key='pose'),
        LandmarkOffsetPriorHandler(),
    ]
    free = ('global_orient', 'transl', 'body_pose', 'landmark_offsets')
    stage = Stage(n_iter=30, fit=free, weights=WEIGHTS)
    options = {'use_one_betas_per_video': True, 'shape_frames': 3}
    fitter = SMPLify(body, [stage], handlers, LevenbergMarquardt(covariance=True), **options)
    result = fitter([Keypoints3d(noisy, seen, names)], truth.replace(landmark_offsets=None))
    matches = result.covariance.select((*body.joint_names, *names))
    places = body(result.params, matches.keypoint_names).keypoints
    inside = (places - body(truth, matches.keypoint_names).keypoints).abs() < 1.645 * matches.keypoint_sd()
    sd = dict(zip(matches.columns, matches.parameter_sd()[0].tolist()))
    if seed == 0:
        whole = matches.parameters.diagonal(dim1=1, dim2=2).sqrt()
        torch.testing.assert_close(whole, matches.parameter_sd(), rtol=1e-5, atol=0)
    missed = (result.params.landmark_offsets - truth.landmark_offsets)[0].flatten().abs()
    known = [float(m) < 1.645 * sd.get(f'landmark_offsets[{i}]', 0.0) for i, m in enumerate(missed)]
    return torch.stack((inside.double().mean(), torch.tensor(known).double().mean()))


def test_intervals_hold_the_truth_with_the_doubt_of_what_is_shared(monkeypatch):
    body = made_body()
    inside, shared = torch.stack([fit(body, seed) for seed in range(SESSIONS)]).mean(0).tolist()
    result = clip_fit.with_shape_of
    monkeypatch.setattr(clip_fit, 'with_shape_of', lambda *given: replace(result(*given), doubt=None))
    without, none = torch.stack([fit(body, seed) for seed in range(SESSIONS)]).mean(0).tolist()
    assert inside == pytest.approx(0.9, abs=0.04)
    assert shared == pytest.approx(0.9, abs=0.13)
    assert without < 0.8
    assert none == 0
