"""Change training samples: light, missing views, and crops that move with their cameras.

A transform takes a sample as `MultiViewDataset` makes it and gives a new one; the one it got stays as it is.
Random numbers come from torch's generator, which a data loader seeds in each worker.
"""

import math
from typing import Any, TypedDict

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.registry import TRANSFORMS


class Sample(TypedDict):
    """A training sample as docs/architecture.md has it: tensors by name, those of parameters one level deeper."""

    inputs: dict[str, Tensor]
    data_samples: dict[str, Any]


def _uniform(shape: tuple[int, ...], half_range: float) -> Tensor:
    return (torch.rand(shape) * 2 - 1) * half_range


def _check_range(where: str, name: str, value: float, high: float) -> None:
    if not 0 <= value <= high:
        raise ValueError(f'{where}: {name} must be from 0 to {high}; got {value}.')


@TRANSFORMS.register_module()
class PhotometricJitter:
    """Change brightness, contrast, noise and blur of the images; nothing else of the sample.

    Args:
        brightness: largest shift, as a share of white.
        contrast: largest relative change of the distance from the image's mean.
        noise: largest standard deviation of Gaussian noise, as a share of white.
        blur_px: largest standard deviation of Gaussian blur, px of the stored image.
        shared: draw once for all views of a sample instead of once a view (noise differs always).
    """

    def __init__(
        self,
        brightness: float = 0.2,
        contrast: float = 0.2,
        noise: float = 0.02,
        blur_px: float = 1.0,
        shared: bool = False,
    ) -> None:
        for name, value, high in (
            ('brightness', brightness, 1.0),
            ('contrast', contrast, 1.0),
            ('noise', noise, 1.0),
            ('blur_px', blur_px, 100.0),
        ):
            _check_range('PhotometricJitter', name, value, high)
        self.brightness, self.contrast, self.noise, self.blur_px = brightness, contrast, noise, blur_px
        self.shared = shared

    def __call__(self, sample: Sample) -> Sample:
        """Change the images of the present views."""
        inputs = sample['inputs']
        present = inputs['view_mask'].nonzero().squeeze(-1)
        images = inputs['image'][present].float() / 255
        n = 1 if self.shared else len(present)
        shift, gain = _uniform((n, 1, 1, 1), self.brightness), 1 + _uniform((n, 1, 1, 1), self.contrast)
        noise, blur = torch.rand(n, 1, 1, 1) * self.noise, torch.rand(n).expand(len(present)) * self.blur_px
        if self.blur_px:
            images = torch.stack([_blur(p, float(s)) for p, s in zip(images, blur)])
        mean = images.mean((1, 2, 3), keepdim=True)
        images = (images - mean) * gain + mean + shift
        images = images + noise * torch.randn_like(images)
        image = inputs['image'].clone()
        image[present] = (images.clamp(0, 1) * 255).round().to(torch.uint8)
        return {**sample, 'inputs': {**inputs, 'image': image}}


def _blur(image: Float[Tensor, '3 H W'], sigma: float) -> Float[Tensor, '3 H W']:
    """Blur along rows, then columns; the image's edge continues outside."""
    radius = math.ceil(3 * sigma)
    if sigma < 0.1 or radius >= min(image.shape[1:]):
        return image
    x = torch.arange(-radius, radius + 1, dtype=image.dtype)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    padded = torch.nn.functional.pad(image[None], (radius,) * 4, mode='replicate')
    rows = torch.nn.functional.conv2d(padded, kernel, groups=3)
    return torch.nn.functional.conv2d(rows, kernel.transpose(2, 3), groups=3)[0]


@TRANSFORMS.register_module()
class ViewDropout:
    """Leave views out at random, as if the camera had not been there.

    Args:
        probability: of each view.
        min_views: views that stay at least, of those there are.
    """

    # What is left shows what it showed.
    keeps_images = True

    def __init__(self, probability: float = 0.2, min_views: int = 1) -> None:
        _check_range('ViewDropout', 'probability', probability, 1.0)
        if min_views < 1:
            raise ValueError(f'ViewDropout: min_views must be at least 1; got {min_views}.')
        self.probability, self.min_views = probability, min_views

    def __call__(self, sample: Sample) -> Sample:
        """Drop views."""
        mask = sample['inputs']['view_mask']
        draw = torch.rand(len(mask)).masked_fill(~mask, 2.0)
        # The views with the largest draws stay, so that min_views of them always do.
        must_stay = draw.masked_fill(~mask, -1.0).argsort(descending=True)[: self.min_views]
        kept = mask & (draw >= self.probability)
        kept[must_stay] = mask[must_stay]
        return keep_views(sample, kept)


def keep_views(sample: Sample, kept: Tensor) -> Sample:
    """Set all other views to zeros and their `view_mask` to False."""

    def clear(value: Tensor) -> Tensor:
        shape = (len(kept),) + (1,) * (value.ndim - 1)
        return torch.where(kept.reshape(shape), value, torch.zeros_like(value))

    inputs = {name: clear(value) for name, value in sample['inputs'].items()}
    by_view = ('keypoints2d', 'confidence2d', 'to_original', 'mask', 'has_mask')
    data = {name: clear(v) if name in by_view else v for name, v in sample['data_samples'].items()}
    return {**sample, 'inputs': inputs, 'data_samples': data}


@TRANSFORMS.register_module()
class CropJitter:
    """Shift, scale and turn each stored crop about its centre, with its camera, mask and keypoints.

    The images change by `u' = A u + b`, so K becomes [A b; 0 1] K: projections stay exact, for any lens.
    The body's world pose stays as it is.

    Args:
        shift: largest shift along each axis, as a share of the crop's side.
        scale: largest relative change of size.
        rotation_deg: largest turn, degrees.
    """

    def __init__(self, shift: float = 0.05, scale: float = 0.1, rotation_deg: float = 0.0) -> None:
        _check_range('CropJitter', 'shift', shift, 1.0)
        _check_range('CropJitter', 'scale', scale, 0.9)
        _check_range('CropJitter', 'rotation_deg', rotation_deg, 180.0)
        self.shift, self.scale, self.rotation_deg = shift, scale, rotation_deg

    def __call__(self, sample: Sample) -> Sample:
        """Move every present view on its own."""
        n, _, height, width = sample['inputs']['image'].shape
        angle = _uniform((n,), math.radians(self.rotation_deg)).double()
        size = (1 + _uniform((n,), self.scale)).double()
        cos, sin = size * angle.cos(), size * angle.sin()
        matrix = torch.stack((cos, -sin, sin, cos), -1).reshape(n, 2, 2)
        centre = torch.tensor([(width - 1) / 2, (height - 1) / 2], dtype=torch.float64)
        offset = (
            centre - matrix @ centre + (_uniform((n, 2), self.shift) * torch.tensor([width, height])).double()
        )
        return move_crops(sample, torch.cat((matrix, offset.unsqueeze(-1)), -1))


def move_crops(sample: Sample, affine: Float[Tensor, 'C 2 3']) -> Sample:
    """Apply `u' = A u + b` to the images, masks, cameras and keypoints of the present views.

    `to_original` becomes `to_original` after the inverse of the map; `size` stays, so what leaves the frame is
    lost and what enters it is black.
    """
    inputs, data = sample['inputs'], sample['data_samples']
    mask = inputs['view_mask']
    bottom = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64).expand(len(affine), 1, 3)
    full = torch.cat((affine.double(), bottom), 1)
    full = torch.where(mask[:, None, None], full, torch.eye(3, dtype=torch.float64))
    observed = data['confidence2d'] > 0
    points = data['keypoints2d'].double() @ full[:, :2, :2].transpose(1, 2) + full[:, None, :2, 2]
    moved_too = {}
    if 'centres2d' in data:
        moved = data['centres2d'].double() @ full[:, :2, :2].transpose(1, 2) + full[:, None, :2, 2]
        known = data['centres_weight'][..., None] > 0
        moved_too['centres2d'] = torch.where(known, moved, 0.0).to(data['centres2d'].dtype)
    if 'mask' in data:
        # A silhouette's edge is where half of a pixel is covered.
        covered = _warp(data['mask'].unsqueeze(1), full[:, :2], mask & data['has_mask']).squeeze(1)
        moved_too['mask'] = (covered >= 128).to(torch.uint8) * 255
    original = torch.cat((data['to_original'].double(), bottom), 1) @ torch.linalg.inv(full)
    return {
        **sample,
        'inputs': {
            **inputs,
            'image': _warp(inputs['image'], full[:, :2], mask),
            'K': (full @ inputs['K'].double()).to(inputs['K'].dtype),
        },
        'data_samples': {
            **data,
            **moved_too,
            'keypoints2d': torch.where(observed[..., None], points, 0.0).to(data['keypoints2d'].dtype),
            'to_original': (original[:, :2] * mask[:, None, None]).to(data['to_original'].dtype),
        },
    }


def _warp(image: Tensor, affine: Tensor, mask: Tensor) -> Tensor:
    import cv2

    moved = image.clone()
    for c in mask.nonzero().squeeze(-1).tolist():
        view = np.ascontiguousarray(image[c].permute(1, 2, 0).numpy())
        size = (view.shape[1], view.shape[0])
        warped = cv2.warpAffine(view, affine[c].numpy(), size, flags=cv2.INTER_LINEAR)
        moved[c] = torch.from_numpy(warped.reshape(view.shape)).permute(2, 0, 1)
    return moved
