"""Cameras around an arena."""

import numpy as np
import torch

from smilfit.structures import Cameras

# k1, k2, p1, p2 of a lens at most; the fold stays far outside the image.
_LENS = np.array([0.12, 0.02, 1e-3, 1e-3])


def make_rig(
    n_cameras: int,
    arena_radius: float,
    rng: np.random.Generator,
    size: tuple[int, int] = (320, 256),
    unit: str | None = 'mm',
    lens: bool = True,
    principal_offset: float = 0.03,
) -> Cameras:
    """Place cameras on a dome around an arena: the first one above, the others around, all looking at its middle.

    Args:
        n_cameras: at least one.
        arena_radius: what every image shows, world unit; the floor is z = 0.
        rng: source of all chance.
        size: width and height of the images, px.
        unit: world unit.
        lens: with barrel and tangential distortion, of each camera another.
        principal_offset: how far the principal point is off the middle at most, as a share of the size.

    Returns:
        Float64 cameras `cam_top`, `cam_1`, `cam_2`, ….
    """
    if n_cameras < 1 or arena_radius <= 0:
        raise ValueError(
            f'make_rig: there must be a camera and an arena; got {n_cameras} cameras, radius {arena_radius}.'
        )
    K, R, t, dist, names = [], [], [], [], []
    width, height = size
    for c in range(n_cameras):
        azimuth = 2 * np.pi * (c + 0.3 * rng.random()) / max(n_cameras - 1, 1)
        elevation = np.deg2rad(rng.uniform(24, 48) if c else 84)
        distance = arena_radius * rng.uniform(4.0, 5.0)
        eye = distance * np.array(
            [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
        )
        target = arena_radius * 0.1 * rng.standard_normal(3) * [1, 1, 0.5]
        rotation = _look_at(eye, target)
        focal = 0.46 * min(size) * distance / arena_radius
        offset = principal_offset * rng.uniform(-1, 1, 2) * size
        K.append(
            [
                [focal, 0, (width - 1) / 2 + offset[0]],
                [0, focal * rng.uniform(0.995, 1.005), (height - 1) / 2 + offset[1]],
                [0, 0, 1],
            ]
        )
        R.append(rotation)
        t.append(-rotation @ eye)
        draw = rng.uniform([-1, 0, -1, -1], [-0.3, 1, 1, 1]) * _LENS
        dist.append([*draw, 0.0])
        names.append(f'cam_{c}' if c else 'cam_top')
    return Cameras(
        names=tuple(names),
        K=torch.tensor(K, dtype=torch.float64),
        R=torch.from_numpy(np.stack(R)),
        t=torch.from_numpy(np.stack(t)),
        size=torch.tensor([size] * n_cameras, dtype=torch.float64),
        dist=torch.tensor(dist, dtype=torch.float64) if lens else None,
        unit=unit,
    )


def _look_at(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Give the world-to-camera rotation of a camera at `eye` that sees +z of the world upwards."""
    forward = target - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return np.stack((right, np.cross(forward, right), forward))
