"""Crops of training images, varied at random: where they are cut, how they are turned, how they look."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from smilfit.networks.keypoints.batch_crops import (
    box_affine,
    compose_affine,
    cut,
    invert_affine,
    map_px,
    point_boxes,
    whole_boxes,
)
from smilfit.registry import MODELS


@MODELS.register_module()
class ImageNoise(nn.Module):
    """Vary the light of each image, add noise, blur some and erase rectangles from some.

    Args:
        brightness: largest shift, a share of white, of each colour on its own.
        contrast: largest relative change of the distance from the image's mean, of each colour on its own.
        noise: largest standard deviation of Gaussian noise, a share of white.
        blur: share of images that are blurred; in a small batch at least one is.
        blur_px: largest standard deviation of the blur.
        erase: share of images of which a rectangle is erased; what was labelled under it stays so.
        erase_share: largest side of the rectangle, a share of the image's.
    """

    def __init__(
        self,
        brightness: float = 0.15,
        contrast: float = 0.25,
        noise: float = 0.03,
        blur: float = 0.2,
        blur_px: float = 1.0,
        erase: float = 0.2,
        erase_share: float = 0.3,
    ) -> None:
        super().__init__()
        given = dict(brightness=brightness, contrast=contrast, noise=noise, blur=blur, erase=erase)
        for name, value in {**given, 'erase_share': erase_share}.items():
            if not 0 <= value <= 1:
                raise ValueError(f'ImageNoise: {name} must be from 0 to 1; got {value}.')
        if not 0 <= blur_px <= 10:
            raise ValueError(f'ImageNoise: blur_px must be from 0 to 10; got {blur_px}.')
        self.brightness, self.contrast, self.noise = brightness, contrast, noise
        self.blur, self.blur_px, self.erase, self.erase_share = blur, blur_px, erase, erase_share

    @property
    def off(self) -> bool:
        """Check whether images stay as they are."""
        blurs, erases = self.blur * self.blur_px, self.erase * self.erase_share
        return not (self.brightness or self.contrast or self.noise or blurs or erases)

    def forward(self, images: Float[Tensor, 'N 3 H W']) -> Float[Tensor, 'N 3 H W']:
        """Vary images in [0, 1]; they stay there."""
        if self.off:
            return images
        n, device = len(images), images.device

        def draw(*shape: int) -> Tensor:
            return torch.rand(shape, device=device, dtype=images.dtype)

        if self.blur and self.blur_px:
            # The count is the same in all batches, so that shapes are.
            rows = torch.randperm(n, device=device)[: math.ceil(n * self.blur)]
            soft = blurred(images[rows], draw(len(rows)) * self.blur_px, self.blur_px)
            images = images.index_copy(0, rows, soft)
        gain = 1 + (draw(n, 3, 1, 1) * 2 - 1) * self.contrast
        shift = (draw(n, 3, 1, 1) * 2 - 1) * self.brightness
        mean = images.mean((1, 2, 3), keepdim=True)
        images = (images - mean) * gain + mean + shift
        if self.noise:
            images = images + draw(n, 1, 1, 1) * self.noise * torch.randn_like(images)
        if self.erase:
            images = torch.where(self._rectangles(images, draw), draw(n, 3, 1, 1), images)
        return images.clamp(0, 1)

    def _rectangles(self, images: Tensor, draw) -> Tensor:
        n, _, height, width = images.shape
        hit = (draw(n, 1, 1) < self.erase).unsqueeze(-1)
        sides = []
        for length in (height, width):
            extent = draw(n, 1) * self.erase_share * length
            start = draw(n, 1) * length - extent / 2
            axis = torch.arange(length, device=images.device, dtype=images.dtype)
            sides.append((axis >= start) & (axis < start + extent))
        return hit & (sides[0][:, None, :, None] & sides[1][:, None, None, :])


def blurred(
    images: Float[Tensor, 'N 3 H W'], sigma: Float[Tensor, ' N'], most_px: float
) -> Float[Tensor, 'N 3 H W']:
    """Blur each image by its own Gaussian, rows, then columns; edges continue outside.

    Args:
        images: to blur.
        sigma: px, each image's; 0 leaves it as it is.
        most_px: no sigma is larger: decides the width of the kernel, so that shapes are the same in all batches.
    """
    radius = max(1, math.ceil(2.5 * most_px))
    x = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    exponent = -0.5 * (x / sigma.clamp_min(1e-3).unsqueeze(-1)).square()
    kernel = exponent.softmax(-1).repeat_interleave(3, 0)
    n, _, height, width = images.shape
    planes = functional.pad(images, (radius,) * 4, mode='replicate').reshape(
        1, 3 * n, height + 2 * radius, -1
    )
    rows = functional.conv2d(planes, kernel[:, None, None, :], groups=3 * n)
    return functional.conv2d(rows, kernel[:, None, :, None], groups=3 * n).reshape(n, 3, height, width)


@dataclass(frozen=True)
class CropBatch:
    """Crops for training, with everything that brings predictions back to the stored images.

    `px` and `weight` are of the keypoints as the crop shows them: in mirrored ones left is called right.
    """

    images: Float[Tensor, 'N 3 S S']
    px: Float[Tensor, 'N K 2']
    weight: Float[Tensor, 'N K']
    affine: Float[Tensor, 'N 2 3']
    mirrored: Bool[Tensor, ' N']

    def to_stored(
        self, px: Float[Tensor, 'N K 2'], swap: Int[Tensor, ' K'] | None = None
    ) -> Float[Tensor, 'N K 2']:
        """Bring px of the crops back to px of the stored images, with their own names.

        Args:
            px: of all keypoints, by the names of the crops.
            swap: as it was handed to the augmentation.
        """
        stored = map_px(invert_affine(self.affine), px)
        return stored if swap is None else swap_where(self.mirrored, stored, swap)


def swap_where(mirrored: Bool[Tensor, ' N'], values: Tensor, swap: Int[Tensor, ' K']) -> Tensor:
    """Exchange left and right keypoints (dimension 1) where an image is mirrored; twice changes nothing."""
    condition = mirrored.reshape(-1, *(1,) * (values.ndim - 1))
    return torch.where(condition, values[:, swap], values)


@MODELS.register_module()
class CropAugment(nn.Module):
    """Cut random crops around the animal's known points, on the device of the batch.

    Each crop shows a box around the points that are known, or now and then the whole image, so that one network
    serves the first pass as well. Random numbers come from torch's generator of the device.

    Args:
        side: px of the crops.
        margin: side of the box over the larger extent of the points, before zoom.
        zoom: the box's side is varied by a factor of up to `exp(zoom)` either way.
        shift: largest shift of the box along each axis, as a share of its side.
        rotation_deg: largest turn, degrees.
        mirror: share of images that are mirrored; left and right keypoints change places.
        whole: share of images that are shown whole.
        noise: light, noise, blur and erased rectangles; None for the usual ones.
    """

    def __init__(
        self,
        side: int = 128,
        margin: float = 1.35,
        zoom: float = 0.25,
        shift: float = 0.1,
        rotation_deg: float = 30.0,
        mirror: float = 0.5,
        whole: float = 0.0,
        noise: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if side < 8:
            raise ValueError(f'CropAugment: side must be at least 8 px; got {side}.')
        limits = {'zoom': (zoom, 2), 'shift': (shift, 1), 'rotation_deg': (rotation_deg, 180)}
        limits |= {'mirror': (mirror, 1), 'whole': (whole, 1)}
        for name, (value, high) in limits.items():
            if not 0 <= value <= high:
                raise ValueError(f'CropAugment: {name} must be from 0 to {high}; got {value}.')
        if margin < 1:
            raise ValueError(f'CropAugment: margin must be at least 1; got {margin}.')
        self.side, self.margin, self.zoom, self.shift = side, margin, zoom, shift
        self.rotation_deg, self.mirror, self.whole = rotation_deg, mirror, whole
        self.noise = ImageNoise() if noise is None else noise

    @property
    def n_versions(self) -> int | None:
        """How many crops an image can become, of itself and whole, plain and mirrored; None for no end of them."""
        if self.zoom or self.shift or self.rotation_deg or not getattr(self.noise, 'off', False):
            return None
        return (1 + (0 < self.whole < 1)) * (1 + (0 < self.mirror < 1))

    def forward(
        self,
        images: Float[Tensor, 'N 3 H W'],
        px: Float[Tensor, 'N K 2'],
        weight: Float[Tensor, 'N K'],
        swap: Int[Tensor, ' K'] | None = None,
    ) -> CropBatch:
        """Cut and vary; a point that leaves the crop gets weight 0.

        Args:
            images: stored images in [0, 1].
            px: keypoints, px of these.
            weight: of the keypoints; 0 for unknown.
            swap: for every keypoint the number of its other side (`mirrored_order`); needed where images are
                mirrored.
        """
        if self.mirror and swap is None:
            raise ValueError(
                'CropAugment: mirrored images must have the order of keypoints in a mirror; swap is None. Give '
                'mirrored_order(keypoint_names, body.data), or set mirror=0.'
            )
        size = images.shape[-2:]
        boxes = self.draw_boxes(point_boxes(px, weight, size, self.margin), size)
        rotation, mirrored = self._rotation(len(images), images)
        affine = compose_affine(rotation, box_affine(boxes, self.side))
        crops = cut(images, affine, self.side)
        moved = map_px(affine, px)
        if swap is not None:
            moved, weight = swap_where(mirrored, moved, swap), swap_where(mirrored, weight, swap)
        inside = ((moved > -0.5) & (moved < self.side - 0.5)).all(-1)
        return CropBatch(self.noise(crops), moved, weight * inside, affine, mirrored)

    def draw_boxes(self, boxes: Float[Tensor, 'N 3'], size: Sequence[int]) -> Float[Tensor, 'N 3']:
        """Zoom and shift boxes at random; some become the whole image of (H, W) px."""
        n = len(boxes)
        side = boxes[:, 2:]
        grown = side * _spread((n, 1), self.zoom, boxes).exp()
        corner = boxes[:, :2] + (side - grown) / 2 + _spread((n, 2), self.shift, boxes) * grown
        whole = torch.rand(n, 1, device=boxes.device) < self.whole
        return torch.where(whole, whole_boxes(n, size, boxes), torch.cat((corner, grown), -1))

    def _rotation(self, n: int, like: Tensor) -> tuple[Float[Tensor, 'N 2 3'], Bool[Tensor, ' N']]:
        """Draw a turn about the crop's centre, and whether it is mirrored first."""
        angle = _spread((n,), math.radians(self.rotation_deg), like)
        mirrored = torch.rand(n, device=like.device) < self.mirror
        sign = torch.where(mirrored, -1.0, 1.0).to(like.dtype)
        cos, sin = angle.cos(), angle.sin()
        matrix = torch.stack((cos * sign, -sin, sin * sign, cos), -1).unflatten(-1, (2, 2))
        centre = like.new_full((n, 2, 1), (self.side - 1) / 2)
        return torch.cat((matrix, centre - matrix @ centre), -1), mirrored


def _spread(shape: tuple[int, ...], half_range: float, like: Tensor) -> Tensor:
    """Draw evenly from -half_range to half_range."""
    return (torch.rand(shape, device=like.device, dtype=like.dtype) * 2 - 1) * half_range
