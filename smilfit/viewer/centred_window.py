"""Images as a camera frustum shows them: without lens, principal point in the middle, square pixels."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from smilfit.structures import Cameras


@dataclass(frozen=True)
class CentredWindow:
    """A window of an ideal camera that holds its whole image, the principal point at its centre.

    A frustum in a page has an angle and a ratio alone. An image that is drawn through this window lies in it exactly,
    whatever the camera's principal point.

    Attributes:
        affine: ideal px of the camera to px of the window, `u' = A u + b`.
        size: width and height of the window, px.
        focal_px: of the window, both ways.
    """

    affine: Float[np.ndarray, '2 3']
    size: tuple[int, int]
    focal_px: float

    @classmethod
    def of(cls, camera: Cameras, side_px: int) -> 'CentredWindow':
        """Find the window of one camera (without frames of its own), whose longer side is given."""
        K = camera.K.reshape(-1, 3, 3)[0].double().numpy()
        width, height = camera.size.reshape(-1, 2)[0].double().tolist()
        fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
        # Pixel centres are at integers: an image goes from -0.5 to its size less 0.5.
        half_x = max(cx + 0.5, width - 0.5 - cx) / fx
        half_y = max(cy + 0.5, height - 0.5 - cy) / fy
        focal = side_px / (2 * max(half_x, half_y))
        size = (max(2, round(2 * half_x * focal)), max(2, round(2 * half_y * focal)))
        affine = np.array(
            [
                [focal / fx, 0.0, (size[0] - 1) / 2 - focal / fx * cx],
                [0.0, focal / fy, (size[1] - 1) / 2 - focal / fy * cy],
            ]
        )
        return cls(affine, size, float(focal))

    @property
    def fov_rad(self) -> float:
        """Vertical angle of view."""
        return 2 * math.atan(0.5 * self.size[1] / self.focal_px)

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.size[0] / self.size[1]

    def shown(self, xy: Float[np.ndarray, 'K 2']) -> Float[np.ndarray, 'K 2']:
        """Map ideal px to px of the window."""
        return xy @ self.affine[:, :2].T + self.affine[:, 2]


def see(
    image: UInt8[np.ndarray, 'H W 3'],
    to_original: Float[np.ndarray, '2 3'],
    camera: Cameras,
    window: CentredWindow,
) -> UInt8[np.ndarray, 'h w 3']:
    """See an image, or a crop of it, through a window; black where there is none, also beyond a lens's fold.

    Args:
        image: RGB.
        to_original: px of `image` to px of the camera's image.
        camera: the one camera of the original image, with the lens that the image still has.
        window: made of the same camera.
    """
    to_window = window.affine @ np.vstack((to_original, (0.0, 0.0, 1.0)))
    if camera.dist is None:
        # Averaged over areas: a large image made small by points alone flickers.
        return _warp(image, to_window, window.size)
    K = camera.K.reshape(-1, 3, 3)[0].double().numpy()
    bottom = np.array([[0.0, 0.0, 1.0]])
    back = np.linalg.inv(np.vstack((to_original, bottom)))
    new_K = np.vstack((window.affine, bottom)) @ K
    dist = camera.dist.reshape(-1, 5)[0].double().numpy()
    x, y = cv2.initUndistortRectifyMap(back @ K, dist, np.eye(3), new_K, window.size, cv2.CV_32FC1)
    fold = math.inf if camera.fold is None else float(camera.fold.reshape(-1)[0])
    if math.isfinite(fold):
        u = (np.arange(window.size[0]) - new_K[0, 2]) / new_K[0, 0]
        v = (np.arange(window.size[1]) - new_K[1, 2]) / new_K[1, 1]
        x[u[None, :] ** 2 + v[:, None] ** 2 > fold**2] = -1e6
    return cv2.remap(_soft(image, to_window[0, 0]), x, y, cv2.INTER_LINEAR)


def _warp(image: np.ndarray, affine: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.warpAffine(_soft(image, affine[0, 0]), affine, size, flags=cv2.INTER_LINEAR)


def _soft(image: np.ndarray, scale: float) -> np.ndarray:
    """Average over what one shown px covers."""
    width = math.floor(1 / max(abs(scale), 1e-3))
    return cv2.blur(image, (width, width)) if width > 1 else image
