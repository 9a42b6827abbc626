"""Single views that are wrong on purpose: masks of things that are no animals, labels dealt out at random."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import torch

from benchmarks.believe.one_view import pictures
from benchmarks.image_scenes import FOCAL, SIDE, Scene, cameras_of
from smilfit.body_models import SMIL, load_body_model
from smilfit.evaluation.verdict.refits import dealt_out
from smilfit.handlers import MultiviewKeypoint2dMSEInput
from smilfit.structures import Keypoints2d

N_IMAGES = 6
_CENTRE = SIDE / 2

Corners = Callable[[np.random.Generator], np.ndarray]


def barn(rng: np.random.Generator) -> np.ndarray:
    """Draw a wall with a roof and a lower annexe."""
    width, height, roof = rng.uniform(90, 140), rng.uniform(55, 90), rng.uniform(25, 50)
    left, floor = _CENTRE - width / 2 - 12, _CENTRE + height / 2
    right, annexe = left + width, rng.uniform(15, 30)
    return np.array(
        [
            (left, floor),
            (left, floor - height),
            (left + width / 2, floor - height - roof),
            (right, floor - height),
            (right, floor - 0.7 * height),
            (right + annexe, floor - 0.6 * height),
            (right + annexe, floor),
        ]
    )


def rock(rng: np.random.Generator) -> np.ndarray:
    """Draw a boulder with a rough outline."""
    turn = np.linspace(0, 2 * np.pi, 300, endpoint=False)
    waves = sum(rng.normal(0, 0.15 / k) * np.cos(k * turn + rng.uniform(0, 2 * np.pi)) for k in range(2, 12))
    radius = 75 * (1 + waves)
    flat = rng.uniform(0.6, 0.95)
    return np.stack((_CENTRE + radius * np.cos(turn), _CENTRE + flat * radius * np.sin(turn)), 1)


def log(rng: np.random.Generator) -> np.ndarray:
    """Draw a trunk with the stump of a branch, lying or leaning."""
    half, thick, at = rng.uniform(70, 88), rng.uniform(12, 22), rng.uniform(-0.5, 0.5)
    knot = at * half
    corners = np.array(
        [(-half, -thick), (knot, -thick), (knot + 3, -thick - 10), (knot + 14, -thick - 9), (knot + 16, -thick),
         (half, -0.8 * thick), (half, 0.8 * thick), (-half, thick)]
    )  # fmt: skip
    angle = np.deg2rad(rng.uniform(-40, 40))
    c, s = np.cos(angle), np.sin(angle)
    return _CENTRE + corners @ np.array([[c, s], [-s, c]])


def masks_of_things(corners: Corners, seed: int, n: int = N_IMAGES) -> tuple[SMIL, Scene]:
    """Cut out things that nobody would take for an animal, with no keypoint."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((n, 1, SIDE, SIDE), np.uint8)
    for mask in masks:
        cv2.fillPoly(mask[0], [corners(rng).round().astype(np.int32)], 1)
    body, cameras = load_body_model('quadruped'), cameras_of(n, FOCAL)
    names = tuple(body.data.keypoint_sets['sleap'])
    nothing = Keypoints2d(torch.zeros(n, 1, len(names), 2), torch.zeros(n, 1, len(names)), names, cameras)
    return body, Scene(body.zero_params(n), cameras, nothing, torch.from_numpy(masks) > 0)


def animals(seed: int, n: int = N_IMAGES) -> tuple[SMIL, Scene]:
    """Show quadrupeds of all proportions, with keypoints and masks."""
    body = load_body_model('quadruped')
    return body, pictures(SMIL(body.data).double(), n, seed).scene


def with_shuffled_keypoints(made: tuple[SMIL, Scene], seed: int) -> tuple[SMIL, Scene]:
    """Deal the keypoints' names out at random."""
    given = MultiviewKeypoint2dMSEInput(made[1].keypoints)
    (dealt,) = dealt_out([given], np.random.default_rng(seed))
    return made[0], replace(made[1], keypoints=dealt.keypoints)
