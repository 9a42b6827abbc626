"""What a camera adds to what it sees: blur, exposure, colour, noise, compression."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

# Each image has its noise from another place of one larger image of noise, by so many px at most.
_NOISE_SHIFT_PX = 64


@dataclass(frozen=True)
class SensorRange:
    """What cameras are drawn from; blur in px, noise in grey levels of 255, `jpeg` the range of qualities."""

    blur_px: tuple[float, float] = (0.35, 1.4)
    gain: tuple[float, float] = (0.75, 1.4)
    gamma: tuple[float, float] = (0.7, 1.3)
    white_sd: float = 0.05
    noise: tuple[float, float] = (0.5, 8.0)
    grey: float = 0.25
    vignette: float = 0.4
    jpeg: tuple[int, int] = (30, 95)
    jpeg_share: float = 0.5


class Sensor:
    """One camera of one session, drawn at random.

    Args:
        size: width and height of its images, px.
        rng: source of all chance.
        chosen: what it is drawn from.
    """

    def __init__(self, size: tuple[int, int], rng: np.random.Generator, chosen: SensorRange) -> None:
        self.blur_px = rng.uniform(*chosen.blur_px)
        gain = rng.uniform(*chosen.gain) * (1 + chosen.white_sd * rng.standard_normal(3))
        gamma = rng.uniform(*chosen.gamma)
        level = np.linspace(0, 1, 256)[:, None]
        self.table = np.clip(255 * (level * np.maximum(gain, 0)) ** gamma, 0, 255).astype(np.float32)
        self.grey = rng.random() < chosen.grey
        shape = (size[1] + _NOISE_SHIFT_PX, size[0] + _NOISE_SHIFT_PX, 3)
        self.noise = np.float32(rng.uniform(*chosen.noise)) * rng.standard_normal(shape, dtype=np.float32)
        jpeg = int(rng.integers(*chosen.jpeg))
        self.jpeg = jpeg if rng.random() < chosen.jpeg_share else None
        x, y = np.linspace(-1, 1, size[0]), np.linspace(-1, 1, size[1])[:, None]
        fall = chosen.vignette * rng.random() ** 2
        self.shade = (1 - fall * (x**2 + y**2) / 2)[..., None].astype(np.float32)

    def expose(
        self, scene: Float[np.ndarray, 'H W 3'], rng: np.random.Generator
    ) -> UInt8[np.ndarray, 'H W 3']:
        """Turn light (grey levels of 255) into an image, RGB.

        Args:
            scene: what is before the camera.
            rng: of this image.
        """
        light = cv2.GaussianBlur(scene * self.shade, (0, 0), self.blur_px)
        level = np.clip(light, 0, 255).astype(np.uint8)
        image = np.stack([self.table[level[..., c], c] for c in range(3)], -1)
        if self.grey:
            image = np.repeat(image.mean(-1, keepdims=True), 3, -1)
        y, x = rng.integers(_NOISE_SHIFT_PX, size=2)
        noise = self.noise[y : y + scene.shape[0], x : x + scene.shape[1]]
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
        if self.jpeg is None:
            return image
        done, data = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.jpeg])
        return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1] if done else image
