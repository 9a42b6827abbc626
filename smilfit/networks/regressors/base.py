"""What regressors of bodies have in common: losses by the handlers of fitting, and the form of predictions."""

from abc import abstractmethod
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
from smilfit.networks.animals.scene_frame import SceneFrame, cameras_of
from smilfit.networks.preprocessor import RegressorPreprocessor
from smilfit.networks.regressors.camera_losses import CAMERA_KEYS, camera_losses
from smilfit.networks.regressors.modes import ModalRegressor
from smilfit.networks.regressors.normaliser import mean_over_processes
from smilfit.networks.regressors.parameter_losses import PARAMETER_KEYS, ParameterLosses
from smilfit.networks.regressors.per_sample import body_predictions, per_sample
from smilfit.networks.regressors.prediction import Prediction
from smilfit.networks.statistics import TrainingStatistics
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
        data_samples: Mapping[str, Any],
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

    def seen_from(self, keypoints: Float[Tensor, 'B K 3']) -> tuple['Observation', Float[Tensor, '']]:
        """Leave out where a predicted keypoint has no image (behind a camera, beyond the lens's fold).

        Returns:
            The observation without those, and how many of the annotated ones they are.
        """
        with torch.no_grad():
            _, _, valid = self.cameras.project(keypoints)
            lost = ((self.confidence2d > 0) & ~valid).sum().float()
        return replace(self, confidence2d=self.confidence2d * valid), lost


def _masks_of(
    data_samples: Mapping[str, Any], view_mask: Bool[Tensor, 'B C'], cameras: Cameras
) -> dict[str, Any]:
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
    def label_needs(self) -> dict[str, str]:
        """Return which labels the handlers' losses need; what a handler of another kind needs is not known."""
        kinds = {
            MultiviewKeypoint2dMSEInput: 'keypoints2d', Keypoint3dMSEInput: 'keypoints3d', SilhouetteInput: 'masks'
        }  # fmt: skip
        return {
            handler.handler_key: label
            for handler in self.handlers
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
        active = [h for h in self.handlers if weights[h.handler_key] > 0]
        observed = any(h.input_type is not None for h in active)
        inputs = self._inputs(active, observation)
        needed = dict.fromkeys(self.names if observed else ())
        for handler in active:
            needed |= dict.fromkeys(handler.need(inputs[handler.handler_key]))
        output = body(params, need=tuple(needed))
        counts: dict[str, Tensor] = {}
        if observed:
            visible, counts['n_behind_camera'] = observation.seen_from(output.select(self.names).detach())
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

    def _inputs(self, active: Sequence[BaseHandler], seen: Observation) -> dict[str, BaseInput | None]:
        inputs = {h.handler_key: make_input(h, seen, self.names) for h in active}
        if self.mask_side is None:
            return inputs
        return {k: None if i is None else i.resized(self.mask_side) for k, i in inputs.items()}


def make_input(handler: BaseHandler, seen: Observation, names: tuple[str, ...]) -> BaseInput | None:
    """Make the Input that a handler asks for; None for a prior."""
    kind, key = handler.input_type, handler.handler_key
    if kind is None:
        return None
    if hasattr(kind, 'from_observation'):
        return kind.from_observation(seen, names, key)
    if issubclass(kind, MultiviewKeypoint2dMSEInput):
        points = Keypoints2d(seen.keypoints2d, seen.confidence2d, names, seen.cameras)
        return kind(points, handler_key=key)
    return kind(Keypoints3d(seen.keypoints3d, seen.confidence3d, names), handler_key=key)


def _check_input_type(handler: BaseHandler) -> None:
    kind = handler.input_type
    if kind is None or hasattr(kind, 'from_observation'):
        return
    if not issubclass(kind, (MultiviewKeypoint2dMSEInput, Keypoint3dMSEInput)):
        raise TypeError(
            f'MultiViewRegressor: an Input must be one that samples can fill; {type(handler).__name__} asks for '
            f'{kind.__name__}. Give that class a classmethod from_observation(observation, names, handler_key).'
        )


# The factor on the losses of earlier steps, so that a curriculum can change it too.
INTERMEDIATE_KEY = 'intermediate'


class BodyRegressor(ModalRegressor):
    """A model from images and cameras to bodies. A subclass runs its networks in `predict_parameters`.

    Args:
        body_model: the body.
        handlers: those of fitting; each with an observation is fed from the sample's truth.
        statistics: of the training set.
        loss_weights: by handler key, by parameter (all 0 unless given; compared where a sample has parameters), and
            by the keys of a subclass. `camera_fov`, `camera_rotation` and `camera_position` compare predicted cameras
            with given ones. A handler's own loss weight holds unless given here.
        keypoint_weights: factors on named keypoints in the handlers' losses; 0 ignores one.
        intermediate_weight: factor on the losses of earlier steps; the i-th of n has `intermediate_weight * i / n`.
            Among the loss weights it is called `intermediate`.
        mask_side: silhouettes are compared at so many px of a crop's longer side; None at the crop's.
        data_preprocessor: casts a batch.
    """

    # Losses that alone teach nothing of the body.
    auxiliary_keys: tuple[str, ...] = CAMERA_KEYS

    def __init__(
        self,
        body_model: nn.Module,
        handlers: Sequence[BaseHandler] = (),
        statistics: TrainingStatistics | None = None,
        loss_weights: Mapping[str, float] | None = None,
        keypoint_weights: Mapping[str, float] | None = None,
        intermediate_weight: float = 0.3,
        mask_side: int | None = None,
        data_preprocessor: nn.Module | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor or RegressorPreprocessor())
        self.body_model = body_model
        self.statistics = statistics or TrainingStatistics.neutral(body_model.n_joints)
        self.keypoint_names = self.statistics.names.keypoint_names or body_model.joint_names
        self.handler_losses = HandlerLosses(
            body_model, handlers, self.keypoint_names, keypoint_weights, mask_side
        )
        self.parameter_losses = ParameterLosses(mean_over_processes)
        self.loss_weights: dict[str, float] = {
            **{handler.handler_key: handler.loss.loss_weight for handler in handlers},
            **dict.fromkeys((*PARAMETER_KEYS, *self.auxiliary_keys), 0.0),
            INTERMEDIATE_KEY: intermediate_weight,
        }
        self.set_loss_weights(loss_weights or {})

    @abstractmethod
    def predict_parameters(self, inputs: Mapping[str, Tensor]) -> Prediction:
        """Run the networks."""

    def further_losses(
        self, prediction: Prediction, inputs: Mapping[str, Tensor], data_samples: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        """Return losses that are not of the body; a subclass adds its own."""
        return camera_losses(
            prediction.cameras,
            cameras_of(inputs),
            inputs['view_mask'],
            prediction.frame.unit,
            self.loss_weights,
        )

    @property
    def label_needs(self) -> dict[str, str]:
        """Return which labels losses need."""
        params = {key: 'betas' if key == 'betas' else 'params' for key in PARAMETER_KEYS}
        return params | self.handler_losses.label_needs

    def loss(self, inputs: Mapping[str, Tensor], data_samples: Mapping[str, Any]) -> dict[str, Tensor]:
        """Compute all losses whose weight is not 0, and counts of what was left out.

        A loss of the final step is called `loss_<key>`; those of earlier steps are summed in
        `loss_intermediate`.
        """
        alone = (INTERMEDIATE_KEY, *self.auxiliary_keys)
        if not any(weight for key, weight in self.loss_weights.items() if key not in alone):
            raise ValueError(
                f'{type(self).__name__}: a loss must be switched on; all of {sorted(self.loss_weights)} are 0.'
            )
        prediction = self.predict_parameters(inputs)
        answer = prediction.total()
        if not bool(mean_over_processes(answer.isfinite().float()) == 1):
            # No loss can be computed of it, nor by the others, who would wait for its share of the means.
            return {'loss_prediction': answer}
        mask, n_steps = inputs['view_mask'], len(prediction.steps)
        losses: dict[str, Tensor] = {}
        earlier: list[Tensor] = []
        with torch.autocast(mask.device.type, enabled=False):
            seen = Observation.of(data_samples, mask, prediction.cameras, prediction.frame)
            for i, params in enumerate(prediction.steps, start=1):
                terms, counts = self._terms(params, seen, prediction.frame, data_samples)
                if i == n_steps:
                    losses |= {f'loss_{key}': value for key, value in terms.items()} | counts
                elif self.loss_weights[INTERMEDIATE_KEY] > 0:
                    share = self.loss_weights[INTERMEDIATE_KEY] * i / n_steps
                    earlier += [share * value for value in terms.values()]
            if earlier:
                losses['loss_intermediate'] = torch.stack(earlier).sum()
            losses |= self.further_losses(prediction, inputs, data_samples)
        return losses

    def _terms(
        self, params: BodyParams, seen: Observation, frame: SceneFrame, data_samples: Mapping[str, Any]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        terms, counts = self.handler_losses(self.body_model, params, seen, self.loss_weights)
        if any(self.loss_weights[key] for key in PARAMETER_KEYS):
            known = BodyParams(**data_samples['params'])
            known = known.replace(transl=frame.from_world(known.transl), scale=known.scale / frame.unit)
            has_params = data_samples['has_params']
            has_betas = data_samples.get('has_betas', has_params)
            weight = data_samples.get('params_weight')
            terms |= self.parameter_losses(params, known, has_params, has_betas, self.loss_weights, weight)
        return terms, counts

    @torch.no_grad()
    def predict(
        self, inputs: Mapping[str, Tensor], data_samples: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Predict each sample: parameters as axis-angle, joints, keypoints in 3D and in every crop."""
        prediction = self.predict_parameters(inputs)
        mask = inputs['view_mask']
        batch = body_predictions(
            self.body_model, prediction.params, prediction.cameras, mask, self.keypoint_names
        )
        return per_sample(batch | ({} if data_samples is None else {'truth': data_samples}), len(mask))


def check_views(where: str, view_mask: Bool[Tensor, 'B C']) -> None:
    """Refuse a batch with a sample that nobody saw.

    Raises:
        ValueError: names the samples.
    """
    if not bool(view_mask.any(1).all()):
        bad = (~view_mask.any(1)).nonzero().flatten().tolist()
        raise ValueError(
            f'{where}: every sample must have a view; samples {bad} of the batch have none. '
            f'Drop them when preprocessing (--min-views).'
        )


def remember_cameras(cfg: Any, names: Sequence[str]) -> None:
    """Write into a model's config which cameras it knows, where it knows any and does not say: a checkpoint must.

    Args:
        cfg: the config of a regressor; changed in place.
        names: the cameras of its training.
    """
    head = cfg.get('camera_head')
    if isinstance(head, Mapping) and head.get('type') == 'NamedCameraHead' and not head.get('camera_names'):
        cfg['camera_head'] = {**head, 'camera_names': list(names)}
    if cfg.get('camera_names', ()) is None:
        cfg['camera_names'] = list(names)
