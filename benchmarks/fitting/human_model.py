"""A body of SMPL's size and structure, made up: 6890 vertices, 24 joints, 10 shape and 207 pose directions, in m."""

import numpy as np
import torch

from benchmarks.fitting.problems import Problem
from smilfit.body_models import SMIL, BodyModelData, SparseMatrix
from smilfit.structures import BodyParams, Keypoints3d

# x of the left side, y, z; the right side is its mirror image. SMPL's tree.
_MIDDLE = {'pelvis': (0.0, 0.0), 'spine1': (0.11, -0.02), 'spine2': (0.25, -0.01), 'spine3': (0.31, 0.0)}
_MIDDLE |= {'neck': (0.52, -0.02), 'head': (0.61, 0.03)}
_SIDES = {
    'hip': (0.07, -0.09, 0.0), 'knee': (0.11, -0.47, 0.0), 'ankle': (0.09, -0.87, -0.03),
    'foot': (0.11, -0.93, 0.09), 'collar': (0.08, 0.43, -0.02), 'shoulder': (0.19, 0.45, -0.03),
    'elbow': (0.45, 0.43, -0.05), 'wrist': (0.70, 0.44, -0.05), 'hand': (0.79, 0.43, -0.06),
}  # fmt: skip
NAMES = (
    'pelvis', 'hip_L', 'hip_R', 'spine1', 'knee_L', 'knee_R', 'spine2', 'ankle_L', 'ankle_R', 'spine3', 'foot_L',
    'foot_R', 'neck', 'collar_L', 'collar_R', 'head', 'shoulder_L', 'shoulder_R', 'elbow_L', 'elbow_R', 'wrist_L',
    'wrist_R', 'hand_L', 'hand_R',
)  # fmt: skip
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
# A standard deviation of one shape coefficient stretches the body by about so much in some direction.
_STRETCH = 0.012
_N_BETAS, _N_NEAR = 10, 30


def human_data(n_vertices: int = 6890, seed: int = 0) -> BodyModelData:
    """Make the body: vertices about the bones, four weights a vertex, joints from the vertices near them."""
    rng = np.random.default_rng(seed)
    places = np.array([_place(name) for name in NAMES])
    end = rng.integers(1, len(NAMES), n_vertices)
    start = np.array(PARENTS)[end]
    along = rng.random((n_vertices, 1))
    vertices = (1 - along) * places[start] + along * places[end] + 0.04 * rng.normal(size=(n_vertices, 3))
    distance = np.linalg.norm(vertices[:, None] - places, axis=2)
    weights = np.where(np.argsort(np.argsort(distance, 1), 1) < 4, 1 / (distance + 0.02) ** 3, 0)
    weights /= weights.sum(1, keepdims=True)
    regressor = np.zeros((len(NAMES), n_vertices))
    for j, row in enumerate(np.argsort(distance.T, axis=1)[:, :_N_NEAR]):
        regressor[j, row] = 1 / len(row)
    stretch = _STRETCH * rng.normal(size=(_N_BETAS, 3, 3))
    return BodyModelData(
        name='made human',
        v_template=vertices,
        faces=np.stack([np.arange(n_vertices - 2) + i for i in range(3)], 1),
        joint_names=NAMES,
        parents=np.array(PARENTS),
        weights=SparseMatrix.from_dense(weights),
        joints=regressor @ vertices,
        joint_regressor=SparseMatrix.from_dense(regressor),
        shapedirs=np.einsum('sij,vj->vis', stretch, vertices),
        posedirs=0.001 * rng.normal(size=(9 * (len(NAMES) - 1), 3 * n_vertices)),
        unit='m',
    )


def human_clip(data: BodyModelData, frames: int, seed: int = 0) -> Problem:
    """Make a smooth clip of one person, joints seen exactly, the shape unknown."""
    rng = torch.Generator().manual_seed(seed)
    body = SMIL(data)
    joints = body.n_joints

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=rng)

    time = torch.arange(frames)[:, None, None] / 60.0
    rate, phase = 0.5 + torch.rand((1, joints, 3), generator=rng), 2 * torch.pi * normal(1, joints, 3)
    pose = 0.2 * normal(1, joints, 3) + 0.15 * torch.sin(2 * torch.pi * rate * time + phase)
    truth = BodyParams(
        pose[:, 0],
        pose[:, 1:],
        normal(1, _N_BETAS).expand(frames, -1).clone(),
        0.2 * normal(1, 3) + 0.3 * time[:, 0] * normal(1, 3),
        torch.ones(frames),
    )
    with torch.no_grad():
        xyz = body(truth).joints
    seen = Keypoints3d(xyz, torch.ones_like(xyz[..., 0]), body.joint_names)
    # The least priors that keep what no joint shows at rest.
    return Problem(data, body, truth, seen, shared_shape=True, weight_pose=1e-4, weight_shape=1e-4)


def _place(name: str) -> tuple[float, float, float]:
    if name in _MIDDLE:
        return (0.0, *_MIDDLE[name])
    part, side = name.split('_')
    x, y, z = _SIDES[part]
    return (x if side == 'L' else -x, y, z)
