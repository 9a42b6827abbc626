"""Which unknowns a stage has, and in which order they stand in a frame's normal equations."""

from dataclasses import dataclass

import torch
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.registrants.second_order.variable_state import VariableState


@dataclass(frozen=True)
class VariableLayout:
    """The columns of a frame: turns of the joints that may turn, translation, own extras; then shared extras.

    Args:
        free: indices of the joints that turn.
        transl: whether the body may move.
        own: names and sizes of the extras that each frame has for itself.
        shared: names and sizes of the extras that all frames share.
        cameras: places of the cameras that move, six columns each; empty where none does.
    """

    free: Tensor
    transl: bool
    own: tuple[tuple[str, int], ...]
    shared: tuple[tuple[str, int], ...]
    cameras: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        body: SMIL,
        free: list[int],
        transl: bool,
        fitted: dict[str, bool],
        at: VariableState,
        cameras: tuple[int, ...] | None = None,
    ) -> 'VariableLayout':
        """Lay out the unknowns; an extra without numbers (a model without betas) is left out.

        Of `cameras` that are fitted all move where none are named.
        """
        sizes = {name: at.extras[name][0].numel() for name in fitted}
        if 'cameras' in fitted:
            cameras = tuple(range(len(at.extras['cameras'][0]))) if cameras is None else cameras
            sizes['cameras'] = 6 * len(cameras)
        own = tuple((n, sizes[n]) for n, shared in fitted.items() if not shared and sizes[n])
        common = tuple((n, sizes[n]) for n, shared in fitted.items() if shared and sizes[n])
        return cls(
            torch.tensor(free, dtype=torch.long, device=body.v_template.device),
            transl,
            own,
            common,
            cameras or (),
        )

    @property
    def n_pose(self) -> int:
        """How many columns are turns and translation."""
        return 3 * len(self.free) + 3 * self.transl

    @property
    def n_own(self) -> int:
        """How many columns a frame has for itself."""
        return self.n_pose + sum(size for _, size in self.own)

    @property
    def n_shared(self) -> int:
        """How many columns all frames share."""
        return sum(size for _, size in self.shared)

    @property
    def extras(self) -> tuple[tuple[str, int], ...]:
        """The extras in the order of their columns."""
        return (*self.own, *self.shared)

    def extra_columns(self) -> dict[str, slice]:
        """Return the columns of every extra."""
        at, result = self.n_pose, {}
        for name, size in self.extras:
            result[name] = slice(at, at + size)
            at += size
        return result
