"""The losses of fitting on a batch of predictions: what was observed, and the handlers that are fed by it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.body_models import SMIL
from smilfit.handlers import (
    ActiveTerm,
    BaseHandler,
    BaseInput,
    BodyState,
    Keypoint3dMSEInput,
    MultiviewKeypoint2dMSEInput,
    SilhouetteInput,
)
from smilfit.networks.regressors.parameter_losses import mean_over_processes
from smilfit.networks.scene_frame import SceneFrame
from smilfit.networks.training_set import DataSamples
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.structures import BodyParams, Cameras, Keypoints2d, Keypoints3d

# Absent views look from so far away (scene units) that whatever stands at the origin is nothing to them.
_FAR = 1e3


# The longer side of a crop counts as so many px in 2D losses.
NOMINAL_PX = 256.0


@dataclass(frozen=True)
class Observation:
    """A batch's truth in the scene frame, and the cameras that saw it.

    `masks`, in [0, 1], are px of the crops, under `mask_cameras`; None where the samples have none at all.
    """

    keypoints2d: Float[Tensor, 'B C K 2']
    confidence2d: Float[Tensor, 'B C K']
    keypoints3d: Float[Tensor, 'B K 3']
    confidence3d: Float[Tensor, 'B K']
    cameras: Cameras
    masks: Float[Tensor, 'B C H W'] | None = None
    mask_weight: Float[Tensor, 'B C'] | None = None
    mask_cameras: Cameras | None = None

    @classmethod
    def of(
        cls,
        data_samples: DataSamples,
        view_mask: Bool[Tensor, 'B C'],
        cameras: Cameras,
        frame: SceneFrame,
    ) -> 'Observation':
        """Move a batch's truth and cameras into the scene frame; absent views have confidence 0."""
        shrink = NOMINAL_PX / cameras.size.amax(-1)
        t = (cameras.R @ frame.origin[:, None, :, None]).squeeze(-1) + cameras.t
        stretch = torch.stack((shrink, shrink, torch.ones_like(shrink)), -1)
        confidence3d = data_samples['confidence3d']
        xyz = (data_samples['keypoints3d'] - frame.origin.unsqueeze(1)) / frame.unit
        return cls(
            keypoints2d=data_samples['keypoints2d'] * shrink[..., None, None],
            confidence2d=data_samples['confidence2d'] * view_mask.unsqueeze(-1),
            keypoints3d=xyz,
            confidence3d=confidence3d,
            cameras=replace(cameras, K=stretch.unsqueeze(-1) * cameras.K, t=t / frame.unit),
            **_masks_of(data_samples, view_mask, replace(cameras, t=t / frame.unit)),
        )

    def visible_from(self, keypoints: Float[Tensor, 'B K 3']) -> tuple['Observation', Float[Tensor, '']]:
        """Leave out where a predicted keypoint has no image (behind a camera, beyond the lens's fold).

        Returns:
            The observation without those, and how many of the annotated ones they are.
        """
        with torch.no_grad():
            _, _, valid = self.cameras.project(keypoints)
            lost = ((self.confidence2d > 0) & ~valid).sum().float()
        return replace(self, confidence2d=self.confidence2d * valid), lost


def _masks_of(data_samples: DataSamples, view_mask: Bool[Tensor, 'B C'], cameras: Cameras) -> dict[str, Any]:
    """Return a batch's masks, 1 where a view has one, and the cameras of their crops in the scene frame."""
    if 'mask' not in data_samples:
        return {}
    masks, valid = data_samples['mask'], view_mask & data_samples['has_mask']
    far = cameras.t.new_tensor([0.0, 0.0, _FAR])
    size = cameras.size.new_tensor([masks.shape[3], masks.shape[2]]).expand_as(cameras.size)
    t = torch.where(valid.unsqueeze(-1), cameras.t, far)
    return {
        'masks': masks if masks.is_floating_point() else (masks > 0).to(cameras.t),
        'mask_weight': valid.to(cameras.t),
        'mask_cameras': replace(cameras, t=t, size=size),
    }


class HandlerLosses(nn.Module):
    """Run handlers on a batch, each fed by what its kind of Input needs.

    Args:
        body: the body model; handlers are bound to it.
        handlers: of fitting, with keys of their own.
        keypoint_names: the samples' keypoints, in order.
        keypoint_weights: factors on named keypoints; 0 ignores one.
        mask_side: masks are compared at so many px of their longer side; None as they are.

    Raises:
        TypeError: a handler whose Input cannot be made from samples. An Input class of your own can, if it has
            a classmethod `from_observation(observation, names, handler_key)`.
    """

    def __init__(
        self,
        body: SMIL,
        handlers: Sequence[BaseHandler],
        keypoint_names: Sequence[str],
        keypoint_weights: Mapping[str, float] | None = None,
        mask_side: int | None = None,
    ) -> None:
        super().__init__()
        self.handlers = nn.ModuleList(handlers)
        self.names = tuple(keypoint_names)
        self.mask_side = mask_side
        self.keypoint_weights = dict(keypoint_weights or {})
        known = body.keypoint_names
        for name in (*self.names, *self.keypoint_weights):
            if name not in known and name not in body.joint_names:
                raise UnknownNameError(
                    f'MultiViewRegressor: the body model {body.data.name!r} has no keypoint {name!r}. '
                    f'{did_you_mean(name, {*known, *body.joint_names})}'
                )
        keys = [handler.handler_key for handler in handlers]
        if len(set(keys)) < len(keys):
            raise ValueError(f'MultiViewRegressor: handler keys must differ; got {keys}.')
        for handler in handlers:
            _check_input_type(handler)
            handler.bind(body)

    @property
    def _own_handlers(self) -> list[BaseHandler]:
        return [handler for handler in self.handlers if isinstance(handler, BaseHandler)]

    @property
    def label_needs(self) -> dict[str, str]:
        """Return which labels the handlers' losses need; what a handler of another kind needs is not known."""
        kinds = {
            MultiviewKeypoint2dMSEInput: 'keypoints2d', Keypoint3dMSEInput: 'keypoints3d', SilhouetteInput: 'masks'
        }  # fmt: skip
        return {
            handler.handler_key: label
            for handler in self._own_handlers
            for kind, label in kinds.items()
            if handler.input_type is not None and issubclass(handler.input_type, kind)
        }

    def forward(
        self, body: SMIL, params: BodyParams, observation: Observation, weights: Mapping[str, float]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Compute the weighted losses whose weight is not 0.

        Args:
            body: the body model.
            params: in the scene frame.
            observation: the truth in the scene frame.
            weights: by handler key.

        Returns:
            Losses by handler key, and counts by name.
        """
        active = [h for h in self._own_handlers if weights[h.handler_key] > 0]
        observed = any(h.input_type is not None for h in active)
        inputs = self._inputs(active, observation)
        needed = dict.fromkeys(self.names if observed else ())
        for handler in active:
            needed |= dict.fromkeys(handler.need(inputs[handler.handler_key]))
        output = body(params, need=tuple(needed))
        counts: dict[str, Tensor] = {}
        if observed:
            visible, counts['n_behind_camera'] = observation.visible_from(output.select(self.names).detach())
            inputs = self._inputs(active, visible)
        state = BodyState(body, params, output, self.keypoint_weights)
        over = mean_over_processes
        losses = {
            h.handler_key: ActiveTerm(
                h, inputs[h.handler_key], weights[h.handler_key], 'mean', over=over
            ).value(state)
            for h in active
        }
        return losses, counts

    def _inputs(self, active: Sequence[BaseHandler], observation: Observation) -> dict[str, BaseInput | None]:
        inputs = {h.handler_key: make_input(h, observation, self.names) for h in active}
        if self.mask_side is None:
            return inputs
        return {k: None if i is None else i.resized(self.mask_side) for k, i in inputs.items()}


def make_input(handler: BaseHandler, observation: Observation, names: tuple[str, ...]) -> BaseInput | None:
    """Make the Input that a handler asks for; None for a prior."""
    kind, key = handler.input_type, handler.handler_key
    if kind is None:
        return None
    if hasattr(kind, 'from_observation'):
        return kind.from_observation(observation, names, key)
    if issubclass(kind, MultiviewKeypoint2dMSEInput):
        points = Keypoints2d(observation.keypoints2d, observation.confidence2d, names, observation.cameras)
        return kind(points, handler_key=key)
    if issubclass(kind, Keypoint3dMSEInput):
        return kind(Keypoints3d(observation.keypoints3d, observation.confidence3d, names), handler_key=key)
    raise _unfilled(handler, kind)


def _check_input_type(handler: BaseHandler) -> None:
    kind = handler.input_type
    if kind is None or hasattr(kind, 'from_observation'):
        return
    if not issubclass(kind, (MultiviewKeypoint2dMSEInput, Keypoint3dMSEInput)):
        raise _unfilled(handler, kind)


def _unfilled(handler: BaseHandler, kind: type[BaseInput]) -> TypeError:
    return TypeError(
        f'MultiViewRegressor: an Input must be one that samples can fill; {type(handler).__name__} asks for '
        f'{kind.__name__}. Give that class a classmethod from_observation(observation, names, handler_key).'
    )
