"""A small residual U-Net that learns from scratch within minutes on a CPU."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from smilfit.registry import MODELS

# ImageNet's, so that images reach the first layer around 0 with a deviation of about 1.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_STEM = 24


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
        nn.init.zeros_(self.second[1].weight)

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
        """Give as many maps, finest first, each of which has seen all coarser ones."""
        found = [self.lateral[-1](maps[-1])]
        for level in reversed(range(len(maps) - 1)):
            fine = self.lateral[level](maps[level])
            above = functional.interpolate(self.down[level](found[0]), size=fine.shape[-2:], mode='nearest')
            found.insert(0, self.refine[level](fine + above))
        return found


@MODELS.register_module()
class SmallUNet(nn.Module):
    """Give maps of stride 4, 8, 16 and 32 of a residual network, the finer ones with the coarser ones' context.

    2.4 million parameters with the widths as they are. It is trained from scratch.

    Args:
        widths: channels of the stages.
        fine_dim: channels of the finest map.

    Attributes:
        dims: channels of the maps, finest first.
        strides: px a cell of the maps, finest first.
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 128, 192), fine_dim: int = 64) -> None:
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

    def forward(self, images: Float[Tensor, 'N 3 H W']) -> list[Tensor]:
        """Compute the maps (N, D, h, w) of images in [0, 1], finest first."""
        maps, x = [], self.stem((images - self.mean) / self.std)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return self.top_down(maps)
