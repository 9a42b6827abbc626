"""Offsets of landmarks and sizes of parts in a fit's covariance: as by the inverse of J'J, and covering the truth."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL, Landmark
from smilfit.handlers import (
    BodyPosePriorHandler,
    Keypoint2dHandler,
    LandmarkOffsetPriorHandler,
    PartSizePriorHandler,
)
from smilfit.losses import KeypointMSELoss, PoseRegLoss
from smilfit.registrants import SMPLify, Stage
from smilfit.solvers import LevenbergMarquardt
from smilfit.structures import Keypoints2d
from tests.animals import marked_animal, random_params, ring_of_cameras

NOISE_PX, POSE_SD, OFFSET_SD, STEP = 1.0, 0.25, 0.2, 1e-5
WEIGHTS = {
    'keypoints2d_mse': NOISE_PX**-2,
    'pose': POSE_SD**-2,
    'landmark_offset_prior': 1.0,
    'part_size_prior': 1.0,
}


def body_with(points):
    """A body of joints alone; or one whose joints carry known and unknown landmarks, or whose skin has one, too."""
    data = replace(marked_animal(n_joints=8), posedirs=None, shapedirs=None, shape_mean=None, shape_cov=None)
    data = replace(data, joint_regressor=None, scaledirs=None, transdirs=None)
    draw = np.random.default_rng(0).normal(size=(8, 3))
    marks = {f'unknown_{n}': Landmark(n, n, sd=OFFSET_SD) for n in data.joint_names}
    marks |= {f'known_{n}': Landmark(n, n, tuple(x.tolist())) for n, x in zip(data.joint_names, 0.5 * draw)}
    if points == 'skin':
        marks |= {'skin': data.landmarks['mark_on_skin']}
    return SMIL(replace(data, landmarks={} if points == 'joints' else marks)).double()


def sds_of(body):
    """Return the standard deviations of offsets, by landmark, and of sizes."""
    data = body.data
    offsets = [data.landmarks[n].sd for n in data.unknown_landmarks]
    return torch.tensor(offsets).double(), torch.tensor([p.sd for p in data.part_sizes.values()]).double()


def make_session(body, count, seed):
    """Draw poses, offsets and sizes as the priors say, and label keypoints in four images."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64)

    truth = random_params(body.data, count, angle=POSE_SD, seed=seed)
    offset_sd, size_sd = sds_of(body)
    truth = truth.replace(
        transl=0.2 * truth.transl,
        scale=truth.scale[:1].expand(count).clone(),
        betas=0 * truth.betas,
        landmark_offsets=(offset_sd[:, None] * draw(1, len(offset_sd), 3)).expand(count, -1, -1).clone(),
        part_sizes=(size_sd * draw(1, len(size_sd))).clamp(-0.29, 0.29).expand(count, -1).clone(),
    )
    names, cameras = (*body.joint_names, *body.data.landmarks), ring_of_cameras()
    xy, _, valid = cameras.project(body(truth, names).keypoints)
    return truth, Keypoints2d(xy + NOISE_PX * draw(*xy.shape), valid.double(), names, cameras)


def fit(body, truth, seen, backend='auto'):
    """Terms are in standard deviations: the energy is that of a posterior, times two."""
    marked = {'landmark_offsets', 'landmark_offset_prior'} if not body.data.unknown_landmarks else set()
    known = ('global_orient', 'transl', 'body_pose', 'scale', 'landmark_offsets', 'part_sizes')
    weights = {k: w for k, w in WEIGHTS.items() if k not in marked}
    stage = Stage(n_iter=40, ftol=1e-12, fit=tuple(n for n in known if n not in marked), weights=weights)
    handlers = [
        Keypoint2dHandler(KeypointMSELoss(reduction='sum')),
        BodyPosePriorHandler(PoseRegLoss(reduction='sum'), handler_key='pose'),
        LandmarkOffsetPriorHandler(),
        PartSizePriorHandler(),
    ]
    solver = LevenbergMarquardt(backend, covariance=True)
    # Starts at the poses: the valley is not what is asked about.
    start = truth.replace(landmark_offsets=None, part_sizes=None)
    fitter = SMPLify(body, [stage], handlers, solver, use_one_betas_per_video=True)
    return fitter([seen], init_params=start)


def twin(body, result, seen):
    """Return covariances of what is shared, and of keypoints, by derivatives of all residuals, found by
    differences."""
    params, (offset_sd, size_sd) = result.params, sds_of(body)
    count, rows = params.batch_size, 3 * len(offset_sd)
    own = torch.cat((params.global_orient, params.body_pose.flatten(1), params.transl), 1)
    parts = [params.scale[:1].log(), params.part_sizes[0]]
    if rows:
        parts.insert(1, params.landmark_offsets[0].flatten())
    x = torch.cat((own.flatten(), *parts))
    first = own.numel()

    def points(x, names):
        own, shared = x[:first].view(count, 27), x[first:]
        changed = params.replace(
            global_orient=own[:, :3],
            body_pose=own[:, 3:24].unflatten(1, (-1, 3)),
            transl=own[:, 24:],
            scale=shared[:1].exp().expand(count),
            part_sizes=shared[1 + rows :].expand(count, -1),
        )
        if rows:
            offsets = shared[1 : 1 + rows].view(1, -1, 3).expand(count, -1, -1)
            changed = changed.replace(landmark_offsets=offsets)
        return body(changed, names).keypoints

    def residuals(x):
        own, shared = x[:first].view(count, 27), x[first:]
        xy = seen.cameras.project(points(x, seen.names))[0]
        return [
            (xy - seen.xy) * seen.confidence.unsqueeze(-1) / NOISE_PX,
            own[:, 3:24] / POSE_SD,
            shared[1 : 1 + rows].view(-1, 3) / offset_sd[:, None],
            shared[1 + rows :] / size_sd,
        ]

    def slopes(function):
        steps = STEP * torch.eye(len(x)).double()
        return torch.stack([(function(x + s) - function(x - s)) / (2 * STEP) for s in steps], -1)

    J = slopes(lambda x: torch.cat([r.flatten() for r in residuals(x)]))
    variances = result.covariance.noise_by_group['keypoints2d_mse'].square()
    pixels = variances[None, ..., None].expand_as(seen.xy).flatten()
    noise = torch.cat((pixels, variances.median().expand(len(J) - len(pixels))))
    inverse = torch.linalg.inv(J.mT @ J)
    C = inverse @ (J.mT @ (noise.unsqueeze(1) * J)) @ inverse
    P = slopes(lambda x: points(x, result.covariance.keypoint_names))
    return C[first:, first:], P @ C @ P.mT


@pytest.mark.parametrize('points', ['joints', 'landmarks', 'skin'])
@pytest.mark.parametrize('backend', ['torch', 'auto'])
def test_covariances_are_those_of_all_derivatives(points, backend):
    body = body_with(points)
    truth, seen = make_session(body, 3, seed=1)
    result = fit(body, truth, seen, backend)
    engine = 'dense' if backend == 'torch' else 'kernel'
    assert result.history[0]['engine'].startswith(engine)
    shared, keypoints = twin(body, result, seen)
    matches = result.covariance
    torch.testing.assert_close(matches.keypoints, keypoints, rtol=1e-4, atol=1e-7)
    columns = [matches.columns.index('log_scale[0]')]
    columns += [i for i, n in enumerate(matches.columns) if n.startswith('landmark_offsets')]
    columns += [i for i, n in enumerate(matches.columns) if n.startswith('part_sizes')]
    for frame in matches.parameters:
        torch.testing.assert_close(frame[columns][:, columns], shared, rtol=1e-4, atol=1e-8)


def test_covariances_in_images_are_those_of_projected_points():
    body = body_with('landmarks')
    truth, seen = make_session(body, 2, seed=3)
    result = fit(body, truth, seen)
    covariance, cameras = result.covariance, ring_of_cameras(2, dist=-0.1)
    points = body(result.params, covariance.keypoint_names).keypoints
    matches = covariance.in_cameras(points, cameras)
    steps = STEP * torch.eye(3).double()
    slopes = [(cameras.project(points + s)[0] - cameras.project(points - s)[0]) / (2 * STEP) for s in steps]
    slope = torch.stack(slopes, -1)
    torch.testing.assert_close(matches, slope @ covariance.keypoints.unsqueeze(1) @ slope.mT)
    # What is not known in space is not known in an image.
    lost = covariance.keypoints.clone()
    lost[0, 1, 2, 2] = torch.inf
    matches = replace(covariance, keypoints=lost).in_cameras(points, cameras)
    assert matches[0, :, 1].diagonal(dim1=-2, dim2=-1).isinf().all()
    assert matches[0, :, 0].isfinite().all()


def test_intervals_hold_what_is_shared_and_labels_of_a_camera_that_was_left_out():
    """Offsets and sizes are drawn as the priors say: nine in ten lie within the intervals of nine in ten."""
    body = body_with('skin')
    kinds = {'offsets': [], 'sizes': [], 'left out': []}
    for seed in range(8):
        truth, seen = make_session(body, 4, seed)
        confidence = seen.confidence.clone()
        confidence[:, 0] = 0
        result = fit(body, truth, replace(seen, confidence=confidence))
        matches, params = result.covariance, result.params
        sds = dict(zip(matches.columns, matches.parameter_sd()[0]))
        for kind, name in (('offsets', 'landmark_offsets'), ('sizes', 'part_sizes')):
            errors = (getattr(params, name)[0] - getattr(truth, name)[0]).flatten()
            sd = torch.stack([sds[f'{name}[{i}]'] for i in range(len(errors))])
            kinds[kind].append((errors / sd).abs())
        points = body(params, seen.names).keypoints
        rows = [matches.keypoint_names.index(n) for n in seen.names]
        known = replace(matches, keypoints=matches.keypoints[:, rows], keypoint_names=seen.names)
        covariance = known.in_cameras(points, seen.cameras)
        sd = (covariance.diagonal(dim1=-2, dim2=-1) + NOISE_PX**2).sqrt()
        errors = (seen.cameras.project(points)[0] - seen.xy) / sd
        kinds['left out'].append(errors[:, 0].abs().flatten())
    share = {kind: float((torch.cat(x) < 1.645).double().mean()) for kind, x in kinds.items()}
    assert share['offsets'] == pytest.approx(0.9, abs=0.06)
    assert share['sizes'] == pytest.approx(0.9, abs=0.15)
    assert share['left out'] == pytest.approx(0.9, abs=0.03)
