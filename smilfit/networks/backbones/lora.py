"""Fine-tune a network by matrices of low rank beside its own (Hu et al., LoRA, ICLR 2022)."""

import copy
import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

M = TypeVar('M', bound=nn.Module)


class LowRank(nn.Module):
    """The product of two thin matrices, `up down alpha / rank`; `up` starts at zero, so it starts as nothing."""

    # A checkpoint of before may lack it.
    adds_nothing_untrained = True

    def __init__(self, in_dim: int, out_dim: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.empty(rank, in_dim))
        self.up = nn.Parameter(torch.zeros(out_dim, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Float[Tensor, '*n D']) -> Float[Tensor, '*n E']:
        """Multiply, first by the thin one."""
        return functional.linear(functional.linear(x, self.down), self.scale * self.up)


class LoRALinear(nn.Linear):
    """A linear layer that is frozen, and what is trained beside it; its own weights keep their names."""

    def __init__(self, of: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__(of.in_features, of.out_features, of.bias is not None, device='meta')
        self.weight, self.bias = of.weight, of.bias
        self.lora = LowRank(of.in_features, of.out_features, rank, alpha).to(of.weight)

    def forward(self, x: Float[Tensor, '*n D']) -> Float[Tensor, '*n E']:
        """Compute the layer and what was learnt."""
        return super().forward(x) + self.lora(x)

    def merged(self) -> nn.Linear:
        """Return one layer that computes the same."""
        result = nn.Linear(self.in_features, self.out_features, self.bias is not None, device='meta')
        with torch.no_grad():
            weight = self.weight + self.lora.scale * self.lora.up @ self.lora.down
        result.weight = nn.Parameter(weight, requires_grad=False)
        result.bias = None if self.bias is None else nn.Parameter(self.bias.detach(), requires_grad=False)
        return result.train(self.training)


class LoRA:
    """Which layers of a network are trained so.

    Args:
        rank: of the matrices.
        alpha: they count `alpha / rank`; the rank if None.
        layers: the ends of the names of linear layers; of attention unless given.

    Raises:
        ValueError: a rank below 1, or no layer of these names in the network.
    """

    def __init__(
        self, rank: int = 8, alpha: float | None = None, layers: Sequence[str] = ('attn.qkv', 'attn.proj')
    ) -> None:
        if rank < 1:
            raise ValueError(f'lora: rank must be at least 1; got {rank}. Take 8.')
        self.rank, self.alpha, self.layers = rank, float(alpha or rank), tuple(layers)

    def add_to(self, where: str, network: nn.Module) -> tuple[int, int]:
        """Freeze a network and put the matrices in; returns how many numbers are trained, and how many there are."""
        linear = [name for name, module in network.named_modules() if type(module) is nn.Linear]
        chosen = [name for name in linear if f'.{name}'.endswith(tuple(f'.{end}' for end in self.layers))]
        if not chosen:
            ends = sorted({'.'.join(name.split('.')[-2:]) for name in linear})
            raise ValueError(
                f'{where}: lora must name linear layers of the network; none ends in {self.layers}. It has '
                f'{", ".join(ends) or "none"}: give them as lora=dict(rank={self.rank}, layers=[...]).'
            )
        network.requires_grad_(False)
        for name in chosen:
            layer = network.get_submodule(name)
            assert isinstance(layer, nn.Linear)
            network.set_submodule(name, LoRALinear(layer, self.rank, self.alpha))
        sizes = [(p.numel(), p.requires_grad) for p in network.parameters()]
        return sum(n for n, trained in sizes if trained), sum(n for n, _ in sizes)


def merge_lora(model: M) -> M:
    """Return a copy of a model in which every `LoRALinear` is one layer; the model itself if it has none."""
    if not any(isinstance(module, LoRALinear) for module in model.modules()):
        return model
    result = copy.deepcopy(model)
    for name, module in list(result.named_modules()):
        if isinstance(module, LoRALinear):
            result.set_submodule(name, module.merged())
    return result
