"""Small made-up bodies for tests: a few dozen vertices, every feature of the format."""

from dataclasses import replace

import numpy as np
import torch

from smilfit.body_models import BodyModelData, Landmark, PartSize, SparseMatrix
from smilfit.structures import BodyParams, Cameras


def small_animal(n_joints: int = 6, n_vertices: int = 40, n_betas: int = 3, seed: int = 0) -> BodyModelData:
    """Make a random body whose tree has a chain and a fork."""
    rng = np.random.default_rng(seed)
    parents = np.array([-1, 0, 1, 1, 3, 0, 5, 6, 7, 8][:n_joints])
    vertices = rng.normal(size=(n_vertices, 3))
    regressor = rng.random((n_joints, n_vertices)) * (rng.random((n_joints, n_vertices)) < 0.3)
    regressor[np.arange(n_joints), np.arange(n_joints)] += 1.0
    regressor /= regressor.sum(1, keepdims=True)
    weights = rng.random((n_vertices, n_joints)) * (rng.random((n_vertices, n_joints)) < 0.4)
    weights[np.arange(n_vertices), rng.integers(0, n_joints, n_vertices)] += 0.5
    weights /= weights.sum(1, keepdims=True)
    names = tuple(f'joint_{j}' for j in range(n_joints))
    limits = np.stack([np.full((n_joints, 3), -0.5), np.full((n_joints, 3), 0.7)], -1)
    cov = rng.normal(size=(n_betas, n_betas))
    factor = rng.normal(size=(3 * (n_joints - 1), 3 * (n_joints - 1)))
    return BodyModelData(
        name='small',
        v_template=vertices,
        faces=np.array([[i, i + 1, i + 2] for i in range(n_vertices - 2)]),
        joint_names=names,
        parents=parents,
        weights=SparseMatrix.from_dense(weights),
        joints=regressor @ vertices,
        joint_regressor=SparseMatrix.from_dense(regressor),
        shapedirs=0.2 * rng.normal(size=(n_vertices, 3, n_betas)),
        shape_mean=0.1 * rng.normal(size=n_betas),
        shape_cov=cov @ cov.T + np.eye(n_betas),
        scaledirs=0.05 * rng.normal(size=(n_betas, n_joints, 3)),
        transdirs=0.05 * rng.normal(size=(n_betas, n_joints, 3)),
        posedirs=0.05 * rng.normal(size=(9 * (n_joints - 1), 3 * n_vertices)),
        joint_limits=limits,
        joint_symmetry=((names[2], names[3]),),
        symmetry_plane_vertices=np.array([0, 1]),
        joint_groups={'spine': names[1:4], 'hinge': names[2:3], 'foot': names[-1:]},
        keypoint_sets={
            'clicks': {'nose': {3: 0.25, 7: 0.75}, 'hip': names[1], 'tail': {5: 1.0}},
            'joints_too': {names[2]: names[2], 'hip': names[1]},
        },
        pose_prior_mean=0.1 * rng.normal(size=3 * (n_joints - 1)),
        pose_prior_precision=factor @ factor.T,
        unit='mm',
        up_axis='+z',
        forward_axis='-y',
        licence='CC0-1.0',
        version='1',
    )


MARKS = {
    'mark_on_joint': Landmark('joint_1', 'joint_1', (0.3, -0.2, 0.1), 0.2),
    'mark_on_skin': Landmark({3: 0.5, 9: 0.5}, 'joint_3', sd=0.1),
    'mark_known': Landmark('joint_2', 'joint_2', (0.0, 0.1, 0.4)),
    'mark_on_parent': Landmark('joint_4', 'joint_3', (0.1, 0.0, 0.0), 0.15),
}


def marked_animal(**kwargs: int) -> BodyModelData:
    """Make a body with landmarks and with parts whose sizes may change."""
    parts = {'middle': PartSize(('joint_1', 'joint_3')), 'end': PartSize(('joint_4', 'joint_5'), 0.2, 0.4)}
    return replace(small_animal(**kwargs), landmarks=dict(MARKS), part_sizes=parts)


def static_animal(**kwargs: int) -> BodyModelData:
    """Make a body whose shape leaves the joints where they are, without optional extras."""
    return replace(
        small_animal(**kwargs),
        joint_regressor=None,
        scaledirs=None,
        transdirs=None,
        posedirs=None,
        shape_cov=None,
    )


def random_params(data: BodyModelData, batch: int = 2, angle: float = 0.4, seed: int = 1) -> BodyParams:
    """Draw float64 parameters of moderate poses."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=g, dtype=torch.float64)

    return BodyParams(
        global_orient=draw(batch, 3),
        body_pose=angle * draw(batch, data.n_joints - 1, 3),
        betas=0.5 * draw(batch, data.n_betas),
        transl=draw(batch, 3),
        scale=(0.2 * draw(batch)).exp(),
    )


def ring_of_cameras(n: int = 4, distance: float = 12.0, dist: float = 0.0) -> Cameras:
    """Put cameras around the origin, all looking at it."""
    rotations, translations = [], []
    for i in range(n):
        a = 2 * np.pi * i / n + 0.3
        centre = distance * np.array([np.cos(a), np.sin(a), 0.4])
        forward = -centre / np.linalg.norm(centre)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        rotations.append(rotation)
        translations.append(-rotation @ centre)
    k = torch.tensor([[500.0, 0, 322], [0, 510, 236], [0, 0, 1]], dtype=torch.float64)
    return Cameras(
        names=tuple(f'cam{i}' for i in range(n)),
        K=k.expand(n, 3, 3).clone(),
        R=torch.tensor(np.stack(rotations)),
        t=torch.tensor(np.stack(translations)),
        size=torch.tensor([[640.0, 480.0]], dtype=torch.float64).expand(n, 2).clone(),
        dist=torch.tensor([[dist, 0, 0, 0, 0.0]], dtype=torch.float64).expand(n, 5).clone(),
        unit='mm',
    )
