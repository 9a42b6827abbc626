"""A tiny session on disk: three cameras, six frames, four keypoints, known points."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from smilfit.io import write_calibration, write_points3d, write_slp
from smilfit.structures import Cameras

NODES = ('nose', 'neck', 'tail', 'paw')


@dataclass
class TinySession:
    """A session's folder and its truth."""

    folder: Path
    cameras: Cameras
    xyz: np.ndarray
    xy: np.ndarray


def _write_video(path: Path, n_frames: int = 6, shade: int = 20, size: tuple[int, int] = (96, 64)) -> Path:
    """Write plain grey frames, the i-th of brightness shade * i, which survive compression."""
    path.parent.mkdir(parents=True, exist_ok=True)
    codec = {'.avi': 'MJPG', '.mp4': 'mp4v'}[path.suffix]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, size)
    for i in range(n_frames):
        writer.write(np.full((size[1], size[0], 3), (shade * i, 60, 200), np.uint8))
    writer.release()
    return path


def _cameras() -> Cameras:
    angles = torch.tensor([0.0, 1.2, -1.1], dtype=torch.float64)
    R = torch.zeros(3, 3, 3, dtype=torch.float64)
    R[:, 0, 0], R[:, 0, 2], R[:, 2, 0], R[:, 2, 2] = angles.cos(), -angles.sin(), angles.sin(), angles.cos()
    R[:, 1, 1] = 1
    t = torch.tensor([[0.0, 0, 10]], dtype=torch.float64).repeat(3, 1)
    K = torch.tensor([[120.0, 0, 47.5], [0, 120, 31.5], [0, 0, 1]], dtype=torch.float64).repeat(3, 1, 1)
    return Cameras(
        names=('left', 'mid', 'right'),
        K=K,
        R=R,
        t=t,
        size=torch.tensor([[96.0, 64.0]], dtype=torch.float64).repeat(3, 1),
        dist=torch.tensor([[-0.1, 0.01, 0, 0, 0]], dtype=torch.float64).repeat(3, 1),
        unit='mm',
    )


@pytest.fixture
def write_video() -> Callable[..., Path]:
    return _write_video


@pytest.fixture
def tiny(tmp_path: Path) -> TinySession:
    cameras = _cameras()
    xyz = np.random.default_rng(0).normal(scale=0.6, size=(6, 4, 3))
    xy = cameras.project(torch.from_numpy(xyz))[0].numpy()
    folder = tmp_path / 'session_1'
    for c, name in enumerate(cameras.names):
        video = _write_video(folder / name / f'{name}.avi')
        write_slp(folder / name / f'{name}.slp', xy[:, c], NODES, video, np.full((6, 4), 0.9))
    write_calibration(folder / 'calibration.toml', cameras)
    write_points3d(folder / 'points3d.h5', xyz)
    return TinySession(folder, cameras, xyz, xy)
