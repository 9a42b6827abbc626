"""Change how images look, not where things are: light, noise, blur, erased rectangles; on whole batches."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

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
