"""Mixed precision in bfloat16, on any device."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from smilfit.registry import OPTIM_WRAPPERS

_DTYPES = {'bfloat16': torch.bfloat16}


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Run the forward pass under autocast; bfloat16 has float32's range, so no loss is scaled.

    mmengine's `AmpOptimWrapper` refuses to run without an accelerator. For float16, on CUDA, use that one.
    """

    def __init__(self, dtype: str = 'bfloat16', **kwargs: Any) -> None:
        if dtype not in _DTYPES:
            raise ValueError(
                f'AutocastOptimWrapper: dtype must be bfloat16; got {dtype!r}. '
                f'float16 needs its loss scaled: use AmpOptimWrapper on CUDA.'
            )
        super().__init__(**kwargs)
        self.dtype = _DTYPES[dtype]

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enter autocast on the device of the model's parameters."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, self.dtype):
            yield
