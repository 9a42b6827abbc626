"""Observed keypoints of two and three dimensions: their names in a body model, their Inputs, and how they draw it."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from smilfit.body_models import (
    BodyModelData,
    available_conventions,
    keypoint_definitions,
    load_convention,
)
from smilfit.body_models.keypoint_conventions import load_links
from smilfit.handlers.base import BaseHandler, BaseInput, BodyState
from smilfit.losses import PointSource, Stated
from smilfit.losses.base import from_source
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.structures import Keypoints2d, Keypoints3d

JOINTS = 'joints'


def convention_names(
    convention: str | Path, data: BodyModelData, where: str, count: int | None = None
) -> tuple[str, ...]:
    """Return the names of a keypoint convention as a model spells them; those that it lacks stay as they are.

    Args:
        convention: `'joints'`, a keypoint set of the model file, or a convention (see `load_convention`).
        data: the model.
        where: for messages.
        count: how many keypoints there are; decides where a set and a convention have one name.

    Raises:
        KeyError: none of these, with the near ones.
        ValueError: of another size.
    """
    table = keypoint_definitions(data)
    sizes = {}
    if convention == JOINTS:
        sizes[len(data.joint_names)] = data.joint_names
    if convention in data.keypoint_sets:
        # Where two sets give one name to two points, the plain name is not in the table.
        own = tuple(n if n in table else f'{convention}/{n}' for n in data.keypoint_sets[convention])
        sizes[len(own)] = own
    if str(convention).endswith('.json') or convention in available_conventions():
        result = load_convention(convention)
        shared, own_links = load_links(), load_links([result])
        spelt = {shared.point(name): name for name in table} | {name: name for name in table}
        names = tuple(spelt.get(own_links.point(n), n) for n in result.names)
        sizes.setdefault(len(names), names)
    if not sizes:
        options = [JOINTS, *data.keypoint_sets, *available_conventions()]
        raise UnknownNameError(
            f'{where}: {data.name} has no keypoint set {convention!r}. {did_you_mean(str(convention), options)} '
            'A convention of your own is given by the path of its .json file.'
        )
    if count is None:
        return next(iter(sizes.values()))
    if count not in sizes:
        raise ValueError(
            f'{where}: {convention!r} must have as many names as keypoints; got '
            f'{" or ".join(str(n) for n in sizes)} and {count}.'
        )
    return sizes[count]


def resolve_convention(
    convention: str | Path | Sequence[str], count: int, data: BodyModelData, where: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Turn a keypoint convention into the model's keypoint names.

    Args:
        convention: the names themselves, or what `convention_names` takes.
        count: how many keypoints there are.
        data: the model.
        where: for messages.

    Returns:
        A name for every keypoint, and those of them that the model does not have. Names that the caller spells out
        are all meant to be there: an unknown one is an error where the body is asked for it.

    Raises:
        KeyError: no such set or convention.
        ValueError: another number of names than keypoints, or none that the model has.
    """
    if isinstance(convention, (str, Path)):
        names = convention_names(convention, data, where, count)
        table = keypoint_definitions(data)
        unmatched = tuple(n for n in names if n not in table)
        if len(unmatched) == len(names):
            raise ValueError(
                f'{where}: {convention!r} must share a keypoint with {data.name}; got none of {list(names)[:20]}. '
                'Give the keypoints by the names of the model.'
            )
        return names, unmatched
    names = tuple(convention)
    if len(names) != count:
        raise ValueError(
            f'{where}: {names} must have as many names as keypoints; got {len(names)} and {count}.'
        )
    return names, ()


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


class KeypointMSEHandler(BaseHandler, ABC, Generic[Keypoints]):
    """Compares keypoints of the body with observed ones, point by point.

    A subclass says what is compared (`pair`), its usual key and its usual loss.

    Args:
        mse_loss: compares points; `default_loss()` if None.
        handler_key: names it in stages; `default_key` if None.
        device: where its constants live.
        logger: a logger or its name.
    """

    default_key: ClassVar[str]

    def __init__(
        self,
        mse_loss: nn.Module | None = None,
        handler_key: str | None = None,
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        loss = self.default_loss() if mse_loss is None else mse_loss
        super().__init__(handler_key or self.default_key, loss, device, logger)

    @staticmethod
    @abstractmethod
    def default_loss() -> nn.Module:
        """Make the usual loss."""

    @abstractmethod
    def pair(self, state: BodyState, observations: Keypoints) -> tuple[Tensor, Tensor, PointSource]:
        """Return the body's points, the observed ones in the same frame and unit, and where the former come from."""

    def need(self, related_input: KeypointInput[Keypoints]) -> tuple[str, ...]:
        """Ask for the observed keypoints."""
        return related_input.keypoints.names

    def observed(
        self, related_input: KeypointInput[Keypoints], keypoint_weights: Mapping[str, float]
    ) -> Tensor:
        """Return which frames have a keypoint whose weight is not 0."""
        observations = related_input.keypoints
        counts = [keypoint_weights.get(name, 1.0) != 0 for name in observations.names]
        return (
            observations.visible[..., torch.tensor(counts, device=observations.confidence.device)]
            .flatten(1)
            .any(1)
        )

    def stated(self, state: BodyState, related_input: KeypointInput[Keypoints]) -> Stated:
        """Compare keypoints."""
        observations = related_input.keypoints
        pred, target, source = self.pair(state, observations)
        stated = self.loss.stated(
            pred=pred,
            target=target,
            target_conf=observations.confidence,
            keypoint_weight=state.weights_of(observations.names),
        )
        return from_source(stated, source)
