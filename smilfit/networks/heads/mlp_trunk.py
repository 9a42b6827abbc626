"""The fully connected layers that heads share."""

from jaxtyping import Float
from torch import Tensor, nn


class MLPTrunk(nn.Module):
    """Three layers that halve their width, each with layer normalisation, ReLU and dropout.

    Args:
        in_dim: channels of what comes in.
        dim: channels after the first layer; D / 2 after the second, D / 4 after the third.
        dropout: share of channels that are dropped in training.
    """

    def __init__(self, in_dim: int, dim: int = 1024, dropout: float = 0.3) -> None:
        super().__init__()
        if dim % 4 or dim < 4:
            raise ValueError(f'MLPTrunk: dim must be a multiple of 4; got {dim}. It is halved twice.')
        widths = (in_dim, dim, dim // 2, dim // 4)
        self.out_dim = widths[-1]
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))
        self.norms = nn.ModuleList(nn.LayerNorm(b) for b in widths[1:])
        self.dropout = nn.Dropout(dropout)
        for linear in self.linears:
            nn.init.kaiming_uniform_(linear.weight, nonlinearity='relu')
            nn.init.zeros_(linear.bias)

    def forward(self, features: Float[Tensor, 'B D']) -> Float[Tensor, 'B d']:
        """Run the layers."""
        for linear, norm in zip(self.linears, self.norms):
            features = self.dropout(norm(linear(features)).relu())
        return features


def zero_linear(in_dim: int, out_dim: int) -> nn.Linear:
    """Make a last layer whose answer is zero until it is trained."""
    layer = nn.Linear(in_dim, out_dim)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
