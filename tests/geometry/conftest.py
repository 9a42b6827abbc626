"""A ring of cameras that look at the origin."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

Rig = tuple[Tensor, Tensor, Tensor, Tensor]


def _make_ring(n: int = 4, distance: float = 8.0, focal: float = 900.0) -> Rig:
    """K, R, t, size of n cameras around the z axis, tilted downwards, images of 1280 x 1024."""
    K = torch.tensor([[focal, 0, 640.0], [0, focal, 512.0], [0, 0, 1]], dtype=torch.float64).repeat(n, 1, 1)
    R, t = [], []
    for i in range(n):
        angle = 2 * math.pi * i / n + 0.3
        centre = torch.tensor([math.cos(angle), math.sin(angle), 0.4 + 0.2 * (i % 2)], dtype=torch.float64)
        centre = distance * centre / centre.norm()
        z = -centre / centre.norm()
        x = torch.linalg.cross(z, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
        x = x / x.norm()
        rotation = torch.stack((x, torch.linalg.cross(z, x), z))
        R.append(rotation)
        t.append(-rotation @ centre)
    size = torch.tensor([1280.0, 1024.0], dtype=torch.float64).repeat(n, 1)
    return K, torch.stack(R), torch.stack(t), size


@pytest.fixture
def ring() -> Rig:
    return _make_ring()


@pytest.fixture
def make_ring() -> Callable[..., Rig]:
    return _make_ring
