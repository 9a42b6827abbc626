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
                sums[loss] = sums[loss] + value if loss in sums else value
            found.clear()
        for loss, held in zip(losses, _everywhere(losses, sums, total)):
            # A loss that reduces by a sum has divided by nothing.
            loss.normaliser = before[loss] if held is None else (lambda _, held=held: held)
        yield
    finally:
        for loss in losses:
            loss.normaliser = before[loss]


def _everywhere(
    losses: Sequence[BaseLoss], sums: dict[BaseLoss, Tensor], total: Callable[[Tensor], Tensor]
) -> list[Tensor | None]:
    """Sum over processes at once, whatever divides in this one: all must take part in every sum alike."""
    like = next(iter(sums.values()), torch.zeros((), dtype=torch.float64))
    mine = [sums[loss] if loss in sums else torch.zeros_like(like) for loss in losses]
    divided = like.new_tensor([float(loss in sums) for loss in losses])
    values, divided = total(torch.stack((torch.stack(mine), divided)))
    return [value if there else None for value, there in zip(values, divided.tolist())]
