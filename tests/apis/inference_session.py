"""A recording of the toy animal by three cameras, and a regressor trained on it for a moment."""

from pathlib import Path

import cv2
import numpy as np
import torch

from smilfit.io import write_calibration, write_slp
from smilfit.networks.engine import build_train_runner
from smilfit.structures import Cameras
from tests.toy_experiment import experiment
from tests.toy_samples import JOINT_NAMES, ring_cameras, toy_sample

CAMERAS = ('left', 'right', 'top')
PIXELS = 64


def toy_rig(lens: float = 0.0) -> Cameras:
    ring = ring_cameras(len(CAMERAS), PIXELS)
    numbers = {name: ring[name].double() for name in ('K', 'R', 't', 'size')}
    dist = torch.zeros(len(CAMERAS), 5, dtype=torch.float64)
    dist[:, 0] = lens
    return Cameras(names=CAMERAS, dist=dist, unit='mm', **numbers)


def write_video(path: Path, images: list[np.ndarray], fps: float = 25.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    codec = {'.avi': 'MJPG', '.mp4': 'mp4v'}[path.suffix]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, images[0].shape[1::-1])
    for image in images:
        writer.write(np.ascontiguousarray(image[..., ::-1]))
    writer.release()
    return path


def write_toy_session(folder: Path, n_frames: int = 10, suffix: str = '.mp4', fps: float = 25.0) -> Path:
    """Write videos, calibration and labels; frame i is toy sample i."""
    samples = [toy_sample(i) for i in range(n_frames)]
    for c, name in enumerate(CAMERAS):
        images = [s['inputs']['image'][c].permute(1, 2, 0).numpy() for s in samples]
        video = write_video(folder / name / f'{name}{suffix}', images, fps)
        xy = np.stack([s['data_samples']['keypoints2d'][c].numpy() for s in samples])
        write_slp(folder / name / f'{name}.slp', xy, JOINT_NAMES, video, np.ones(xy.shape[:2]))
    write_calibration(folder / 'calibration.toml', toy_rig())
    return folder


def train_toy(folder: Path) -> Path:
    """Train one epoch; gives the checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    runner = build_train_runner(experiment(folder, **{'train_cfg.max_epochs': 1}), device='cpu')
    runner.train()
    return folder / 'work' / 'epoch_1.pth'


def stop_at(video: Path, n_frames: int) -> None:
    """Write a video anew with fewer frames."""
    capture, images = cv2.VideoCapture(str(video)), []
    while len(images) < n_frames:
        images.append(capture.read()[1][..., ::-1])
    rate = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    write_video(video, images, rate)
