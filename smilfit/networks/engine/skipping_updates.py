"""Optimiser wrappers that leave a bad batch out: one whose loss or gradient is not finite."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from smilfit.registry import OPTIM_WRAPPERS

LOSS, GRADIENT = 'loss', 'gradient'


class SkippingUpdates:
    """Beside an `OptimWrapper`: weights, optimiser, scaler and running statistics never see a bad batch.

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
        step_kwargs: dict[str, Any] | None = None,
        zero_kwargs: dict[str, Any] | None = None,
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
        """Return all processes the mean of what they have accumulated, which changes nothing of the step to come."""
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

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser's state, and what was accumulated for the step to come."""
        state = super().state_dict()
        if self._between_steps():
            state['accumulated'] = {'gradients': self._accumulated(), 'spoilt': self._spoilt}
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
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
class SkippingOptimWrapper(SkippingUpdates, OptimWrapper):
    """mmengine's wrapper with its arguments; a run takes this one wherever its config says `OptimWrapper`."""
