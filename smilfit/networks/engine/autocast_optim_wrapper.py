"""Mixed precision, on any device."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from smilfit.networks.engine.skipping_updates import SkippingUpdates
from smilfit.registry import OPTIM_WRAPPERS, reject_unknown

_DTYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16}


@OPTIM_WRAPPERS.register_module(name=['AutocastOptimWrapper', 'AmpOptimWrapper'])
class AutocastOptimWrapper(SkippingUpdates, OptimWrapper):
    """Run the forward pass under autocast.

    bfloat16 has float32's range; float16 has not, so its loss is scaled. mmengine's `AmpOptimWrapper`, whose name
    it answers to as well, refuses to run without an accelerator.

    Args:
        dtype: 'bfloat16' or 'float16'.
        loss_scale: of float16: 'dynamic', a number to begin with, or arguments of torch's GradScaler.
    """

    def __init__(
        self,
        dtype: str | None = 'bfloat16',
        loss_scale: str | float | Mapping[str, Any] = 'dynamic',
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        dtype = dtype or 'bfloat16'
        reject_unknown('AutocastOptimWrapper', 'dtype', [dtype], _DTYPES)
        self.dtype = _DTYPES[dtype]
        self.loss_scaler: torch.amp.GradScaler | None = None
        if self.dtype == torch.float16:
            self.loss_scaler = torch.amp.GradScaler(get_device(), **_scaler_arguments(loss_scale))

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enter autocast on the device of the model's parameters."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, self.dtype):
            yield

    def gradient_is_judged(self) -> bool:
        """Check whether a gradient that is not finite is the batch's fault; by a loss scaled up it may be the
        scale's.

        Then the scaler leaves the step out and scales less.
        """
        return self.loss_scaler is None or self.loss_scaler.get_scale() <= 1

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Compute gradients, of the scaled loss in float16."""
        super().backward(loss if self.loss_scaler is None else self.loss_scaler.scale(loss), **kwargs)

    def step(self, **kwargs: Any) -> None:
        """Clip and step; in float16 with gradients as they are without the scale."""
        if self.loss_scaler is None:
            super().step(**kwargs)
            return
        if self.clip_grad_kwargs:
            self.loss_scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser's state and the scaler's."""
        scale = {} if self.loss_scaler is None else {'loss_scaler': self.loss_scaler.state_dict()}
        return super().state_dict() | scale

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state; one of another precision has no scaler's, or one that is not needed."""
        state_dict = dict(state_dict)
        scale = state_dict.pop('loss_scaler', None)
        if scale and self.loss_scaler is not None:
            self.loss_scaler.load_state_dict(scale)
        super().load_state_dict(state_dict)


def _scaler_arguments(loss_scale: str | float | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(loss_scale, Mapping):
        return dict(loss_scale)
    if isinstance(loss_scale, str):
        reject_unknown('AutocastOptimWrapper', 'loss_scale', [loss_scale], ('dynamic',))
        return {}
    return {'init_scale': float(loss_scale)}
