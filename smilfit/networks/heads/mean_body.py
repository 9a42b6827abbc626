"""The mean pose of sampled bodies, and how far each keypoint strays from it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.body_models.pose_sampling import PoseSampler
from smilfit.geometry.alignment import procrustes
from smilfit.structures import BodyParams

N_DRAWN = 2000
ROUNDS = 3
# Of the body's length: what is assumed of keypoints where nothing is sampled, and the least that is believed.
PLAIN_SPREAD = 0.1
LEAST_SPREAD = 0.01


class MeanBody(NamedTuple):
    """The mean of a body's poses, not turned, at the origin, scale 1."""

    pose: Float[Tensor, 'j 3 3']
    betas: Float[Tensor, ' S']
    scale: float
    # Keypoints, model unit, and their variance per axis over poses, model unit^2.
    points: Float[Tensor, 'K 3']
    spread: Float[Tensor, ' K']


@torch.no_grad()
def mean_body(body: SMIL, names: Sequence[str], sampler: PoseSampler | None) -> MeanBody:
    """Find the mean of sampled bodies; the rest pose where there is no sampler.

    Keypoints of the samples are laid on those of the mean pose, each weighing by how little it strays.
    """
    like, length = body.v_template, body.rest_size
    rest = body.zero_params()
    if sampler is None:
        pose = torch.eye(3).to(like).expand(body.n_joints - 1, 3, 3)
        betas, scale = rest.betas[0], 1.0
    else:
        drawn = sampler(N_DRAWN, torch.Generator(device=like.device).manual_seed(0)).to(like)
        turns = drawn.rotations()[:, 1:].mean(0)
        U, _, Vh = torch.linalg.svd(turns)
        sign = torch.ones_like(U[..., 0])
        sign[..., 2] = torch.linalg.det(U @ Vh)
        pose = (U * sign.unsqueeze(-2)) @ Vh
        betas, scale = drawn.betas.mean(0), float(drawn.scale.log().mean().exp())
    mean = BodyParams(torch.eye(3).to(like)[None], pose[None], betas[None], rest.transl, rest.scale)
    points = body(mean, need=tuple(names)).keypoints[0]
    spread = torch.full_like(points[:, 0], (PLAIN_SPREAD * length) ** 2)
    if sampler is not None:
        seen = body(drawn, need=tuple(names)).keypoints / drawn.scale[:, None, None]
        source = points.expand_as(seen)
        for _ in range(ROUNDS):
            weights = (spread.mean() / spread).expand(len(seen), -1)
            laid = procrustes(source, seen, weights)
            off = (laid.apply(source) - seen).square().sum(-1) / laid.scale.square().unsqueeze(1)
            spread = (off.mean(0) / 3).clamp_min((LEAST_SPREAD * length) ** 2)
    return MeanBody(pose, betas, scale, points, spread)
