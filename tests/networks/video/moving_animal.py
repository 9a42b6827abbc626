"""Joints of one colour each that move over a wall: an animal that no network has seen."""

import cv2
import numpy as np

FRAMES, SIDE = 40, 96
LABELLED = np.arange(2, FRAMES, 9)
_COLOURS = ((230, 40, 40), (40, 200, 40), (60, 80, 240), (240, 220, 40), (220, 60, 220))


def places() -> np.ndarray:
    """Return where the joints are, px (T, 5, 2): on curves that labels nine frames apart do not tell."""
    t = np.arange(FRAMES)[:, None]
    phase = np.arange(5) * 1.3
    x = 30 + 8 * np.arange(5) + 6 * np.sin(t / 3.5 + phase) + 0.3 * t
    y = 48 + 9 * np.sin(t / 3.0 + 2 * phase)
    return np.stack((x, y), -1)


def drawn(xy: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Draw them, RGB."""
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(60, 180, (side, side, 3)).astype(np.uint8), (0, 0), 2)
    for (x, y), colour in zip(xy, _COLOURS):
        centre = (round(16 * x), round(16 * y))
        cv2.circle(image, centre, 16 * 4, colour, -1, cv2.LINE_AA, shift=4)
    return image


def blob(t: int) -> np.ndarray:
    """Return where an animal of one colour is in frame t: an ellipse that walks and turns."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    centre = (round(16 * (25 + 1.5 * t)), round(16 * (48 + 8 * np.sin(t / 6))))
    cv2.ellipse(mask, centre, (16 * 14, 16 * 7), 4.0 * t, 0, 360, 1, -1, cv2.LINE_8, shift=4)
    return mask.astype(bool)


def walking(t: int) -> np.ndarray:
    """Draw it, with a pattern of its own, over a wall."""
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(60, 180, (SIDE, SIDE, 3)).astype(np.uint8), (0, 0), 2)
    coat = cv2.GaussianBlur(rng.integers(120, 255, (SIDE, SIDE, 3)).astype(np.uint8), (0, 0), 1.5)
    shift = np.float32([[1, 0, 1.5 * t], [0, 1, 8 * np.sin(t / 6)]])
    moved = cv2.warpAffine(coat, shift, (SIDE, SIDE), borderMode=cv2.BORDER_WRAP)
    return np.where(blob(t)[..., None], moved, image)
