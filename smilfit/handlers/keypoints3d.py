"""Keypoints in the world: their positions, and the lengths of the limbs between them."""

import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import SMIL, BodyModelData
from smilfit.handlers.base import BaseHandler, BodyState
from smilfit.handlers.keypoints import (
    KeypointInput,
    KeypointMSEHandler,
    convention_names,
    keypoint_names_or_numbers,
    without_gaps,
)
from smilfit.losses import KeypointMSELoss, LimbLengthLoss, PointSource
from smilfit.registry import HANDLERS, INPUTS
from smilfit.structures import Keypoints3d, RecordedData


@INPUTS.register_module()
class Keypoint3dMSEInput(KeypointInput[Keypoints3d]):
    """Observed 3D keypoints, in the world's unit.

    Args:
        keypoints3d: (B, K, 3), or `Keypoints3d` with names and confidences.
        keypoints3d_convention: a keypoint set of the body model, `'joints'`, a keypoint convention such as `'coco'`
            (of which the model's keypoints count), or the K names.
        keypoints3d_conf: (B, K); 0 where missing.
        handler_key: the handler's.
    """

    def __init__(
        self,
        keypoints3d: Float[Tensor, 'B K 3'] | Keypoints3d,
        keypoints3d_convention: str | Path | Sequence[str] = 'joints',
        keypoints3d_conf: Float[Tensor, 'B K'] | None = None,
        handler_key: str = 'keypoints3d_mse',
    ) -> None:
        if isinstance(keypoints3d, Keypoints3d):
            super().__init__(keypoints3d, keypoints3d.names, handler_key)
            return
        confidence = torch.ones_like(keypoints3d[..., 0]) if keypoints3d_conf is None else keypoints3d_conf
        names = keypoint_names_or_numbers(keypoints3d_convention, keypoints3d.shape[1])
        confidence, n_masked = without_gaps(keypoints3d, confidence)
        keypoints = Keypoints3d(keypoints3d, confidence, names)
        super().__init__(keypoints, keypoints3d_convention, handler_key)
        self._n_masked = n_masked

    @classmethod
    def from_dataset(cls, dataset: RecordedData, session: str, handler_key: str) -> 'Keypoint3dMSEInput':
        """Take a session's 3D keypoints out of a dataset file.

        Raises:
            ValueError: the file has none.
        """
        keypoints = dataset.keypoints3d(session)
        if keypoints is None:
            raise ValueError(
                f'{session}: the handler {handler_key!r} needs 3D keypoints, and the dataset file has none. '
                'Preprocess without --no-3d-data, or give the handler the weight 0.'
            )
        return cls(keypoints, handler_key=handler_key)


@INPUTS.register_module()
class Keypoint3dLimbLenInput(Keypoint3dMSEInput):
    """Observed 3D keypoints, of which only limb lengths count; arguments as `Keypoint3dMSEInput`."""

    def __init__(
        self,
        keypoints3d: Float[Tensor, 'B K 3'] | Keypoints3d,
        keypoints3d_convention: str | Path | Sequence[str] = 'joints',
        keypoints3d_conf: Float[Tensor, 'B K'] | None = None,
        handler_key: str = 'keypoints3d_limb_len',
    ) -> None:
        super().__init__(keypoints3d, keypoints3d_convention, keypoints3d_conf, handler_key)


@HANDLERS.register_module(name=['Keypoint3dMSEHandler', 'Keypoint3dHandler'])
class Keypoint3dMSEHandler(KeypointMSEHandler[Keypoints3d]):
    """Draws keypoints of the body to observed 3D positions, by squared distance unless a loss is given."""

    input_type = Keypoint3dMSEInput
    structure = Keypoints3d
    default_key = 'keypoints3d_mse'

    @staticmethod
    def default_loss() -> KeypointMSELoss:
        """Squared distance in the world's unit."""
        return KeypointMSELoss()

    def pair(self, state: BodyState, observations: Keypoints3d) -> tuple[Tensor, Tensor, PointSource]:
        """Compare positions in the world."""
        points = state.output.select(observations.names)
        return points, observations.xyz, PointSource(points, observations.names)


Keypoint3dHandler = Keypoint3dMSEHandler


@HANDLERS.register_module()
class Keypoint3dLimbLenHandler(BaseHandler):
    """Draws the body's limbs to the observed limbs' lengths: shape and scale, whatever the pose.

    Args:
        loss: compares lengths.
        handler_key: names it in stages.
        device: where its constants live.
        logger: a logger or its name.
    """

    input_type = Keypoint3dLimbLenInput

    def __init__(
        self,
        loss: torch.nn.Module | None = None,
        handler_key: str = 'keypoints3d_limb_len',
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        super().__init__(handler_key, LimbLengthLoss() if loss is None else loss, device, logger)
        self._limbs: dict[tuple[str, ...], tuple[tuple[str, ...], Tensor]] = {}
        self._data: BodyModelData | None = None

    def bind(self, body: SMIL) -> None:
        """Take the kinematic tree of the model."""
        super().bind(body)
        self._data = body.data
        self._limbs.clear()

    def need(self, related_input: Keypoint3dLimbLenInput) -> tuple[str, ...]:
        """Ask for the keypoints that end a rigid limb."""
        return self._rigid(related_input.keypoints.names)[0]

    def _rigid(self, names: tuple[str, ...]) -> tuple[tuple[str, ...], Tensor]:
        if self._data is None:
            raise ValueError('Keypoint3dLimbLenHandler: call bind(body) first.')
        if names not in self._limbs:
            # Only the keypoints of the loss's convention are compared, where it names one.
            convention = self.loss.convention if isinstance(self.loss, LimbLengthLoss) else None
            wanted = (
                convention_names(convention, self._data, 'Keypoint3dLimbLenHandler') if convention else names
            )
            kept = tuple(n for n in names if n in wanted)
            limbs = rigid_limbs(self._data, kept)
            if not limbs:
                raise ValueError(
                    f'Keypoint3dLimbLenHandler: the keypoints must hold two ends of a rigid limb of '
                    f'{self._data.name} (a joint and its parent, or two children of one joint); got {list(names)}. '
                    'Leave this handler out.'
                )
            self._limbs[names] = (kept, torch.tensor(limbs))
        return self._limbs[names]

    def observed(
        self, related_input: Keypoint3dLimbLenInput, keypoint_weights: Mapping[str, float]
    ) -> Tensor:
        """Return which frames show both ends of a limb."""
        names, limbs = self._rigid(related_input.keypoints.names)
        visible = related_input.keypoints.select(names).visible
        return visible[:, limbs.to(visible.device)].all(-1).any(1)

    def arguments(self, state: BodyState, related_input: Keypoint3dLimbLenInput) -> dict[str, Tensor]:
        """Compare limb lengths."""
        names, limbs = self._rigid(related_input.keypoints.names)
        observations = related_input.keypoints
        observations = observations if names == observations.names else observations.select(names)
        return {
            'pred': state.output.select(names),
            'target': observations.xyz,
            'limbs': limbs.to(observations.xyz.device),
            'target_conf': observations.confidence,
        }


def rigid_limbs(data: BodyModelData, names: Sequence[str]) -> list[tuple[int, int]]:
    """Find pairs of keypoints whose distance no pose can change.

    They are a joint and its parent, and two children of one joint (both fixed in that joint's frame).
    """
    definitions = {n: d for s in data.keypoint_sets.values() for n, d in s.items() if isinstance(d, str)}
    index = {name: j for j, name in enumerate(data.joint_names)}
    joint = [index.get(definitions.get(name, name), -1) for name in names]
    pairs = []
    for a, b in combinations(range(len(names)), 2):
        if joint[a] < 0 or joint[b] < 0 or joint[a] == joint[b]:
            continue
        parent_a, parent_b = data.parents[joint[a]], data.parents[joint[b]]
        if joint[a] == parent_b or joint[b] == parent_a or (parent_a == parent_b >= 0):
            pairs.append((a, b))
    return pairs
