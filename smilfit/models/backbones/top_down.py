"""Bring the context of coarse maps into fine ones."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


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
