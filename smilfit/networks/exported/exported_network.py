"""A regressor's network as tensors in and tensors out, with what a file of it cannot say of itself."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Port:
    """One tensor that goes in or comes out.

    Args:
        name: in the file.
        axes: lengths; a name is an axis of any length, the same one wherever it stands.
        meaning: a sentence, with units.
        dtype: of the numbers.
        maps: whether the last two axes are a heat map, whose highest cell matters.
    """

    name: str
    axes: tuple[str | int, ...]
    meaning: str
    dtype: torch.dtype = torch.float32
    maps: bool = False

    def shape(self, lengths: Mapping[str, int]) -> tuple[int, ...]:
        """Return the shape for lengths of the named axes."""
        return tuple(lengths[n] if isinstance(n, str) else n for n in self.axes)

    def described(self) -> dict[str, Any]:
        """Report all of it, as JSON has it."""
        dtype = str(self.dtype).removeprefix('torch.')
        return {'name': self.name, 'shape': list(self.axes), 'dtype': dtype, 'meaning': self.meaning}


class ExportedNetwork(nn.Module, ABC):
    """What of a regressor is plain layers: `forward(*inputs)` gives the outputs in order, in float32.

    Attributes:
        inputs: what goes in; the first axis of each is 'batch'.
        outputs: what comes out.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @abstractmethod
    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the network."""

    @abstractmethod
    def drawn(self, lengths: Mapping[str, int], generator: torch.Generator) -> tuple[Tensor, ...]:
        """Draw inputs of their kind, for lengths of the named axes."""

    @abstractmethod
    def inputs_of(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the inputs for a batch of samples in the documented form, after the data preprocessor."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Return what whoever runs it must know, as JSON has it."""


def image_facts(backbone: nn.Module, side: int) -> dict[str, Any]:
    """Describe the images that a backbone takes; it normalises them itself."""
    normalisation = {
        key: getattr(backbone, key).flatten().tolist()
        for key in ('mean', 'std')
        if isinstance(getattr(backbone, key, None), Tensor)
    }
    return {
        'channels': 'RGB',
        'range': [0.0, 1.0],
        'side_px': side,
        'normalised_inside': normalisation,
    }
