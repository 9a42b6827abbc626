"""A made rig: cameras in a ring that look at the middle, with lenses."""

import numpy as np

from smilfit.cameras.rig import Rig

SIZE = (640.0, 512.0)


def ring(n: int = 4, seed: int = 0, distance: float = 600.0) -> Rig:
    """Stand n cameras around the origin, above the ground (z up)."""
    random = np.random.default_rng(seed)
    angles = 2 * np.pi * np.arange(n) / n * 0.6 + random.uniform(-0.1, 0.1, n)
    centres = distance * np.stack((np.cos(angles), np.sin(angles), 0.6 + 0.2 * random.random(n)), -1)
    forward = -centres / np.linalg.norm(centres, axis=-1, keepdims=True)
    right = np.cross(forward, np.array([0.0, 0.0, 1.0]))
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    R = np.stack((right, np.cross(forward, right), forward), 1)
    focal = np.repeat(random.uniform(560, 640, (n, 1)), 2, 1)
    dist = np.zeros((n, 5))
    dist[:, 0] = random.uniform(-0.25, -0.15, n)
    dist[:, 1] = 0.04
    centre = np.array([SIZE]) / 2 - 0.5 + np.zeros((n, 2))
    return Rig(R, -np.einsum('cij,cj->ci', R, centres), focal, centre, np.zeros(n), dist)


def sizes(n: int) -> np.ndarray:
    """Return the size of every image."""
    return np.tile(np.array([SIZE]), (n, 1))
