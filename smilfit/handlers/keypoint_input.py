"""What observed keypoints of two and three dimensions have in common."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import Tensor

from smilfit.body_models import BodyModelData
from smilfit.handlers.inputs import BaseInput
from smilfit.handlers.keypoint_names import resolve_convention
from smilfit.structures import Keypoints2d, Keypoints3d

Keypoints = TypeVar('Keypoints', Keypoints2d, Keypoints3d)


class KeypointInput(BaseInput, Generic[Keypoints]):
    """Observed keypoints and the convention that names them.

    Args:
        keypoints: the observation; its names are places where the convention is a set's name.
        convention: a keypoint set of the body model, `'joints'`, a keypoint convention such as `'coco'` (or the path
            of its file), or the names.
        handler_key: the handler's.
    """

    rows = ('keypoints',)

    def __init__(
        self, keypoints: Keypoints, convention: str | Path | Sequence[str], handler_key: str
    ) -> None:
        self.keypoints: Keypoints = keypoints
        self.convention = convention
        self.handler_key = handler_key
        self._n_masked = 0

    @property
    def n_masked(self) -> int:
        """How many keypoints had coordinates that are no numbers."""
        return self._n_masked

    def observed(self) -> Tensor:
        """Return which frames have a keypoint."""
        return self.keypoints.visible.flatten(1).any(1)

    def resolve(self, data: BodyModelData) -> 'KeypointInput[Keypoints]':
        """Name the keypoints by the model; of a convention's, leave out those that it lacks.

        The result's `unmatched` names what was left out.

        Raises:
            KeyError: no such keypoint set or convention.
            ValueError: it has another size, or shares no keypoint with the model.
        """
        count = len(self.keypoints.names)
        missing: tuple[str, ...]
        names, missing = resolve_convention(self.convention, count, data, type(self).__name__)
        resolved = copy(self)
        resolved.keypoints = _renamed(self.keypoints, names)
        if missing:
            names = tuple(n for n in names if n not in missing)
            resolved.keypoints = resolved.keypoints.select(names)
        resolved.convention, resolved.unmatched = names, (*self.unmatched, *missing)
        return resolved


def _renamed(keypoints: Keypoints, names: tuple[str, ...]) -> Keypoints:
    renamed = replace(keypoints, names=names)
    if isinstance(renamed, Keypoints2d) and isinstance(keypoints, Keypoints2d):
        return renamed.judged(keypoints.camera_report)
    return renamed


def keypoint_names_or_numbers(convention: str | Path | Sequence[str], count: int) -> tuple[str, ...]:
    """Return the names that a convention spells out, else '0', '1', … until a model names them."""
    if isinstance(convention, (str, Path)):
        return tuple(str(k) for k in range(count))
    return tuple(convention)


def without_gaps(points: Tensor, confidence: Tensor) -> tuple[Tensor, int]:
    """Return confidences in which points that are no numbers have 0, and how many such points there were."""
    bad = ~points.isfinite().all(-1) | ~confidence.isfinite()
    cleaned = torch.where(bad, torch.zeros_like(confidence), confidence)
    return cleaned, int((bad & (confidence != 0)).sum())
