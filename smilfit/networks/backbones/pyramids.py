"""Backbones that give maps of several strides, for predictions at fine places: of timm, and one to train anew."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from smilfit.networks.backbones.timm_network import TimmNetwork, load_weights
from smilfit.registry import MODELS


def conv_norm(in_dim: int, out_dim: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Make a convolution with batch normalisation behind it."""
    conv = nn.Conv2d(in_dim, out_dim, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_dim))


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside an identity; the last normalisation's gain starts at 0, so it starts as one."""

    def __init__(self, in_dim: int, out_dim: int, stride: int = 1) -> None:
        super().__init__()
        self.first = conv_norm(in_dim, out_dim, 3, stride)
        self.second = conv_norm(out_dim, out_dim)
        same = in_dim == out_dim and stride == 1
        self.skip = nn.Identity() if same else conv_norm(in_dim, out_dim, 1, stride)
        nn.init.zeros_(self.second[1].get_parameter('weight'))

    def forward(self, x: Float[Tensor, 'N D h w']) -> Float[Tensor, 'N E i j']:
        """Compute the block."""
        return functional.relu(self.second(functional.relu(self.first(x), inplace=True)) + self.skip(x))


class TopDown(nn.Module):
    """Carry context from coarse maps to fine ones: a 1 x 1 convolution, doubled, added, and a residual block.

    Args:
        in_dims: channels of the maps, finest first; each is half as large as the one before.
        dims: channels of the maps that it gives.
    """

    def __init__(self, in_dims: Sequence[int], dims: Sequence[int]) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(
            nn.Identity() if a == b else nn.Conv2d(a, b, 1) for a, b in zip(in_dims, dims)
        )
        self.down = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in zip(dims, dims[1:]))
        self.refine = nn.ModuleList(ResidualBlock(dim, dim) for dim in dims[:-1])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return as many maps, finest first, each of which has seen all coarser ones."""
        result = [self.lateral[-1](maps[-1])]
        for level in reversed(range(len(maps) - 1)):
            fine = self.lateral[level](maps[level])
            above = functional.interpolate(self.down[level](result[0]), size=fine.shape[-2:], mode='nearest')
            result.insert(0, self.refine[level](fine + above))
        return result


# ImageNet's, so that images reach the first layer around 0 with a deviation of about 1.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_STEM = 24
# Weights that come with the package, by name.
SHIPPED = {'animals': Path(__file__).parent / 'weights' / 'small_unet_animals.pth'}


@MODELS.register_module()
class SmallUNet(nn.Module):
    """Compute maps of stride 4, 8, 16 and 32 of a residual network, the finer ones with the coarser ones' context.

    2.4 million parameters with the widths as they are, to be trained from scratch or from weights. Those of 'animals'
    were trained on renderings of made quadrupeds and insects and of a CC0 bird by
    `benchmarks/regression/pretrain_backbone.py`.

    Args:
        widths: channels of the stages.
        fine_dim: channels of the finest map.
        checkpoint: a file of weights, read without running code, or 'animals' for those that come with the package;
            None for random ones.

    Attributes:
        dims: channels of the maps, finest first.
        strides: px a cell of the maps, finest first.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128, 192),
        fine_dim: int = 64,
        checkpoint: str | Path | None = None,
    ) -> None:
        super().__init__()
        if len(widths) < 2 or min(*widths, fine_dim) < 1:
            raise ValueError(
                f'SmallUNet: widths must be at least two positive numbers; got {tuple(widths)}, fine_dim={fine_dim}.'
            )
        self.stem = nn.Sequential(
            conv_norm(3, _STEM, 3, 2), nn.ReLU(True), conv_norm(_STEM, widths[0], 3, 2), nn.ReLU(True)
        )
        before = (widths[0], *widths)
        self.stages = nn.ModuleList(
            nn.Sequential(ResidualBlock(a, b, 1 if i == 0 else 2), ResidualBlock(b, b))
            for i, (a, b) in enumerate(zip(before, widths))
        )
        self.dims = (fine_dim, *widths[1:])
        self.strides = tuple(4 * 2**i for i in range(len(widths)))
        self.top_down = TopDown(widths, self.dims)
        for name, values in (('mean', _MEAN), ('std', _STD)):
            self.register_buffer(name, torch.tensor(values).reshape(3, 1, 1), persistent=False)
        if checkpoint is not None:
            path = SHIPPED.get(str(checkpoint), Path(checkpoint))
            load_weights(self, path, 'Give weights of a SmallUNet of these widths, or checkpoint=None.')

    def forward(self, images: Float[Tensor, 'N 3 H W']) -> list[Tensor]:
        """Compute the maps (N, D, h, w) of images in [0, 1], finest first."""
        maps, x = [], self.stem((images - self.mean) / self.std)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return self.top_down(maps)


# Finer ones cost much and say little that the next one does not.
_FINEST = 4


@MODELS.register_module()
class TimmPyramid(TimmNetwork):
    """Compute a timm network's maps with context from the coarser ones.

    ResNet, ConvNeXt, HRNet, EfficientNet, MobileNet and others do.
    A light decoder goes from the coarsest map to the finest: a 1 x 1 convolution, doubled, added, a residual block.
    It is trained also where the network is frozen.

    Args:
        name: a timm model name.
        out_indices: which of its feature maps, counted as timm counts them; each of half the size of the one before.
            None takes all of stride 4 and more.
        dim: channels of the maps that it gives.
        network: further arguments of `TimmNetwork`.

    Attributes:
        dims: channels of the maps, finest first.
        strides: px a cell of the maps, finest first.

    Raises:
        ValueError: maps whose strides do not double, such as a ViT's.
    """

    def __init__(
        self,
        name: str = 'resnet50',
        out_indices: Sequence[int] | None = None,
        dim: int = 96,
        **network: Any,
    ) -> None:
        super().__init__(name, out_indices, **network)
        reductions = [feature['reduction'] for feature in self.network.feature_info]
        self.strides = tuple(reductions[i] for i in self.indices)
        if any(b != 2 * a for a, b in zip(self.strides, self.strides[1:])):
            raise ValueError(
                f'TimmPyramid: the strides of the maps must double from one to the next; {name!r} has '
                f'{self.strides} at {tuple(self.indices)}. Take ViTPyramid for a ViT, or other out_indices.'
            )
        self.dims = (dim,) * len(self.strides)
        self.top_down = TopDown(self.map_dims, self.dims)

    def default_indices(self) -> list[int]:
        """Return the feature maps of stride 4 and more, the last one of each stride."""
        last = {feature['reduction']: i for i, feature in enumerate(self.network.feature_info)}
        return [i for stride, i in last.items() if stride >= _FINEST]

    def forward(self, images: Float[Tensor, 'N 3 H W']) -> list[Tensor]:
        """Compute the maps (N, D, h, w) of images in [0, 1], finest first."""
        return self.decode(self.kept_maps(images))

    def decode(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the pyramid of the network's own maps."""
        return self.top_down(maps)


@MODELS.register_module()
class ViTPyramid(TimmNetwork):
    """Compute a ViT's grid of patches, and a fine map of it by deconvolutions of stride 2, as ViTPose does.

    With patches of 16 px and two of them the fine map's stride is 4. See Xu et al., ViTPose, NeurIPS 2022. The
    deconvolutions are trained also where the network is frozen.

    Args:
        name: a timm model name, such as `vit_base_patch16_224`, `vit_large_patch16_224`, `vit_huge_patch14_clip_224`.
        dim: channels of the fine map.
        n_deconvolutions: how often the grid's size is doubled.
        network: further arguments of `TimmNetwork`.

    Attributes:
        dims: channels of the fine map and of the patches.
        strides: px a cell of these.

    Raises:
        ValueError: a network without patches, or patches that cannot be halved so often.
    """

    def __init__(
        self,
        name: str = 'vit_base_patch16_224',
        dim: int = 256,
        n_deconvolutions: int = 2,
        **network: Any,
    ) -> None:
        super().__init__(name, None, **network)
        patch = getattr(getattr(self.network, 'patch_embed', None), 'patch_size', (0, 0))
        side = int(patch[0])
        if n_deconvolutions < 1 or not side or patch[0] != patch[1] or side % 2**n_deconvolutions:
            raise ValueError(
                f'ViTPyramid: the network must have square patches that n_deconvolutions={n_deconvolutions} halves '
                f'to whole px; {name!r} has {tuple(patch)} px. Take one with patches of 16 px, or TimmPyramid.'
            )
        self.patch = side
        self.strides = (side // 2**n_deconvolutions, side)
        self.dims = (dim, self.map_dims[0])
        layers: list[nn.Module] = []
        for i in range(n_deconvolutions):
            before = self.map_dims[0] if i == 0 else dim
            layers += [
                nn.ConvTranspose2d(before, dim, 4, 2, 1, bias=False),
                nn.BatchNorm2d(dim),
                nn.ReLU(True),
            ]
        self.deconvolutions = nn.Sequential(*layers)
        for layer in layers:
            if isinstance(layer, nn.ConvTranspose2d):
                # Each output cell is reached by 4 of the 16 weights of an input channel.
                nn.init.normal_(layer.weight, std=math.sqrt(2 / (4 * layer.in_channels)))

    def forward(self, images: Float[Tensor, 'N 3 H W']) -> list[Tensor]:
        """Compute the fine map and the patches' of images in [0, 1], whose sides are whole patches."""
        if images.shape[-2] % self.patch or images.shape[-1] % self.patch:
            raise ValueError(
                f"ViTPyramid: the sides of images must be multiples of the patches' {self.patch} px; got "
                f'{tuple(images.shape[-2:])}. Cut or resize them so.'
            )
        return self.decode(self.kept_maps(images))

    def decode(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the fine map and the patches' of the network's own map."""
        return [self.deconvolutions(maps[-1]), maps[-1]]
