"""smplx's own forward pass on our model data, and the objective computed with it: no code of smilfit takes part."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from smplx.lbs import lbs
from torch import Tensor

from benchmarks.fitting.problems import Problem
from smilfit.body_models import BodyModelData
from smilfit.structures import BodyParams, Keypoints2d, Keypoints3d


class Arrays(NamedTuple):
    """What smplx's skinning takes of a model file."""

    template: Tensor
    shapedirs: Tensor
    posedirs: Tensor
    regressor: Tensor
    parents: Tensor
    weights: Tensor


@dataclass(frozen=True)
class ReferenceBody:
    """The peers' body model: vertices first, then joints."""

    arrays: Arrays

    @classmethod
    def of(cls, data: BodyModelData, dtype: torch.dtype) -> 'ReferenceBody':
        """Take a model's arrays; smplx cannot leave pose correctives out, so zeros stand in for missing ones."""
        n_rows = 9 * (data.n_joints - 1)
        posedirs = torch.zeros(n_rows, 3 * data.n_vertices, dtype=dtype)
        if data.posedirs is not None:
            posedirs = torch.as_tensor(data.posedirs, dtype=dtype)
        return cls(
            Arrays(
                torch.as_tensor(data.v_template, dtype=dtype),
                torch.as_tensor(data.shapedirs, dtype=dtype),
                posedirs,
                torch.as_tensor(data.joint_regressor.to_dense(), dtype=dtype),
                torch.as_tensor(data.parents),
                torch.as_tensor(data.weights.to_dense(), dtype=dtype),
            )
        )

    def joints(self, orient: Tensor, pose: Tensor, betas: Tensor, transl: Tensor) -> Tensor:
        """Pose the body: all vertices are computed, as the peers do, and the joints are returned."""
        a, batch = self.arrays, len(orient)
        full = torch.cat([orient[:, None], pose], 1).flatten(1)
        template = a.template[None].expand(batch, -1, -1)
        _, joints = lbs(
            betas, full, template, a.shapedirs, a.posedirs, a.regressor, a.parents, a.weights, pose2rot=True
        )
        return joints + transl[:, None]


def residual_terms(joints: Tensor, seen: Keypoints2d | Keypoints3d) -> Tensor:
    """Give every observation's squared distance; 0 where nothing was seen."""
    if isinstance(seen, Keypoints3d):
        return (joints - seen.xyz).square().sum(-1) * seen.confidence
    cameras = seen.cameras
    in_camera = joints[:, None] @ cameras.R.transpose(-1, -2) + cameras.t[:, None]
    pixels = (in_camera / in_camera[..., 2:]) @ cameras.K.transpose(-1, -2)
    return (pixels[..., :2] - seen.xy).square().sum(-1) * seen.confidence


def objective(
    problem: Problem,
    body: ReferenceBody,
    orient: Tensor,
    pose: Tensor,
    betas: Tensor,
    transl: Tensor,
) -> Tensor:
    """Give each frame's energy (B,), in the type of its arguments."""
    terms = residual_terms(body.joints(orient, pose, betas, transl), problem.seen.to(orient.dtype))
    if problem.sigma is not None:
        terms = terms / (1 + terms / problem.sigma**2)
    prior = problem.weight_pose * pose.square().sum((1, 2)) + problem.weight_shape * betas.square().sum(1)
    return problem.weight * terms.flatten(1).sum(1) + prior


def recomputed_energy(problem: Problem, params: BodyParams) -> float:
    """Give the mean energy a frame, in float64, of the parameters that a method returned.

    Raises:
        ValueError: parameters that the peers' model does not have.
    """
    if not bool((params.scale == 1).all()) or params.joint_offsets is not None:
        raise ValueError('benchmark: the fit must move what the peers move; got a scale or joint offsets.')
    params = params.as_axis_angle().to('cpu', torch.float64)
    body = ReferenceBody.of(problem.data, torch.float64)
    total = 0.0
    with torch.no_grad():
        # In blocks: all vertices of ten thousand frames would not fit into memory.
        for rows in torch.arange(problem.batch).split(256):
            p = params[rows]
            part = replace(problem, seen=problem.seen[rows].to('cpu'))
            total += float(objective(part, body, p.global_orient, p.body_pose, p.betas, p.transl).sum())
    # One shape of all frames is one prior term.
    surplus = problem.weight_shape * float(params.betas[1:].square().sum()) if problem.shared_shape else 0.0
    return (total - surplus) / problem.batch
