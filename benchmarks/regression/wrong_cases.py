"""Recordings that no network should believe, made of a right one: no animal, darkness, blur, noise, wrong cameras."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from smilfit.io import read_calibration

Image = np.ndarray
FRAMES, FPS = 20, 30
_BLUR_PX, _DARK, _NOISE = 8.0, 4.0, 60.0


def blurred(image: Image, rng: np.random.Generator, box: np.ndarray) -> Image:
    """Lose all that is smaller than a paw."""
    return cv2.GaussianBlur(image, (0, 0), _BLUR_PX)


def dark(image: Image, rng: np.random.Generator, box: np.ndarray) -> Image:
    """See the sensor's noise alone."""
    return rng.normal(_DARK, 2.0, image.shape).clip(0, 255).astype(np.uint8)


def noisy(image: Image, rng: np.random.Generator, box: np.ndarray) -> Image:
    """Bury the image in noise."""
    return (0.15 * image + rng.normal(110, _NOISE, image.shape)).clip(0, 255).astype(np.uint8)


def empty(image: Image, rng: np.random.Generator, box: np.ndarray) -> Image:
    """Cover the animal with another piece of its wall."""
    (x0, y0), (x1, y1) = box
    result = image.copy()
    width = x1 - x0
    start = 0 if x0 > image.shape[1] - x1 else image.shape[1] - width
    piece = image[y0:y1, start : start + width]
    # Where the animal fills more than half of the image, a mirrored edge of it is all the wall there is.
    if start < x1 and x0 < start + width:
        edge = (
            image[y0:y1, : max(8, x0)]
            if x0 > image.shape[1] - x1
            else image[y0:y1, min(x1, image.shape[1] - 8) :]
        )
        piece = cv2.resize(edge, (width, y1 - y0))
    result[y0:y1, x0:x1] = piece
    return result


KINDS: dict[str, Callable[[Image, np.random.Generator, np.ndarray], Image] | None] = {
    'empty': empty,
    'dark': dark,
    'blurred': blurred,
    'noise': noisy,
    # Each camera's video is another's.
    'cameras exchanged': None,
}


def spoiled(session: Path, kind: str, folder: Path) -> Path:
    """Write a session that is spoiled in one way: videos and calibration, no labels."""
    if (folder / 'calibration.toml').is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    cameras = read_calibration(session / 'calibration.toml')
    truth = torch.from_numpy(np.load(session / 'truth.npz')['keypoints3d'][:FRAMES]).double()
    px = cameras.project(truth)[0].numpy()
    names = list(cameras.names)
    change, rng = KINDS[kind], np.random.default_rng(0)
    for c, name in enumerate(names):
        shown = names[(c + 1) % len(names)] if change is None else name
        images = list(_frames(next((session / shown).glob('*.mp4'))))
        if change is not None:
            images = [change(image, rng, _box(px[t, c], image.shape)) for t, image in enumerate(images)]
        height, width = images[0].shape[:2]
        video = cv2.VideoWriter(
            str(folder / f'{name}.mp4'), cv2.VideoWriter.fourcc(*'mp4v'), FPS, (width, height)
        )
        for image in images:
            video.write(image)
        video.release()
    shutil.copy(session / 'calibration.toml', folder)
    return folder


def _box(px: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Box the animal, with a fifth of its extent around it, inside the image: two corners, px."""
    low, high = px.min(0), px.max(0)
    reach = 0.2 * (high - low).max() + 4
    size = np.array([shape[1], shape[0]])
    return np.stack([(low - reach).clip(0, size - 8), (high + reach).clip(8, size)]).astype(int)


def _frames(path: Path) -> Iterator[Image]:
    video = cv2.VideoCapture(str(path))
    for _ in range(FRAMES):
        done, image = video.read()
        if not done:
            return
        yield image
