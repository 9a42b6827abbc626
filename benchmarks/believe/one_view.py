"""Made single views of animals of all proportions: from the side, three quarters, from the front or back."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.image_scenes import APART, FOCAL, Scene, cameras_of, framed, look, seen_by
from smilfit.body_models import SMIL, BodyModelData
from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle
from smilfit.structures import BodyParams
from smilfit.synthetic import draw_betas, random_motion

NOISE_PX = 2.0
# Angle of the trunk to the image plane, degrees, and how far it is drawn around it.
VIEWS = {'profile': 0.0, 'three-quarter': 45.0, 'frontal': 90.0}
SPREAD_DEG, HIGHEST_DEG = 15.0, 30.0


@dataclass(frozen=True)
class Views:
    """Made pictures with what they are: `view` indexes `VIEWS`."""

    scene: Scene
    view: Tensor


def draw_shape(data: BodyModelData, rng: np.random.Generator) -> np.ndarray:
    """Draw proportions: a component of the model's mixture, then of its Gaussian."""
    mixture = getattr(data, 'shape_mixture', None)
    if mixture is None:
        return draw_betas(data, rng)
    which = rng.choice(len(mixture.weights), p=np.asarray(mixture.weights) / np.sum(mixture.weights))
    root = np.linalg.cholesky(mixture.covs[which])
    return mixture.means[which] + root @ np.clip(rng.standard_normal(len(root)), -2, 2)


def pictures(body: SMIL, n: int, seed: int, hidden: float = 0.0, off: float = 0.0) -> Views:
    """Show n animals, each of its own proportions, pose and side; kinds of view take turns.

    Args:
        body: the animal, float64.
        n: how many.
        seed: of all chance.
        hidden: the share of keypoints that is missing, those farthest from the camera most often.
        off: how far each animal's landmarks are from the model's, in body lengths, standard deviation.
    """
    rng = np.random.default_rng(seed)
    walk = random_motion(body, APART * n, rng, 0.01)[::APART]
    betas = torch.from_numpy(np.stack([draw_shape(body.data, rng) for _ in range(n)]))
    kind = torch.arange(n) % len(VIEWS)
    turned = torch.tensor(list(VIEWS.values())).double()[kind].numpy() + rng.uniform(
        -SPREAD_DEG, SPREAD_DEG, n
    )
    # Towards the camera or away, to the left or to the right.
    azimuth = np.deg2rad(np.where(rng.random(n) < 0.5, 90 - turned, turned - 90)) + np.pi * (
        rng.random(n) < 0.5
    )
    params = _turned(walk.replace(betas=betas), azimuth, np.deg2rad(rng.uniform(0, HIGHEST_DEG, n)))
    cameras = cameras_of(n, FOCAL)
    params = framed(body, params, cameras, FOCAL, together=False)
    scene = seen_by(body, params, cameras, NOISE_PX, rng)
    points = body(scene.truth, scene.keypoints.names).keypoints
    if off:
        moved = points + off * body.rest_size * torch.from_numpy(rng.standard_normal(points.shape))
        shift = cameras.project(moved)[0] - cameras.project(points)[0]
        scene = replace(scene, keypoints=replace(scene.keypoints, xy=scene.keypoints.xy + shift))
    if hidden:
        depth = points[..., 2] - points[..., 2].mean(1, keepdim=True)
        behind = torch.sigmoid(depth / depth.std(1, keepdim=True))
        lost = torch.from_numpy(rng.random(depth.shape)) < 2 * hidden * behind
        confidence = scene.keypoints.confidence * ~lost.unsqueeze(1)
        scene = replace(scene, keypoints=replace(scene.keypoints, confidence=confidence))
    return Views(scene, kind)


def _turned(walk: BodyParams, azimuth: np.ndarray, height: np.ndarray) -> BodyParams:
    """Show a walk from the side of its own heading: the camera at an azimuth from where the animal looks."""
    turn = axis_angle_to_rotmat(walk.global_orient)
    heading = torch.atan2(turn[:, 1, 0], turn[:, 0, 0]).numpy()
    seen_from = torch.from_numpy(np.stack([look(a, e) for a, e in zip(heading + azimuth, height)]))
    orient = rotmat_to_axis_angle(seen_from @ turn)
    return walk.replace(global_orient=orient, transl=torch.zeros_like(walk.transl))
