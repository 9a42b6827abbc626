"""Frames distributed over two processes: the result of one process, in both of them."""

from dataclasses import replace

import pytest
import torch

from smilfit.handlers import (
    BetasPriorHandler,
    BodyPosePriorHandler,
    Keypoint2dHandler,
    Keypoint3dMSEHandler,
    SmoothMotionHandler,
)
from smilfit.losses import KeypointMSELoss, PoseRegLoss, ShapePriorLoss
from smilfit.registrants import SMPLify, Stage
from smilfit.solvers import LBFGS, DistributedProcesses, LevenbergMarquardt, Processes
from smilfit.structures import Keypoints2d
from tests.animals import ring_of_cameras
from tests.ranks import on_two_ranks
from tests.registrants.clip import ALL, RIGID, make_clip, seen_by

WEIGHTS = {'keypoints3d_mse': 1.0, 'body_pose_prior': 1e-3, 'shape_prior': 1e-3}


def handlers():
    # Means, and a robust loss: both must be those of the whole clip.
    return [
        Keypoint3dMSEHandler(KeypointMSELoss(sigma=1.0)),
        Keypoint2dHandler(KeypointMSELoss(sigma=20.0)),
        BodyPosePriorHandler(PoseRegLoss()),
        BetasPriorHandler(ShapePriorLoss(), handler_key='shape_prior'),
        SmoothMotionHandler(),
    ]


def spoiled():
    """A clip in which nobody saw one frame, one is rubbish, and keypoints are missing unevenly."""
    body, _, points = make_clip()
    g = torch.Generator().manual_seed(0)
    xyz = points.xyz + 0.02 * torch.randn(points.xyz.shape, generator=g).double()
    xyz[4] = 3 * torch.randn(xyz[4].shape, generator=g).double()
    confidence = points.confidence.clone()
    confidence[1] = 0
    confidence[0, :3] = 0
    return body, [replace(points, xyz=xyz, confidence=confidence)]


def stages(**changes):
    kinds = {'place': RIGID, 'pose': ('global_orient', 'transl', 'body_pose'), 'all': ALL}
    return [Stage(**({'n_iter': 15, 'ftol': 1e-9, 'fit': f, 'weights': WEIGHTS, 'name': n} | changes))
            for n, f in kinds.items()]  # fmt: skip


def keypoints(processes, shared):
    body, inputs = spoiled()
    solver = LevenbergMarquardt(covariance=True)
    fit = SMPLify(body, stages(), handlers(), solver, use_one_betas_per_video=shared, processes=processes)
    return fit(inputs)


def shared_shape(processes):
    return keypoints(processes, shared=True)


def own_shapes(processes):
    return keypoints(processes, shared=False)


def cameras(processes):
    body, _, points = make_clip()
    ring = ring_of_cameras()
    seen = seen_by(ring, points)
    shift = 0.01 * torch.randn(4, 6, generator=torch.Generator().manual_seed(2)).double()
    wrong = Keypoints2d(seen.xy, seen.confidence, seen.names, ring.shifted(shift))
    weights = {'keypoints2d_mse': 1.0, 'body_pose_prior': 1e-3}
    plan = stages(fit=(*ALL, 'cameras'), weights=weights)[2:]
    solver = LevenbergMarquardt()
    return SMPLify(
        body, plan, handlers(), solver, use_one_betas_per_video=True, processes=processes
    )([wrong])  # fmt: skip


def impatient(processes):
    body, inputs = spoiled()

    def hook(stage, step, loss):
        # The last process has enough; the others must not wait for it.
        return processes.rank == processes.count - 1 and step == 3

    return SMPLify(
        body, stages()[:1], handlers(), LevenbergMarquardt(), use_one_betas_per_video=True, hooks=[hook],
        processes=processes,
    )(inputs)  # fmt: skip


CASES = (shared_shape, own_shapes, cameras, impatient)


def numbers(result):
    matches = dict(result.params.as_dict())
    matches |= {'per_frame_loss': result.per_frame_loss, 'converged': result.converged}
    if result.cameras is not None:
        matches |= {'R': result.cameras.R, 't': result.cameras.t}
    if result.covariance is not None:
        matches['parameter_sd'] = result.covariance.parameter_sd()
        matches['keypoint_sd'] = result.covariance.keypoint_sd()
        matches['noise'] = torch.tensor(result.covariance.noise).double()
    for i, entry in enumerate(result.history):
        what = ('loss_start', 'loss_end', 'steps', 'recoveries', 'frames_converged')
        matches[f'stage {i}'] = torch.tensor([float(entry[name]) for name in what]).double()
    return matches


def fit_all(folder):
    processes = DistributedProcesses()
    result = {case.__name__: numbers(case(processes)) for case in CASES}
    torch.save(result, f'{folder}/{processes.rank}.pth')


@pytest.fixture(scope='module')
def of_two(tmp_path_factory):
    folder = tmp_path_factory.mktemp('ranks')
    on_two_ranks(fit_all, str(folder))
    return [torch.load(folder / f'{rank}.pth', weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.__name__)
def test_two_processes_find_what_one_does(case, of_two):
    first, second = (result[case.__name__] for result in of_two)
    alone = numbers(case(Processes()))
    assert first.keys() == second.keys() == alone.keys()
    for name, value in alone.items():
        assert torch.equal(first[name].nan_to_num(), second[name].nan_to_num()), name
        torch.testing.assert_close(first[name], value, rtol=1e-5, atol=1e-5, equal_nan=True, msg=name)


class Crowd(Processes):
    """More processes than frames."""

    count = 9


class Pair(Processes):
    """Two processes."""

    count = 2


@pytest.mark.parametrize(
    ('processes', 'solver', 'weights', 'message'),
    [
        (Crowd(), LevenbergMarquardt(), WEIGHTS, 'at most as many as the observed frames, 4; got 9'),
        (Pair(), LBFGS(), WEIGHTS, 'place: the optimizer must be of second order; got LBFGS'),
        (
            Pair(),
            LevenbergMarquardt(),
            WEIGHTS | {'smooth_motion': 1.0},
            "place: no handler may tie frames.*SmoothMotionHandler 'smooth_motion' does",
        ),
    ],
)
def test_what_cannot_be_distributed_is_reported_before_the_work(processes, solver, weights, message):
    body, inputs = spoiled()
    plan = stages(weights=weights)
    with pytest.raises(ValueError, match=message):
        SMPLify(body, plan, handlers(), solver, processes=processes)(inputs)
