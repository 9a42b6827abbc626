"""OpenCV's camera matrix as a lens of Blender. Without Blender.

OpenCV counts px from the middle of the upper left one; Blender's film is centred on the picture, and `shift` moves it
by shares of the picture's width (sensor fit HORIZONTAL), with y up. That fx and fy differ is a matter of the scene:
its pixels are not square.
"""

from dataclasses import dataclass

import numpy as np

from .errors import AddonError

SENSOR_MM = 36.0


@dataclass(frozen=True)
class Lens:
    """A lens for a picture of a size (px): focal length (mm on a film 36 mm wide), shift, and the pixels' sides."""

    width: int
    height: int
    focal_mm: float
    shift_x: float
    shift_y: float
    pixel_aspect_x: float
    pixel_aspect_y: float


def lens_of(K, size):
    """Give the lens of a camera matrix (3, 3) and of pictures (width, height), px.

    Raises:
        AddonError: no such matrix.
    """
    K, (width, height) = np.asarray(K, np.float64), np.asarray(size, np.float64)
    if (
        K.shape != (3, 3)
        or not np.isfinite(K).all()
        or K[0, 0] <= 0
        or K[1, 1] <= 0
        or width < 1
        or height < 1
    ):
        raise AddonError(
            f'A camera must have focal lengths and a size; got {K.tolist()} and {[width, height]}.'
        )
    # The side of a pixel along y by that along x.
    aspect = K[0, 0] / K[1, 1]
    return Lens(
        width=round(width),
        height=round(height),
        focal_mm=SENSOR_MM * K[0, 0] / width,
        shift_x=-(K[0, 2] - (width - 1) / 2) / width,
        shift_y=(K[1, 2] - (height - 1) / 2) * aspect / width,
        # Blender takes none below one.
        pixel_aspect_x=max(1.0, 1 / aspect),
        pixel_aspect_y=max(1.0, aspect),
    )
