"""Fits with everything in their files, made without fitting."""

import numpy as np
import torch

from smilfit.body_models import load_body_model
from smilfit.body_models.pose_sampling import PoseSampler
from smilfit.structures import Cameras, FitCovariance, FitOrigin, FitResult, FitVerdict, Keypoints3d
from smilfit.structures.fit_record import FittedModel
from tests.networks.cameras_around import cameras_around

T = 6
FPS = 25.0


def rig() -> Cameras:
    one = cameras_around(1, 3, distance=400.0, focal=300.0)
    tensors = {n: getattr(one, n)[0].double() for n in ('K', 'R', 't', 'size')}
    # Not square, and with a lens.
    tensors['K'][:, 0, 0] *= 1.1
    tensors['size'][:, 0] = 160.0
    dist = torch.tensor([-0.2, 0.02, 1e-3, -1e-3, 0.0], dtype=torch.float64).expand(3, 5).clone()
    return Cameras(('back', 'mid', 'top'), dist=dist, unit='mm', **tensors)


def made_fit(seed: int = 0, joint_scales: bool = False, missing: int | None = 2) -> FitResult:
    """Return a fit of a shipped animal: shape, sizes of parts and joints, scale, one frame that was not fitted."""
    body = load_body_model('quadruped')
    generator = torch.Generator().manual_seed(seed)
    params = PoseSampler(body)(T, generator)

    def shared(*shape: int, sd: float) -> torch.Tensor:
        return (sd * torch.randn(1, *shape, generator=generator)).expand(T, *shape).clone()

    params = params.replace(
        betas=shared(body.n_betas, sd=0.5),
        scale=torch.full((T,), 60.0),
        transl=20 * torch.randn(T, 3, generator=generator),
        part_sizes=shared(len(body.part_sizes), sd=0.1),
        joint_offsets=shared(body.n_joints, 3, sd=0.01),
        log_joint_scales=shared(body.n_joints, 3, sd=0.1) if joint_scales else None,
    )
    with torch.no_grad():
        points = body(params, names_of(body)).keypoints
    confidence = torch.ones(points.shape[:2])
    if missing is not None:
        blank = params.map(lambda x: x.clone())
        for name in ('global_orient', 'body_pose', 'transl'):
            getattr(blank, name)[missing] = torch.nan
        params, confidence[missing] = blank, 0.0
    words = tuple('not fitted' if t == missing else 'not believable' if t == 4 else 'good' for t in range(T))
    sd = torch.full((T, 3 * body.n_joints), 0.02)
    return FitResult(
        params=params,
        per_frame_loss=torch.arange(T, dtype=torch.float32),
        converged=torch.ones(T, dtype=torch.bool),
        report={'frames_not_observed': int(missing is not None)},
        body=body,
        recorded_cameras=rig(),
        keypoints3d=Keypoints3d(points, confidence, names_of(body), 'mm'),
        model=FittedModel.of(body.data),
        origin=FitOrigin('session_1', body_model_file='quadruped', fps=FPS, unit='mm'),
        frames=torch.arange(T),
        verdict=FitVerdict('doubtful', ('a reason',), words, ('',) * T),
        covariance=FitCovariance(
            None,
            tuple(f'{j}.turn_{a}' for j in body.joint_names for a in 'xyz'),
            torch.eye(3).expand(T, 4, 3, 3),
            names_of(body),
            1.0,
            sd,
        ),
    )


def names_of(body) -> tuple[str, ...]:
    """Name some keypoints of the body."""
    return tuple(body.joint_names[j] for j in (0, 3, 7, 11))


def close(found, wanted, size, share=1e-4):
    np.testing.assert_allclose(found, wanted, atol=share * size)
