"""Cut a square image out of a camera's image, exactly where the crop's affine map says.

A crop is a box of whole source pixels resized to a square. With pixel centres at integers, a box that begins
at x and is w wide maps to `u' = (u - x + 0.5) s - 0.5`, `s = resolution / w`, and so for the rows. The same
map, composed with K, is the camera of the stored image. A box may leave the image: what lies outside is
black. Shrinking averages over the pixels it covers; undistorting and cropping are one interpolation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from smilfit.options.fields import CROP_MODES
from smilfit.registry import did_you_mean

# Side of a keypoint box over the keypoints' own extent, as the established multi-view preprocessors have it.
BBOX_MARGIN = 1.05
# A box around one or two keypoints is not smaller than this, px.
MIN_BBOX_SIDE = 32
# Images that shrink a lot are first averaged in blocks, which is fast and exact; then undistorted crops are
# sampled at least this densely, px a sample, and averaged down: linear interpolation spans two px, so every
# pixel still counts.
_SAMPLE_STEP = 1.5
# How many samples a stored pixel takes along an axis, after blocks of the source were averaged.
_SAMPLES = 2


@dataclass(frozen=True)
class Crop:
    """A box of source px, from (x, y) `width` by `height`, resized to `resolution` squared."""

    x: int
    y: int
    width: int
    height: int
    resolution: int

    def affine(self) -> Float[np.ndarray, '2 3']:
        """Return the map from source px to stored px."""
        sx, sy = self.resolution / self.width, self.resolution / self.height
        return np.array(
            [
                [sx, 0.0, (0.5 - self.x) * sx - 0.5],
                [0.0, sy, (0.5 - self.y) * sy - 0.5],
            ]
        )


def invert_affine(affine: Float[np.ndarray, '*n 2 3']) -> Float[np.ndarray, '*n 2 3']:
    """Invert maps u' = A u + b."""
    inverse = np.linalg.inv(affine[..., :2])
    return np.concatenate((inverse, -inverse @ affine[..., 2:]), -1)


def apply_affine(
    affine: Float[np.ndarray, '*#n 2 3'], points: Float[np.ndarray, '*#n P 2']
) -> Float[np.ndarray, '*n P 2']:
    """Map points: u' = A u + b."""
    return points @ np.swapaxes(affine[..., :2], -1, -2) + np.swapaxes(affine[..., 2:], -1, -2)


def find_crop(
    mode: str,
    size: Sequence[int],
    resolution: int,
    points: Float[np.ndarray, 'n 2'] | None = None,
    margin: float = BBOX_MARGIN,
) -> Crop:
    """Choose the box.

    Args:
        mode: 'default' takes the whole image (its aspect ratio changes), 'centred' the central square,
            'bbox_crop' a square around the points.
        size: width and height of the source, px.
        resolution: side of the stored image, px.
        points: the valid keypoints, source px; needed for 'bbox_crop' only.
        margin: side of the keypoint box over the keypoints' larger extent.
    """
    width, height = size
    if mode == 'default':
        return Crop(0, 0, width, height, resolution)
    if mode == 'centred':
        side = min(width, height)
        return Crop((width - side) // 2, (height - side) // 2, side, side, resolution)
    if mode != 'bbox_crop':
        raise ValueError(f'find_crop: mode must be one of {CROP_MODES}. {did_you_mean(mode, CROP_MODES)}')
    if points is None or len(points) == 0:
        raise ValueError('find_crop: bbox_crop must have a keypoint; got none. Leave the view out.')
    low, high = points.min(0), points.max(0)
    side = max(MIN_BBOX_SIDE, math.ceil(float((high - low).max() + 1) * margin))
    x, y = (math.floor(float(c) - (side - 1) / 2 + 0.5) for c in (low + high) / 2)
    return Crop(x, y, side, side, resolution)


def cut(image: UInt8[np.ndarray, 'H W *c'], crop: Crop) -> UInt8[np.ndarray, 'r r *c']:
    """Cut a crop out of an image as it is (no undistortion); outside of the image is black."""
    height, width = image.shape[:2]
    x0, x1 = max(0, crop.x), min(width, crop.x + crop.width)
    y0, y1 = max(0, crop.y), min(height, crop.y + crop.height)
    if (x0, y0, x1, y1) == (crop.x, crop.y, crop.x + crop.width, crop.y + crop.height):
        box = image[y0:y1, x0:x1]
    else:
        box = np.zeros((crop.height, crop.width, *image.shape[2:]), image.dtype)
        if x0 < x1 and y0 < y1:
            box[y0 - crop.y : y1 - crop.y, x0 - crop.x : x1 - crop.x] = image[y0:y1, x0:x1]
    return _resize(box, crop.resolution)


def _block_side(scale: float) -> int:
    """Choose the blocks to average before sampling: a power of two that leaves `_SAMPLES` a stored pixel."""
    side = 1
    while scale > _SAMPLES * _SAMPLE_STEP * side:
        side *= 2
    return side


def _average_blocks(image: np.ndarray, side: int) -> np.ndarray:
    """Average blocks of side squared: u -> (u + 0.5) / side - 0.5. A partial last block is filled from its edge."""
    import cv2

    if side == 1:
        return image
    height, width = image.shape[:2]
    rows, columns = -height % side, -width % side
    if rows or columns:
        image = cv2.copyMakeBorder(image, 0, rows, 0, columns, cv2.BORDER_REPLICATE)
    size = ((width + columns) // side, (height + rows) // side)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _resize(image: np.ndarray, side: int) -> np.ndarray:
    """Resize to a square: area average where an axis shrinks, linear where it grows; both keep the geometry."""
    import cv2

    height, width = image.shape[:2]
    # OpenCV's area average is none where an axis grows: such boxes take one axis after the other.
    block = _block_side(min(width, height) / side)
    if width % block == 0 and height % block == 0:
        image = _average_blocks(image, block)
        height, width = image.shape[:2]
    steps = [(side, side)] if (width >= side) == (height >= side) else [(side, height), (side, side)]
    for size in steps:
        shrinks = size[0] <= image.shape[1] and size[1] <= image.shape[0]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return image


@dataclass(frozen=True)
class UndistortedCut:
    """Undistortion and crop of one camera as one lookup of source positions.

    The image is averaged in blocks of `block` squared. `maps` are OpenCV's fixed-point maps (1/32 px) into
    that, on a grid `factor` times as fine as the crop, which is then averaged: a pixel of the crop is the mean of
    its `factor` squared samples around the same centre.
    """

    crop: Crop
    block: int
    factor: tuple[int, int]
    maps: tuple[np.ndarray, np.ndarray]

    @classmethod
    def plan(
        cls,
        crop: Crop,
        intrinsics: Float[np.ndarray, '3 3'],
        dist: Float[np.ndarray, '5'],
        fold: float = math.inf,
    ) -> 'UndistortedCut':
        """Find the source positions.

        Args:
            crop: the box, in px of the undistorted image (same K and size as the source).
            intrinsics: K of the source, px.
            dist: lens coefficients.
            fold: undistorted radius from which the lens model is not defined; black there.
        """
        import cv2

        resolution = crop.resolution
        block = _block_side(min(crop.width, crop.height) / resolution)
        step = _SAMPLE_STEP * block * resolution
        factor = (max(1, math.ceil(crop.width / step)), max(1, math.ceil(crop.height / step)))
        size = (resolution * factor[0], resolution * factor[1])
        sx, sy = size[0] / crop.width, size[1] / crop.height
        affine = np.array([[sx, 0, (0.5 - crop.x) * sx - 0.5], [0, sy, (0.5 - crop.y) * sy - 0.5], [0, 0, 1]])
        fine = affine @ intrinsics
        map_x, map_y = cv2.initUndistortRectifyMap(intrinsics, dist, None, fine, size, cv2.CV_32FC1)
        if math.isfinite(fold):
            u = (np.arange(size[0]) - fine[0, 2]) / fine[0, 0]
            v = (np.arange(size[1]) - fine[1, 2]) / fine[1, 1]
            beyond = u[None] ** 2 + v[:, None] ** 2 >= fold**2
            map_x[beyond] = map_y[beyond] = -2.0 * block
        map_x, map_y = ((m + 0.5) / block - 0.5 for m in (map_x, map_y))
        return cls(crop, block, factor, cv2.convertMaps(map_x, map_y, cv2.CV_16SC2))

    def __call__(self, image: UInt8[np.ndarray, 'H W *c']) -> UInt8[np.ndarray, 'r r *c']:
        """Undistort and cut an image."""
        import cv2

        image = _average_blocks(image, self.block)
        fine = cv2.remap(image, *self.maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
        if self.factor == (1, 1):
            return fine
        size = (self.crop.resolution, self.crop.resolution)
        return cv2.resize(fine, size, interpolation=cv2.INTER_AREA)


def encode_jpeg(image: UInt8[np.ndarray, 'H W 3'], quality: int) -> UInt8[np.ndarray, ' n']:
    """Encode an RGB image."""
    import cv2

    done, data = cv2.imencode(
        '.jpg', cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:
        raise RuntimeError(f'encode_jpeg: OpenCV could not encode an image of shape {image.shape}.')
    return data.ravel()


def encode_png(mask: Shaped[np.ndarray, 'H W']) -> UInt8[np.ndarray, ' n']:
    """Encode a mask as a PNG of 0 and 255."""
    import cv2

    done, data = cv2.imencode('.png', (mask > 0).astype(np.uint8) * 255)
    if not done:
        raise RuntimeError(f'encode_png: OpenCV could not encode a mask of shape {mask.shape}.')
    return data.ravel()


def decode_image(
    data: UInt8[np.ndarray, ' n'], where: str, grey: bool = False
) -> UInt8[np.ndarray, 'H W *c']:
    """Decode JPEG or PNG bytes: RGB, or one channel.

    Raises:
        ValueError: bytes that are no image.
    """
    import cv2

    image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise ValueError(f'{where}: the image must decode; its {len(data)} bytes do not. Make the file anew.')
    return image if grey else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
