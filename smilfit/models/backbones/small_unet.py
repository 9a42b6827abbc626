"""A small residual U-Net that learns from scratch within minutes on a CPU."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from smilfit.models.backbones.top_down import ResidualBlock, TopDown, conv_norm
from smilfit.registry import MODELS

# ImageNet's, so that images reach the first layer around 0 with a deviation of about 1.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_STEM = 24


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
