"""An nn.Module whose buffers hold a file's arrays: none in checkpoints, exact in float64."""

from typing import Any

import numpy as np
import torch
from torch import nn


class ExactBuffers(nn.Module):
    """Keeps the arrays that buffers were made of, so that `.double()` gives the file's own numbers.

    A subclass has a floating buffer `v_template`, which tells the module's type.
    """

    def __init__(self) -> None:
        super().__init__()
        self._exact: dict[str, np.ndarray] = {}

    def _keep(self, name: str, array: np.ndarray | None) -> None:
        """Register a float buffer; never in a state dict, so that checkpoints carry no model file."""
        value = None if array is None else torch.as_tensor(np.ascontiguousarray(array), dtype=torch.float32)
        self.register_buffer(name, value, persistent=False)
        if array is not None:
            self._exact[name] = array

    def _apply(self, fn: Any, recurse: bool = True) -> 'ExactBuffers':
        before = self.get_buffer('v_template').dtype
        super()._apply(fn, recurse)
        if self.get_buffer('v_template').dtype == torch.float64 != before:
            # float32 numbers with more digits are not the file's.
            for name, array in self._exact.items():
                buffer = self.get_buffer(name)
                buffer.copy_(torch.as_tensor(np.ascontiguousarray(array), dtype=torch.float64))
        return self
