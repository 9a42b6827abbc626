"""Optimiser wrappers: bad batches are left out, precision is mixed, parameters of equal options grouped."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from mmengine.device import get_device
from mmengine.logging import MMLogger
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from smilfit.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, reject_unknown

LOSS, GRADIENT = 'loss', 'gradient'


class SkippingUpdates(OptimWrapper):
    """mmengine's wrapper whose weights, optimiser, scaler and running statistics never see a bad batch.

    Every process goes through the backward pass, so that none waits for another, and then all agree: what is bad in
    one is bad in all. Where gradients are accumulated, the step that a bad batch belongs to is left out as a whole.

    `bad` says of the last batch what was not finite, `LOSS` or `GRADIENT`; None of a good one.
    """

    bad: str | None = None
    _spoilt = False
    # Buffers and what they held before the forward pass.
    _statistics: Sequence[tuple[Tensor, Tensor]] = ()

    def update_params(
        self,
        loss: Tensor,
        step_kwargs: dict | None = None,
        zero_kwargs: dict | None = None,
    ) -> None:
        """Step as mmengine does, if all batches of the step were good."""
        loss = self.scale_loss(loss)
        self.backward(loss)
        self.bad = self._find_bad(loss)
        if self.bad is not None:
            self._spoilt = True
            self._give_back_statistics()
            self.zero_grad(**(zero_kwargs or {}))
        if self.should_update():
            if not self._spoilt:
                self.step(**(step_kwargs or {}))
            self.zero_grad(**(zero_kwargs or {}))
            self._spoilt = False

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Remember the running statistics of normalisation layers, which a forward pass changes."""
        layers = (m for m in model.modules() if isinstance(m, _NormBase) and m.training)
        kept = [b for m in layers for b in m.buffers(recurse=False)]
        self._statistics = [(b, b.clone()) for b in kept]
        with super().optim_context(model):
            yield

    def gradient_is_judged(self) -> bool:
        """Check whether a gradient that is not finite is the batch's fault."""
        return True

    def share_gradients(self) -> None:
        """Average what all processes have accumulated, which changes nothing of the step to come."""
        if self._between_steps() and dist.is_available() and dist.is_initialized():
            gradients = [x for x in self._accumulated() if x is not None]
            if not gradients:
                return
            # All in one: a call for each would wait for the network as often.
            joined = torch.cat([x.flatten() for x in gradients])
            dist.all_reduce(joined)
            joined /= dist.get_world_size()
            for gradient, mean in zip(gradients, joined.split([x.numel() for x in gradients])):
                gradient.copy_(mean.view_as(gradient))

    def state_dict(self) -> dict:
        """Return the optimiser's state, and what was accumulated for the step to come."""
        state = super().state_dict()
        if self._between_steps():
            state['accumulated'] = {'gradients': self._accumulated(), 'spoilt': self._spoilt}
        return state

    def load_state_dict(self, state_dict: dict) -> None:
        """Take a state, with what was accumulated if it was the first process's."""
        state = dict(state_dict)
        accumulated = state.pop('accumulated', None)
        super().load_state_dict(state)
        if accumulated is None:
            return
        self._spoilt = bool(accumulated['spoilt'])
        for parameter, gradient in zip(self._parameters(), accumulated['gradients']):
            parameter.grad = None if gradient is None else gradient.to(parameter).clone()

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """Count on from a resumed run's batches; mmengine would warn of gradients that this class has kept."""
        super().initialize_count_status(model, 0, max_counts)
        self._inner_count = init_counts

    def _between_steps(self) -> bool:
        return self._accumulative_counts > 1 and not self.should_update()

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group['params']]

    def _accumulated(self) -> list[Tensor | None]:
        return [p.grad for p in self._parameters()]

    def _find_bad(self, loss: Tensor) -> str | None:
        gradients = [x for x in self._accumulated() if x is not None]
        flags = torch.zeros(2, device=loss.device)
        flags[0] = ~loss.detach().isfinite()
        if gradients and self.gradient_is_judged():
            flags[1] = not _all_finite(gradients)
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            dist.all_reduce(flags, dist.ReduceOp.MAX)
        bad_loss, bad_gradient = flags.tolist()
        return LOSS if bad_loss else GRADIENT if bad_gradient else None

    def _give_back_statistics(self) -> None:
        with torch.no_grad():
            for buffer, before in self._statistics:
                buffer.copy_(before)


def _all_finite(gradients: list[Tensor]) -> bool:
    # The Euclidean norm is read 15 times faster than the largest entry, but its squares can overflow by themselves:
    # where it is not finite the entry decides.
    for order in (2.0, float('inf')):
        norms = torch._foreach_norm(gradients, order)
        if bool(torch.stack([x.to(norms[0].device) for x in norms]).isfinite().all()):
            return True
    return False


@OPTIM_WRAPPERS.register_module(name='OptimWrapper')
class SkippingOptimWrapper(SkippingUpdates):
    """mmengine's wrapper with its arguments; a run takes this one wherever its config says `OptimWrapper`."""


_DTYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16}


@OPTIM_WRAPPERS.register_module(name=['AutocastOptimWrapper', 'AmpOptimWrapper'])
class AutocastOptimWrapper(SkippingUpdates):
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
        loss_scale: str | float | Mapping[str, float] = 'dynamic',
        **kwargs: object,
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

    def backward(self, loss: Tensor, **kwargs: object) -> None:
        """Compute gradients, of the scaled loss in float16."""
        super().backward(loss if self.loss_scaler is None else self.loss_scaler.scale(loss), **kwargs)

    def step(self, **kwargs: object) -> None:
        """Clip and step; in float16 with gradients as they are without the scale."""
        if self.loss_scaler is None:
            super().step(**kwargs)
            return
        if self.clip_grad_kwargs:
            self.loss_scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update()

    def state_dict(self) -> dict:
        """Return the optimiser's state and the scaler's."""
        scale = {} if self.loss_scaler is None else {'loss_scaler': self.loss_scaler.state_dict()}
        return super().state_dict() | scale

    def load_state_dict(self, state_dict: dict) -> None:
        """Take a state; one of another precision has no scaler's, or one that is not needed."""
        state_dict = dict(state_dict)
        scale = state_dict.pop('loss_scaler', None)
        if scale and self.loss_scaler is not None:
            self.loss_scaler.load_state_dict(scale)
        super().load_state_dict(state_dict)


def _scaler_arguments(loss_scale: str | float | Mapping[str, float]) -> dict[str, Any]:
    if isinstance(loss_scale, Mapping):
        return dict(loss_scale)
    if isinstance(loss_scale, str):
        reject_unknown('AutocastOptimWrapper', 'loss_scale', [loss_scale], ('dynamic',))
        return {}
    return {'init_scale': float(loss_scale)}


_PARAMS = 'params'
# Parameters, and options of the optimiser for them.
Group = dict[str, Any]


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, with its arguments, which makes a group of every parameter; these are joined.

    Groups are in the order of their first parameter.
    """

    def add_params(self, params: list[Group], module: nn.Module, prefix: str = '', **kwargs: object) -> None:
        """Collect the groups of a module's parameters."""
        if prefix:
            super().add_params(params, module, prefix=prefix, **kwargs)
            return
        log, frozen = MMLogger.get_current_instance(), _FrozenLines()
        log.addFilter(frozen)
        try:
            super().add_params(params, module, prefix=prefix, **kwargs)
        finally:
            log.removeFilter(frozen)
        if frozen.count:
            log.info('%d weights are frozen: the optimiser leaves them out.', frozen.count)
        params[:] = joined(params)


class _FrozenLines(logging.Filter):
    """Counts mmengine's lines on frozen weights, one each, in their place."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        frozen = 'is skipped since its requires_grad=False' in record.getMessage()
        self.count += frozen
        return not frozen


def joined(groups: list[Group]) -> list[Group]:
    """Join groups of the same options."""
    result: dict[str, Group] = {}
    for group in groups:
        options = {k: v for k, v in group.items() if k != _PARAMS}
        alike = repr(sorted(options.items()))
        result.setdefault(alike, {_PARAMS: [], **options})[_PARAMS] += group[_PARAMS]
    return list(result.values())
