"""The base of regressors of bodies: losses by the handlers of fitting, and the form of predictions."""

from abc import abstractmethod
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.body_models import SMIL
from smilfit.handlers import BaseHandler
from smilfit.networks.keypoints.limb_maps import LimbSighting
from smilfit.networks.regressors.handler_losses import HandlerLosses, Observation
from smilfit.networks.regressors.modal_regressor import (
    ModalRegressor,
    PredictedSample,
    RegressorPreprocessor,
    body_predictions,
    per_sample,
)
from smilfit.networks.regressors.parameter_losses import (
    CAMERA_KEYS,
    PARAMETER_KEYS,
    ParameterLosses,
    camera_losses,
    mean_over_processes,
)
from smilfit.networks.scene_frame import SceneFrame, cameras_of
from smilfit.networks.training_set import DataSamples, TrainingStatistics
from smilfit.structures import BodyParams, Cameras


@dataclass(frozen=True)
class Prediction:
    """What the networks say of a batch; rotations are matrices.

    `steps` are the parameters after each step of the head, in the scene frame; `cameras` are the world's.
    """

    steps: tuple[BodyParams, ...]
    cameras: Cameras
    frame: SceneFrame
    camera_change: Float[Tensor, 'B C 7'] | None
    votes: Float[Tensor, 'B C 3 2'] | None = None
    limbs: LimbSighting | None = None

    @property
    def params(self) -> BodyParams:
        """The final parameters in the world."""
        last = self.steps[-1]
        return last.replace(transl=self.frame.to_world(last.transl), scale=self.frame.unit * last.scale)

    def total(self) -> Float[Tensor, '']:
        """Sum all that the networks say; not finite if any of it is not."""
        numbers = [getattr(step, key) for step in self.steps for key in PARAMETER_KEYS]
        numbers += [x for x in (self.camera_change, self.votes) if x is not None]
        return torch.stack([x.float().sum() for x in numbers]).sum()


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
        body_model: SMIL,
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
        self, prediction: Prediction, inputs: Mapping[str, Tensor], data_samples: DataSamples
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

    def loss(self, inputs: Mapping[str, Tensor], data_samples: DataSamples) -> dict[str, Tensor]:
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
            observed = Observation.of(data_samples, mask, prediction.cameras, prediction.frame)
            for i, params in enumerate(prediction.steps, start=1):
                terms, counts = self._terms(params, observed, prediction.frame, data_samples)
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
        self, params: BodyParams, observed: Observation, frame: SceneFrame, data_samples: DataSamples
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        terms, counts = self.handler_losses(self.body_model, params, observed, self.loss_weights)
        if any(self.loss_weights[key] for key in PARAMETER_KEYS):
            known = BodyParams.of(data_samples['params'])
            known = known.replace(transl=frame.from_world(known.transl), scale=known.scale / frame.unit)
            has_params = data_samples['has_params']
            has_betas = data_samples.get('has_betas', has_params)
            weight = data_samples.get('params_weight')
            terms |= self.parameter_losses(params, known, has_params, has_betas, self.loss_weights, weight)
        return terms, counts

    @torch.no_grad()
    def predict(
        self, inputs: Mapping[str, Tensor], data_samples: DataSamples | None = None
    ) -> list[PredictedSample]:
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


def remember_cameras(cfg: MutableMapping[str, Any], names: Sequence[str]) -> None:
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
