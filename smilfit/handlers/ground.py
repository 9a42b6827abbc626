"""The ground: nothing sinks into it, and what stands on it stays where it stands."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.body_models import SMIL, BodyModelData, keypoint_definitions
from smilfit.handlers.base import BaseHandler, BaseInput, BodyState
from smilfit.handlers.keypoints import JOINTS, convention_names
from smilfit.losses import GroundContactLoss
from smilfit.registry import HANDLERS, INPUTS, UnknownNameError, did_you_mean

_AXES = {'x': 0, 'y': 1, 'z': 2}


@INPUTS.register_module()
class GroundContactInput(BaseInput):
    """Which points stand on the ground, frame by frame.

    Args:
        contact: (B, K) bool, or how sure it is, 0 to 1; in the order of the handler's points.
        handler_key: the handler's.
    """

    rows = ('contact',)

    def __init__(
        self, contact: Bool[Tensor, 'B K'] | Float[Tensor, 'B K'], handler_key: str = 'ground_contact'
    ) -> None:
        self.contact = contact.to(torch.get_default_dtype()) if contact.dtype == torch.bool else contact
        if not bool(((self.contact >= 0) & (self.contact <= 1)).all()):
            raise ValueError('GroundContactInput: contact must be in [0, 1]. Give 0 where nothing is known.')
        self.handler_key = handler_key

    def observed(self) -> Bool[Tensor, ' B']:
        """Report that no frame was observed: contacts do not tell where a body is."""
        return torch.zeros(self.batch_size, dtype=torch.bool)


@HANDLERS.register_module()
class GroundHandler(BaseHandler):
    """Keeps points of the body above the ground: a prior that needs no observation.

    Args:
        keypoints: a joint group or keypoint set of the model file, `'joints'`, or names.
        normal: of the ground, upwards, in the world; None takes the model's up axis, which is the world's where
            the session was set up so.
        offset: height of the ground along the normal, world unit.
        loss: scores heights; `GroundContactLoss()` if None.
        handler_key: names it in stages.
        device: where its constants live.
        logger: a logger or its name.
    """

    holds = ()
    default_key = 'ground'

    def __init__(
        self,
        keypoints: str | Sequence[str] = 'foot',
        normal: Sequence[float] | None = None,
        offset: float = 0.0,
        loss: nn.Module | None = None,
        handler_key: str | None = None,
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        super().__init__(
            handler_key or self.default_key, GroundContactLoss() if loss is None else loss, device, logger
        )
        self.keypoints = keypoints
        self.normal = None if normal is None else _unit(normal, type(self).__name__)
        self.offset = offset
        self._names: tuple[str, ...] = ()
        self._up: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def bind(self, body: SMIL) -> None:
        """Find the points and the way up.

        Raises:
            KeyError: the model has no such group, set or point.
            ValueError: neither a normal nor an up axis of the model.
        """
        super().bind(body)
        where = type(self).__name__
        self._names = named_points(self.keypoints, body.data, where)
        self._up = self.normal or up_axis(body.data, where)

    def need(self, related_input: Any) -> tuple[str, ...]:
        """Ask for the points that may stand."""
        if not self._names:
            raise ValueError(f'{type(self).__name__}: call bind(body) first.')
        return self._names

    @property
    def frame_order(self) -> int:
        """Whether a frame's term depends on the one before: only contacts know what slides."""
        return 0

    def arguments(self, state: BodyState, related_input: Any) -> tuple[Tensor, ...]:
        """Score heights."""
        return (self._height(state.output.select(self._names)),)

    def _height(self, points: Tensor) -> Tensor:
        return points @ points.new_tensor(self._up) - self.offset


@HANDLERS.register_module()
class GroundContactHandler(GroundHandler):
    """Keeps points above the ground, those that stand on it, and, with a slip weight, where they stand."""

    input_type = GroundContactInput
    default_key = 'ground_contact'

    @property
    def frame_order(self) -> int:
        """How many frames before it a frame's terms depend on: one where sliding counts."""
        return self.loss.frame_order

    def arguments(self, state: BodyState, related_input: GroundContactInput) -> tuple[Tensor, ...]:
        """Score heights and what slides."""
        points = state.output.select(self._names)
        return self._height(points), points, related_input.contact

    def need(self, related_input: GroundContactInput) -> tuple[str, ...]:
        """Ask for the points that may stand.

        Raises:
            ValueError: contacts of another number of points.
        """
        names = super().need(related_input)
        if related_input.contact.shape[1] != len(names):
            raise ValueError(
                f'GroundContactHandler: contact must have as many columns as there are points; got '
                f'{related_input.contact.shape[1]} for {list(names)}.'
            )
        return names


def named_points(given: str | Sequence[str], data: BodyModelData, where: str) -> tuple[str, ...]:
    """Turn a joint group, a keypoint set, `'joints'` or names into names.

    Raises:
        KeyError: not of this model.
    """
    known = keypoint_definitions(data)
    if not isinstance(given, str):
        for name in given:
            if name not in known:
                raise UnknownNameError(
                    f'{where}: {data.name} has no point {name!r}. {did_you_mean(name, known)}'
                )
        return tuple(given)
    if given in data.joint_groups:
        return tuple(data.joint_groups[given])
    options = (JOINTS, *data.keypoint_sets, *data.joint_groups)
    if given not in options:
        raise UnknownNameError(
            f'{where}: {data.name} has no joint group or keypoint set {given!r}. {did_you_mean(given, options)}'
        )
    return convention_names(given, data, where)


def up_axis(data: BodyModelData, where: str) -> tuple[float, float, float]:
    """Return the model's way up as a unit vector.

    Raises:
        ValueError: the model file does not say it.
    """
    if data.up_axis is None:
        raise ValueError(
            f'{where}: the way up must be known, and {data.name} does not state its up axis. Give normal=(x, y, z).'
        )
    up = [0.0, 0.0, 0.0]
    up[_AXES[data.up_axis[-1]]] = -1.0 if data.up_axis.startswith('-') else 1.0
    return up[0], up[1], up[2]


def _unit(vector: Sequence[float], where: str) -> tuple[float, float, float]:
    length = sum(x * x for x in vector) ** 0.5
    if len(vector) != 3 or not length > 0:
        raise ValueError(f'{where}: normal must be three numbers, not all 0; got {tuple(vector)}.')
    x, y, z = vector
    return x / length, y / length, z / length
