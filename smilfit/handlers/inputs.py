"""The contract of Inputs: observations that meet a handler."""

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor

from smilfit.body_models import BodyModelData
from smilfit.structures import Cameras, RecordedData

Same = TypeVar('Same', bound='BaseInput')
# What picks frames: a number, a slice, or numbers or a mask.
Index = int | slice | Tensor | np.ndarray | Sequence[int]


class MissingObservationError(ValueError):
    """A dataset file holds no observation of the kind that a handler needs."""


class BaseInput:
    """An observation. It meets the handler that has the same `handler_key`.

    A subclass names the attributes that hold a row a frame (`rows`: tensors, or structures that are indexed and moved
    like tensors); selecting frames, moving and casting follow from that. None stands for what was not observed.
    """

    handler_key: str
    # Attributes with one row a frame.
    rows: ClassVar[tuple[str, ...]] = ()
    # Keypoints of the observation that the model does not have; `resolve` leaves them out and names them here.
    unmatched: tuple[str, ...] = ()

    @property
    def batch_size(self) -> int:
        """How many frames were observed."""
        for name in self.rows:
            value = getattr(self, name)
            if value is not None:
                return value.batch_size if not isinstance(value, Tensor) else len(value)
        raise TypeError(f'{type(self).__name__}: an Input must name its rows, or say its batch_size.')

    def get_batch_size(self) -> int:
        """Return `batch_size`, by the name that XRMoCap's users know."""
        return self.batch_size

    @property
    def cameras(self) -> Cameras | None:
        """The cameras that observed; None if none did."""
        return None

    @property
    def n_masked(self) -> int:
        """How many observed numbers were no numbers and are left out."""
        return 0

    def observed(self) -> Tensor:
        """Return which frames were observed at all (B,) bool."""
        return torch.ones(self.batch_size, dtype=torch.bool)

    @classmethod
    def from_dataset(cls, dataset: RecordedData, session: str, handler_key: str) -> 'BaseInput':
        """Take this kind of observation of a session out of a dataset file.

        Raises:
            TypeError: dataset files do not hold such observations.
        """
        raise TypeError(
            f'{cls.__name__}: a dataset file does not hold this input for the handler {handler_key!r}. '
            'Fit from Python with an Input of your own, or define from_dataset.'
        )

    def resolve(self: Same, data: BodyModelData) -> Same:
        """Return this Input with its keypoint convention turned into names of the model."""
        return self

    def resized(self: Same, side: int) -> Same:
        """Return this Input for images whose longer side is at most `side` px; only masks have any."""
        return self

    def to(self: Same, *args: object, **kwargs: object) -> Same:
        """Return this Input on another device or in another type; integers keep theirs."""
        return self._changed(lambda value: _moved(value, *args, **kwargs))

    def __getitem__(self: Same, index: Index) -> Same:
        """Select frames."""
        index = slice(index, index + 1 or None) if isinstance(index, int) else index
        return self._changed(lambda value: value[index])

    def _changed(self: Same, function: Callable[[Any], object]) -> Same:
        changed = copy(self)
        for name in self.rows:
            value = getattr(self, name)
            if value is not None:
                setattr(changed, name, function(value))
        return changed


def _moved(value: Any, *args: object, **kwargs: object) -> object:
    moved = value.to(*args, **kwargs)
    whole = isinstance(value, Tensor) and not value.is_floating_point()
    return moved.to(value.dtype) if whole else moved
