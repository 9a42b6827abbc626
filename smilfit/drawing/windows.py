"""Images as they are shown: enlarged, or through windows that follow the animal; their cameras go along."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from smilfit.structures import Cameras

# Side of a window over the animal's extent, and the frames over which its centre is averaged.
MARGIN = 1.35
SMOOTH_FRAMES = 9
# Frames whose points are projected at once: a recording's would fill the memory.
_BLOCK = 4096


def follow(
    cameras: Cameras, points: Float[Tensor, 'B P 3'], side_px: int, margin: int | float = MARGIN
) -> Float[np.ndarray, 'B C 2 3']:
    """Find square windows around an animal, of one size a camera, that move smoothly.

    Args:
        cameras: of the images, one set for all frames.
        points: the animal, world unit.
        side_px: side of the windows as they will be drawn.
        margin: the window's side over the animal's extent.

    Returns:
        Maps from the images' px to the windows' px, `u' = A u + b`.
    """
    boxes = [_boxes(cameras, block) for block in points.split(_BLOCK)]
    centre, extent, visible = (torch.cat(parts).numpy() for parts in zip(*boxes))
    affine = np.zeros((*visible.shape, 2, 3))
    for c in range(len(cameras)):
        valid = visible[:, c]
        centre_point = cameras.size[c].numpy() / 2
        path = np.where(valid[:, None], centre[:, c], np.nan if valid.any() else centre_point)
        path = _smooth(_fill(path))
        side = margin * (np.percentile(extent[valid, c], 90) if valid.any() else float(cameras.size[c].max()))
        scale = side_px / max(side, 8.0)
        affine[:, c, 0, 0] = affine[:, c, 1, 1] = scale
        affine[:, c, :, 2] = (side_px - 1) / 2 - scale * path
    return affine


@torch.no_grad()
def _boxes(cameras: Cameras, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return centres and longer sides of what cameras see of an animal, px, and whether they see any of it."""
    pixels, _, valid = cameras.project(points.to(cameras.K))
    hidden = ~valid.unsqueeze(-1)
    low = pixels.masked_fill(hidden, float('inf')).amin(2)
    high = pixels.masked_fill(hidden, -float('inf')).amax(2)
    return 0.5 * (low + high), (high - low).amax(-1), valid.any(2)


def _fill(path: Float[np.ndarray, 'B 2']) -> Float[np.ndarray, 'B 2']:
    """Bridge frames without a position by straight lines."""
    known = np.isfinite(path[:, 0])
    frames = np.arange(len(path))
    return np.stack([np.interp(frames, frames[known], path[known, axis]) for axis in (0, 1)], 1)


def _smooth(path: Float[np.ndarray, 'B 2']) -> Float[np.ndarray, 'B 2']:
    width = min(SMOOTH_FRAMES, len(path))
    padded = np.pad(path, ((width // 2, width - 1 - width // 2), (0, 0)), mode='edge')
    kernel = np.full(width, 1 / width)
    return np.stack([np.convolve(padded[:, axis], kernel, mode='valid') for axis in (0, 1)], 1)


@dataclass(frozen=True)
class View:
    """An image as it is shown: cut, enlarged, undistorted.

    Attributes:
        image: RGB, as shown.
        behind: the camera of the image behind it, one; undistorted where the view is.
        affine: px of the image behind to shown px, `u' = A u + b`.
    """

    image: UInt8[np.ndarray, 'H W 3']
    behind: Cameras
    affine: Float[np.ndarray, '2 3']

    def __post_init__(self) -> None:
        if len(self.behind) != 1:
            raise ValueError(
                f'View: there must be one camera; got {len(self.behind)}. Use cameras.select([name]).'
            )

    @cached_property
    def camera(self) -> Cameras:
        """Return the camera of the shown image."""
        height, width = self.image.shape[:2]
        size = torch.tensor([[width, height]]).to(self.behind.K)
        return self.behind.transformed(torch.as_tensor(self.affine)[None].to(self.behind.K), size)

    def shown(self, xy: Float[np.ndarray, 'K 2']) -> Float[np.ndarray, 'K 2']:
        """Map px of the image behind to shown px."""
        return xy @ self.affine[:, :2].T + self.affine[:, 2]


def look(
    image: UInt8[np.ndarray, 'H W 3'],
    affine: Float[np.ndarray, '2 3'],
    size: tuple[int, int],
    lens: tuple[np.ndarray, np.ndarray] | None = None,
) -> UInt8[np.ndarray, 'h w 3']:
    """See an image through a window; outside of the image is black.

    Args:
        image: RGB.
        affine: image px (undistorted where a lens is given) to window px.
        size: width and height of the window.
        lens: K and distortion coefficients of an image that is to be undistorted on the way.
    """
    if lens is None:
        return cv2.warpAffine(image, affine, size, flags=cv2.INTER_LINEAR)
    k, dist = lens
    new_k = np.vstack((affine, (0.0, 0.0, 1.0))) @ k
    # Whole numbers, which remapping would make of single precision: 1.3 times as fast.
    maps = cv2.initUndistortRectifyMap(k, dist, np.eye(3), new_k, size, cv2.CV_16SC2)
    return cv2.remap(image, *maps, cv2.INTER_LINEAR)


def scaling(size: tuple[float, float], shown: tuple[float, float]) -> Float[np.ndarray, '2 3']:
    """Map px of an image of a size (width, height) to px of it at another size; its corners stay corners."""
    # Pixel centres are at integers.
    sx, sy = shown[0] / size[0], shown[1] / size[1]
    return np.array([[sx, 0.0, (sx - 1) / 2], [0.0, sy, (sy - 1) / 2]])


def enlarge(image: UInt8[np.ndarray, 'h w 3'], camera: Cameras, side_px: int) -> View:
    """Show an image at another size, whose longer side is given."""
    height, width = image.shape[:2]
    scale = side_px / max(height, width)
    affine = scaling((1, 1), (scale, scale))
    return View(look(image, affine, (round(width * scale), round(height * scale))), camera, affine)
