"""The look of a made recording: a coloured animal before a textured wall, with a sensor's noise."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from smilfit.body_models import BodyModelData
from smilfit.renderers import RenderOutput


@dataclass(frozen=True)
class ImageOptions:
    """How images look; grey levels are of 255.

    `noise` is the standard deviation of each value, `texture` the contrast of the background.
    """

    noise: float = 3.0
    texture: float = 25.0
    background: float = 150.0
    animal_rgb: tuple[float, float, float] = (0.52, 0.36, 0.24)
    pattern: float = 0.35


# Deprecated name of `ImageOptions`.
PictureOptions = ImageOptions


def background(
    size: tuple[int, int], options: ImageOptions, rng: np.random.Generator
) -> Float[np.ndarray, 'H W 3']:
    """Draw a wall with large and small stains, grey levels."""
    import cv2

    width, height = size
    image = np.full((height, width, 3), options.background, np.float32)
    image += rng.uniform(-15, 15, 3).astype(np.float32)
    for cells, share in ((4, 1.0), (12, 0.6), (40, 0.35)):
        coarse = rng.standard_normal((cells, cells)).astype(np.float32)
        stain = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        image += options.texture * share * stain[..., None]
    return image


def animal_colours(
    data: BodyModelData, options: ImageOptions, rng: np.random.Generator
) -> Float[Tensor, 'V 3']:
    """Colour the skin: waves of light and dark across the rest pose, RGB in [0, 1]."""
    points = data.v_template / np.ptp(data.v_template, axis=0).max()
    tone = np.zeros(len(points))
    for _ in range(5):
        wave = rng.normal(0, 14, 3)
        tone += np.sin(points @ wave + rng.uniform(0, 2 * np.pi)) / 5
    rgb = np.array(options.animal_rgb) * (1 + options.pattern * 1.5 * tone[:, None])
    return torch.from_numpy(np.clip(rgb, 0, 1).astype(np.float32))


class ShiftedNoise:
    """A few noise images, shifted at random: noise at a hundredth of its cost."""

    def __init__(self, size: tuple[int, int], sigma: float, rng: np.random.Generator, n: int = 4) -> None:
        width, height = size
        self._rng = rng
        self._images = (sigma * rng.standard_normal((n, 2 * height, 2 * width, 3))).astype(np.float32)
        self._size = (width, height)

    def draw(self) -> Float[np.ndarray, 'H W 3']:
        """Give one image of noise."""
        width, height = self._size
        which = self._rng.integers(len(self._images))
        y, x = self._rng.integers(height), self._rng.integers(width)
        return self._images[which, y : y + height, x : x + width]


def compose(
    render: RenderOutput, index: int, wall: Float[np.ndarray, 'H W 3'], noise: Float[np.ndarray, 'H W 3']
) -> UInt8[np.ndarray, 'H W 3']:
    """Put one rendered animal before the wall and add noise; RGB."""
    image = wall + noise
    there = render.face_id[index].numpy() >= 0
    image[there] = 255.0 * render.shading[index].numpy()[there] + noise[there]
    return np.clip(image, 0, 255).astype(np.uint8)
