"""Made poses of a body, seen with noise, and the objective that every method minimises.

`E = w |r|^2 + 0.04 |theta|^2 + 0.0025 |beta|^2` by frame: r are distances of joints from where they were seen, theta
the axis-angle components of all joints but the root, beta the shape. Poses, shapes and places are normal about rest.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from smilfit.body_models import SMIL, BodyModelData
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


def draw_truth(body: SMIL, batch: int, rng: torch.Generator, shared_shape: bool = False) -> BodyParams:
    """Draw poses about rest; the root turns as much as any joint."""

    def normal(sd: float, *shape: int) -> Tensor:
        return sd * torch.randn(shape, generator=rng)

    betas = normal(SHAPE_SD, 1 if shared_shape else batch, body.n_betas)
    return BodyParams(
        normal(POSE_SD_RAD, batch, 3),
        normal(POSE_SD_RAD, batch, body.n_joints - 1, 3),
        betas.expand(batch, -1).clone(),
        normal(TRANSL_SD, batch, 3),
        torch.ones(batch),
    )


def seen_in_space(data: BodyModelData, batch: int, seed: int, missing: float = 0.0) -> Problem:
    """Make a problem of all joints in 3D."""
    body, rng = SMIL(data), torch.Generator().manual_seed(seed)
    truth = draw_truth(body, batch, rng)
    with torch.no_grad():
        joints = body(truth).joints
    noisy = joints + NOISE * torch.randn(joints.shape, generator=rng)
    confidence = (torch.rand(noisy.shape[:2], generator=rng) >= missing).float()
    return Problem(data, body, truth, Keypoints3d(noisy, confidence, body.joint_names))


def seen_by_cameras(
    data: BodyModelData,
    batch: int,
    seed: int,
    n_views: int = 4,
    missing: float = 0.2,
    shared_shape: bool = False,
) -> Problem:
    """Make a problem of all joints in several views, some of them not seen."""
    body, rng = SMIL(data), torch.Generator().manual_seed(seed)
    truth = draw_truth(body, batch, rng, shared_shape)
    cameras = ring(n_views)
    with torch.no_grad():
        pixels, _, _ = cameras.project(body(truth).joints)
    noisy = pixels + NOISE_PX * torch.randn(pixels.shape, generator=rng)
    confidence = (torch.rand(noisy.shape[:3], generator=rng) >= missing).float()
    seen = Keypoints2d(noisy, confidence, body.joint_names, cameras)
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
