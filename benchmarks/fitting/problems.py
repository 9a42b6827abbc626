"""Made poses of a body, seen with noise, and the objective that every method minimises.

`E = w |r|^2 + 0.04 |theta|^2 + 0.0025 |beta|^2` by frame: r are distances of joints from where they were seen, theta
the axis-angle components of all joints but the root, beta the shape. Poses, shapes and places are normal about rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smilfit.body_models import SMIL, BodyModelData
from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle
from smilfit.structures import BodyParams, Cameras, Keypoints2d, Keypoints3d

NOISE = 0.005
NOISE_PX = 1.5
POSE_SD_RAD, SHAPE_SD, TRANSL_SD = 0.25, 1.0, 0.2
WEIGHT_3D, WEIGHT_POSE, WEIGHT_SHAPE = 100.0, 0.04, 0.0025
# A pixel of noise weighs what the same share of the noise in space does.
WEIGHT_2D = WEIGHT_3D * (NOISE / NOISE_PX) ** 2


@dataclass(frozen=True)
class Problem:
    """What was seen of a body whose truth is known; the weights of the objective."""

    data: BodyModelData
    body: SMIL
    truth: BodyParams
    seen: Keypoints2d | Keypoints3d
    shared_shape: bool = False
    weight: float = WEIGHT_3D
    weight_pose: float = WEIGHT_POSE
    weight_shape: float = WEIGHT_SHAPE
    # Distance beyond which a residual counts less (Geman-McClure); None never.
    sigma: float | None = None

    @property
    def batch(self) -> int:
        """How many frames."""
        return self.seen.batch_size

    @property
    def clean(self) -> Tensor:
        """The true joints."""
        with torch.no_grad():
            return self.body(self.truth).joints

    def error(self, params: BodyParams) -> Tensor:
        """Give the distance of every joint from its true place (B, J)."""
        with torch.no_grad():
            return (self.body(params).joints - self.clean).norm(dim=-1)


def plain_data(data: BodyModelData) -> BodyModelData:
    """Leave out what would make the shape prior another one than the peers'."""
    return replace(data, shape_mean=None, shape_cov=None)


def draw_truth(
    body: SMIL,
    batch: int,
    rng: torch.Generator,
    shared_shape: bool = False,
    pose_sd: float = POSE_SD_RAD,
    heading: str = 'near',
    shape_sd: float = SHAPE_SD,
) -> BodyParams:
    """Draw poses about rest.

    The root turns as much as any joint, and besides, about the world's z, not at all (`'near'`) or by any angle
    (`'any'`); or is turned over first, about x (`'upside down'`).
    """

    def normal(sd: float, *shape: int) -> Tensor:
        return sd * torch.randn(shape, generator=rng)

    betas = normal(shape_sd, 1 if shared_shape else batch, body.n_betas)
    orient = normal(POSE_SD_RAD, batch, 3)
    params = BodyParams(
        orient,
        normal(pose_sd, batch, body.n_joints - 1, 3),
        betas.expand(batch, -1).clone(),
        normal(TRANSL_SD, batch, 3),
        torch.ones(batch),
    )
    return params if heading == 'near' else params.replace(global_orient=_turned(orient, heading, rng))


def _turned(orient: Tensor, heading: str, rng: torch.Generator) -> Tensor:
    """Turn bodies about z by any angle up to half a circle, and before that over if they are to lie upside down."""
    angle = 2 * torch.pi * (torch.rand(len(orient), generator=rng) - 0.5)
    turn = axis_angle_to_rotmat(torch.stack((0 * angle, 0 * angle, angle), 1))
    if heading == 'upside down':
        turn = turn @ torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    return rotmat_to_axis_angle(turn @ axis_angle_to_rotmat(orient))


def seen_in_space(
    data: BodyModelData,
    batch: int,
    seed: int,
    missing: float = 0.0,
    names: Sequence[str] | None = None,
    **truth_options: Any,
) -> Problem:
    """Make a problem of keypoints in 3D: of all joints, or of those named."""
    body, rng = SMIL(data), torch.Generator().manual_seed(seed)
    truth = draw_truth(body, batch, rng, **truth_options)
    points = _points(body, truth, names)
    noisy = points + NOISE * torch.randn(points.shape, generator=rng)
    confidence = (torch.rand(noisy.shape[:2], generator=rng) >= missing).float()
    seen = Keypoints3d(noisy, confidence, tuple(names or body.joint_names))
    return Problem(data, body, truth, seen, truth_options.get('shared_shape', False))


def _points(body: SMIL, truth: BodyParams, names: Sequence[str] | None) -> Tensor:
    with torch.no_grad():
        return body(truth).joints if names is None else body(truth, need=tuple(names)).select(tuple(names))


def seen_by_cameras(
    data: BodyModelData,
    batch: int,
    seed: int,
    n_views: int = 4,
    missing: float = 0.2,
    shared_shape: bool = False,
    names: Sequence[str] | None = None,
    **truth_options: Any,
) -> Problem:
    """Make a problem of keypoints in several views, some of them not seen: of all joints, or of those named."""
    body, rng = SMIL(data), torch.Generator().manual_seed(seed)
    truth = draw_truth(body, batch, rng, shared_shape, **truth_options)
    cameras = ring(n_views)
    pixels, _, _ = cameras.project(_points(body, truth, names))
    noisy = pixels + NOISE_PX * torch.randn(pixels.shape, generator=rng)
    confidence = (torch.rand(noisy.shape[:3], generator=rng) >= missing).float()
    seen = Keypoints2d(noisy, confidence, tuple(names or body.joint_names), cameras)
    return Problem(data, body, truth, seen, shared_shape, WEIGHT_2D)


def ring(n_views: int, distance: float = 5.0) -> Cameras:
    """Put cameras around the origin at several heights; 1.5 px are 0.005 units in the middle."""
    rotations, translations = [], []
    for i in range(n_views):
        angle = 2 * np.pi * (i + 0.5) / n_views
        eye = np.array([np.cos(angle), np.sin(angle), 0.3 + 0.3 * (i % 3)])
        eye *= distance / np.linalg.norm(eye)
        forward = -eye / distance
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        rotation = np.stack((right, np.cross(forward, right), forward))
        rotations.append(rotation)
        translations.append(-rotation @ eye)
    focal = distance * NOISE_PX / NOISE
    K = torch.tensor([[focal, 0, 639.5], [0, focal, 511.5], [0, 0, 1]])
    return Cameras(
        names=tuple(f'camera_{i}' for i in range(n_views)),
        K=K.expand(n_views, 3, 3).clone(),
        R=torch.tensor(np.stack(rotations), dtype=torch.float32),
        t=torch.tensor(np.stack(translations), dtype=torch.float32),
        size=torch.tensor([[1280.0, 1024.0]]).expand(n_views, 2).clone(),
    )
