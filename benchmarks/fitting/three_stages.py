"""Peer C: XRMoCap's shipped three stages, by its documented behaviour, on a body of SMPL's size.

Shape by limb lengths at rest, then orientation and translation by shoulders and hips, then orientation, translation
and pose by all joints. Joints are compared by `gmof((p - t)^2, 100)`, the loss counts as settled by a tolerance that
is absolute below 1, gradients are clipped to norm 1 inside the closure, all vertices are computed every time,
parameters that do not move stay in the optimiser, and the shape is one for the clip. What it spends on converting
keypoint names in every evaluation is left out.
"""

import torch
from torch import Tensor

from benchmarks.fitting.human_model import NAMES, PARENTS
from benchmarks.fitting.peers import Fitted, minimise
from benchmarks.fitting.problems import Problem
from benchmarks.fitting.reference_body import ReferenceBody
from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_rot6d
from smilfit.structures import BodyParams

GRAD_CLIP, SIGMA = 1.0, 100.0
# It has 25 limbs, of which the three across the trunk are not rigid.
_RIGID = tuple((j, p) for j, p in enumerate(PARENTS) if p >= 0 and NAMES[j] != 'spine1')
_ACROSS = (('shoulder_L', 'hip_L'), ('shoulder_R', 'hip_R'), ('shoulder_L', 'shoulder_R'))
LIMBS = torch.tensor([*_RIGID, *((NAMES.index(a), NAMES.index(b)) for a, b in _ACROSS)])
_TRUNK = ('shoulder_L', 'shoulder_R', 'hip_L', 'hip_R')
TRUNK_WEIGHTS = torch.tensor([5.0 * (name in _TRUNK) for name in NAMES])


def three_stages(problem: Problem, n_iter: tuple[int, int, int] = (10, 50, 120)) -> Fitted:
    """Fit as peer C does."""
    body = ReferenceBody.of(problem.data, torch.float32)
    batch, target = problem.batch, problem.seen.xyz
    orient, transl = torch.zeros(batch, 3), torch.zeros(batch, 3)
    pose, betas = torch.zeros(batch, problem.body.n_joints - 1, 3), torch.zeros(1, problem.body.n_betas)
    evaluations = 0

    def joints() -> Tensor:
        nonlocal evaluations
        evaluations += 1
        return body.joints(orient, pose, betas.expand(batch, -1), transl)

    def shape_loss() -> Tensor:
        return (lengths(joints()) - lengths(target)).square().mean() + 5e-3 * betas.square().mean()

    def trunk_loss() -> Tensor:
        return keypoint_loss(joints(), target, TRUNK_WEIGHTS)

    def pose_loss() -> Tensor:
        data = 10.0 * keypoint_loss(joints(), target, torch.ones(len(NAMES)))
        return data + smoothness(pose) + 1e-3 * pose.square().mean()

    every = {'orient': orient, 'transl': transl, 'pose': pose, 'betas': betas}
    stages = (
        (shape_loss, ('betas',)),
        (trunk_loss, ('orient', 'transl')),
        (pose_loss, ('orient', 'transl', 'pose')),
    )
    for (loss, names), steps in zip(stages, n_iter):
        moving = {name: every[name] for name in names}
        frozen = {name: leaf for name, leaf in every.items() if name not in names}
        minimise(loss, moving, steps, frozen, GRAD_CLIP)
    shape = betas.expand(batch, -1).clone()
    return Fitted(BodyParams(orient, pose, shape, transl, torch.ones(batch)), evaluations)


def keypoint_loss(joints: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Sum Geman-McClure of the SQUARED coordinate differences: the square is taken twice."""
    squared = (joints - target).square()
    robust = SIGMA**2 * squared.square() / (SIGMA**2 + squared.square())
    return (robust * weights[:, None]).sum()


def lengths(joints: Tensor) -> Tensor:
    """Give the limbs' lengths (B, L)."""
    ends = joints[:, LIMBS]
    return (ends[:, :, 0] - ends[:, :, 1]).norm(dim=-1)


def smoothness(pose: Tensor) -> Tensor:
    """Mean over frames of the squared change of the rotations' six numbers."""
    rot6d = rotmat_to_rot6d(axis_angle_to_rotmat(pose))
    return rot6d.diff(dim=0).square().sum() / len(pose)
