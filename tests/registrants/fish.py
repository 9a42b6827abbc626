"""A fish of few joints and many labels on its skin, seen by a ring of cameras."""

import copy

import numpy as np
import torch

from smilfit.apis.fitting.fit_config import of_size
from smilfit.body_models import SMIL, BodyModelData, SparseMatrix
from smilfit.registry import build_registrant, read_config
from smilfit.structures import Keypoints2d, Keypoints3d
from tests.animals import ring_of_cameras

N_MARKS = 40


def make_fish() -> BodyModelData:
    """Make an ellipsoid with a tail and two fins, 1 mm long."""
    around, along = np.linspace(0, 2 * np.pi, 16, endpoint=False), np.linspace(0.15, np.pi - 0.15, 12)
    b, a = (x.ravel() for x in np.meshgrid(along, around, indexing='ij'))
    vertices = 0.5 * np.stack([np.cos(b), 0.55 * np.sin(b) * np.cos(a), 0.6 * np.sin(b) * np.sin(a)], 1)
    rings = np.arange(len(vertices)).reshape(12, 16)
    first, second, third, fourth = (
        r.ravel() for r in (rings[:-1], np.roll(rings, -1, 1)[:-1], rings[1:], np.roll(rings, -1, 1)[1:])
    )
    faces = np.concatenate([np.stack([first, second, third], 1), np.stack([second, fourth, third], 1)])
    joints = 0.5 * np.array([[0, 0, 0], [-0.6, 0, 0], [0.1, 0.5, 0], [0.1, -0.5, 0.0]])
    weights = np.exp(-((np.linalg.norm(vertices[:, None] - joints, axis=-1) / 0.25) ** 2))
    weights[weights < 0.05] = 0
    weights[:, 0] += 0.05
    marks = np.random.default_rng(0).choice(len(vertices), N_MARKS, replace=False)
    return BodyModelData(
        name='fish',
        v_template=vertices,
        faces=faces,
        joint_names=('body', 'tail', 'fin_L', 'fin_R'),
        parents=np.array([-1, 0, 0, 0]),
        weights=SparseMatrix.from_dense(weights / weights.sum(1, keepdims=True)),
        joints=joints,
        keypoint_sets={'labels': {f'mark_{i:02d}': {int(v): 1.0} for i, v in enumerate(marks)}},
        unit='mm',
    )


def fish_scene(n_frames: int = 6):
    """Return the truth, its marks in space, and what four cameras see of them."""
    data, g = make_fish(), torch.Generator().manual_seed(1)
    body, names = SMIL(data).double(), tuple(make_fish().keypoint_sets['labels'])

    def draw(*shape):
        return torch.randn(shape, generator=g).double()

    truth = body.zero_params(n_frames).replace(
        global_orient=draw(1, 3).expand(n_frames, -1) + 0.05 * draw(n_frames, 3),
        transl=0.2 * draw(1, 3) + 0.02 * draw(n_frames, 3),
        body_pose=0.1 * draw(n_frames, 3, 3),
    )
    xyz = body(truth, names).keypoints
    points = Keypoints3d(xyz, torch.ones(xyz.shape[:2]).double(), names)
    cameras = ring_of_cameras(4, 5.0)
    pixels, _, valid = cameras.project(xyz)
    return truth, points, Keypoints2d(pixels, valid.double(), names, cameras)


def shipped_fitter(config: str, body: SMIL, **changes):
    """Build a shipped config for a body of 1 mm."""
    cfg = copy.deepcopy(read_config(f'configs/fit/{config}.py').to_dict())
    return build_registrant({**of_size(cfg, 1.0), 'body_model': body, 'verbose': False, **changes})
