"""Means over a whole clip, while a solver works on parts of it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from smilfit.losses import BaseLoss


@contextmanager
def whole_means(
    modules: Sequence[nn.Module],
    evaluate: Callable[[], Iterable[object]],
    total: Callable[[Tensor], Tensor],
) -> Iterator[None]:
    """Hold what the reduction `'mean'` divides by at its value for all frames of all processes.

    A term must weigh the same whether a solver looks at all frames, at a block of them, or at those that are left.

    Args:
        modules: handlers whose losses divide, or may.
        evaluate: computes all terms once, for one block of frames after another.
        total: sums over processes.
    """
    losses = [m for module in modules for m in module.modules() if isinstance(m, BaseLoss)]
    if not losses:
        yield
        return
    before = {loss: loss.normaliser for loss in losses}
    found: dict[BaseLoss, Tensor] = {}
    sums: dict[BaseLoss, Tensor] = {}
    kinds: dict[BaseLoss, torch.dtype] = {}

    def recorder(loss: BaseLoss) -> Callable[[Tensor], Tensor]:
        def record(value: Tensor) -> Tensor:
            found[loss] = value.detach()
            return value

        return record

    try:
        for loss in losses:
            loss.normaliser = recorder(loss)
        for _ in evaluate():
            # A loss may divide more than once in one evaluation; its block counts once.
            for loss, value in found.items():
                sums[loss] = sums[loss] + value.double() if loss in sums else value.double()
                kinds[loss] = value.dtype
            found.clear()
        for loss in losses:
            # A loss that reduces by a sum has divided by nothing.
            held = total(sums[loss]).to(kinds[loss]) if loss in sums else None
            loss.normaliser = before[loss] if held is None else (lambda _, held=held: held)
        yield
    finally:
        for loss in losses:
            loss.normaliser = before[loss]
