"""Intervals of a fit's measurements hold the truth as often as they say, over made sessions."""

import numpy as np
import torch

from smilfit.body_models import SMIL, load_body_model_data
from smilfit.handlers import BetasPriorHandler, BodyPosePriorHandler, Keypoint3dMSEHandler
from smilfit.losses import KeypointMSELoss, PoseRegLoss
from smilfit.registrants import SMPLify, Stage
from smilfit.scans.measurements.definitions import Chain, Distance
from smilfit.scans.measurements.measuring import Measurer
from smilfit.scans.measurements.specimens import measure_fit
from smilfit.solvers import LevenbergMarquardt
from smilfit.structures import FitResult, Keypoints3d
from tests.animals import random_params

SESSIONS, COUNT, NOISE, POSE_SD = 8, 3, 0.01, 0.2
MEASURED = (
    Distance('thigh', ('hip_L', 'knee_L')),
    Chain('leg', ('shoulder_R', 'elbow_R', 'wrist_R')),
    Distance('back', ('pelvis', 'spine_2')),
    Distance('head', ('neck', 'head')),
)


def covered(body: SMIL, seed: int, folder) -> np.ndarray:
    g = torch.Generator().manual_seed(seed)
    truth = random_params(body.data, COUNT, angle=POSE_SD, seed=seed)
    root = torch.linalg.cholesky(torch.from_numpy(body.data.shape_cov))
    betas = torch.randn(1, body.n_betas, generator=g, dtype=torch.float64) @ root.mT
    betas = betas + torch.from_numpy(body.data.shape_mean)
    truth = truth.replace(betas=betas.expand(COUNT, -1), scale=torch.full((COUNT,), 1.3).double())
    points = body(truth, ('joints',)).joints.detach()
    noisy = points + 1.3 * NOISE * torch.randn(points.shape, generator=g, dtype=torch.float64)
    handlers = [
        Keypoint3dMSEHandler(KeypointMSELoss(reduction='sum')),
        BodyPosePriorHandler(PoseRegLoss(reduction='sum'), handler_key='pose'),
        BetasPriorHandler(handler_key='shape_prior'),
    ]
    free = ('global_orient', 'transl', 'body_pose', 'betas', 'scale')
    weights = {'keypoints3d_mse': (1.3 * NOISE) ** -2, 'pose': POSE_SD**-2, 'shape_prior': 1.0}
    stages, solver = [Stage(n_iter=30, fit=free, weights=weights)], LevenbergMarquardt(covariance=True)
    fitter = SMPLify(body, stages, handlers, solver, use_one_betas_per_video=True)
    result = fitter([Keypoints3d(noisy, torch.ones(points.shape[:2]).double(), body.joint_names)], truth)
    # As a command finds it: from its file.
    back = FitResult.load(result.save(folder / f'{seed}.npz'), body)
    matches = measure_fit(back, 'made', body, MEASURED, poses=2)
    measurer = Measurer(body, MEASURED)
    true = measurer.measure(next(measurer.geometries(measurer.at_rest(truth)))).values
    return (matches.low < true) & (true < matches.high)


def test_intervals_of_lengths_hold_the_truth(tmp_path):
    body = SMIL(load_body_model_data('quadruped')).double()
    inside = np.stack([covered(body, seed, tmp_path) for seed in range(SESSIONS)])
    # 95 % of 64 numbers over 16 sessions.
    assert 0.8 < inside.mean() <= 1.0
