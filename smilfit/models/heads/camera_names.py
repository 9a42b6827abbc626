"""Cameras by name: a network that knows cameras must not mistake one for another."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from smilfit.registry import UnknownNameError, did_you_mean


class CameraNames:
    """Which of the cameras that a network knows the views of samples are.

    Args:
        where: begins messages.
        known: the network's cameras, in the order of its weights.
        renamed: `{'name in the data': 'name in the network'}`.
    """

    def __init__(self, where: str, known: Sequence[str], renamed: Mapping[str, str] | None = None) -> None:
        self.where, self.known, self.renamed = where, tuple(known), dict(renamed or {})
        self.views: tuple[str, ...] = ()
        self._index: tuple[int, ...] = ()
        self.use(tuple(known))

    def use(self, names: Sequence[str]) -> None:
        """Say which cameras the views of samples are, in order.

        Raises:
            UnknownNameError: a camera that the network does not know, with the near ones.
        """
        found = []
        for name in names:
            wanted = self.renamed.get(name, name)
            if wanted not in self.known:
                raise UnknownNameError(
                    f'{self.where}: the network must know every camera; it knows {", ".join(self.known)}, not '
                    f'{wanted!r}. {did_you_mean(wanted, self.known)} Name the one to use instead by '
                    f'cameras={{{name!r}: ...}}.'
                )
            found.append(self.known.index(wanted))
        self.views, self._index = tuple(names), tuple(found)

    def index(self, view_mask: Bool[Tensor, 'B C']) -> Int[Tensor, 'B C']:
        """Give each view's camera by its number among the known ones.

        Raises:
            ValueError: samples of another number of views.
        """
        if view_mask.shape[1] != len(self._index):
            raise ValueError(
                f'{self.where}: a sample must have a view for each of the cameras {self.views}; got '
                f'{view_mask.shape[1]} views. Say by use_cameras(names) which they are.'
            )
        return torch.tensor(self._index, device=view_mask.device).expand(view_mask.shape)


def of_each(values: Sequence[Tensor], index: Int[Tensor, 'B C']) -> Tensor:
    """Take of K tensors (B, C, ...) that one which each view's number names."""
    stacked = torch.stack(list(values))
    place = index.reshape(1, *index.shape, *(1,) * (stacked.ndim - 3)).expand(1, *stacked.shape[1:])
    return stacked.gather(0, place)[0]
