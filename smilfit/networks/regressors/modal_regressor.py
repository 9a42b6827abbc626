"""What all regressors share: mmengine's three modes, loss weights that change, batches in and samples out."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.networks.exported_networks import ExportedNetwork
from smilfit.networks.heads.camera_heads import CameraNames
from smilfit.networks.training_set import DataSamples, TrainingStatistics
from smilfit.registry import MODELS, reject_unknown
from smilfit.structures import BodyParams, Cameras

# What is predicted of a sample: tensors by name, and dicts of these.
PredictedSample = dict[str, Any]
# The parts of a regressor's config, and what of them is built.
PartConfigs = dict[str, Any]
Batch = TypeVar('Batch', bound=Mapping)


def checked_loss_weights(where: str, weights: Mapping[str, float]) -> dict[str, float]:
    """Return the weights back.

    Raises:
        ValueError: one that is negative or not finite.
    """
    for key, weight in weights.items():
        if not isinstance(weight, (int, float)) or not 0 <= weight < float('inf'):
            raise ValueError(
                f'{where}: the loss weight of {key!r} must be finite and not negative; got {weight!r}. Use 0 to '
                'switch the loss off.'
            )
    return dict(weights)


class ModalRegressor(BaseModel):
    """A model of three modes; a subclass gives `predict_parameters`, `predict`, `loss` and its `loss_weights`."""

    # Whether it looks for the animal in whole images by itself.
    finds_boxes: ClassVar[bool] = False

    loss_weights: dict[str, float]
    body_model: SMIL
    statistics: TrainingStatistics
    keypoint_names: tuple[str, ...]

    @property
    def camera_names(self) -> tuple[str, ...] | None:
        """Cameras that are known by name; None where any will do."""
        return None if self.known_cameras is None else self.known_cameras.known

    @property
    def known_cameras(self) -> CameraNames | None:
        """The cameras that are known by name, and which of these views are; None where any will do."""
        return None

    def use_cameras(self, names: Sequence[str]) -> None:
        """Take the views of samples for these cameras, in order, where cameras are known by name.

        Raises:
            UnknownNameError: one that is not known, with the near ones.
        """
        if self.known_cameras is not None and names:
            self.known_cameras.use(names)

    @property
    def label_needs(self) -> Mapping[str, str]:
        """Return which kind of label each loss needs, such as `keypoints3d`; losses that need none are left out."""
        return {}

    @abstractmethod
    def predict_parameters(self, inputs: Mapping[str, Tensor]) -> object:
        """Run the networks."""

    @abstractmethod
    def predict(
        self, inputs: Mapping[str, Tensor], data_samples: DataSamples | None = None
    ) -> list[PredictedSample]:
        """Predict each sample."""

    @abstractmethod
    def loss(self, inputs: Mapping[str, Tensor], data_samples: DataSamples) -> dict[str, Tensor]:
        """Compute the losses of a batch."""

    def exported_network(self, side: int | None = None) -> ExportedNetwork:
        """Return what is plain layers by itself, to be written as a file for other runtimes.

        Args:
            side: of the images, px; None for the usual one.

        Raises:
            ValueError: there is no such part.
        """
        raise ValueError(
            f'export: the model must be a KeypointRegressor or a MultiViewRegressor; got {type(self).__name__}. A '
            'class of your own gives an ExportedNetwork by exported_network().'
        )

    def set_loss_weights(self, weights: Mapping[str, float]) -> None:
        """Change the weights of some losses; 0 switches one off.

        Raises:
            KeyError: an unknown key, with the near ones.
        """
        reject_unknown(type(self).__name__, 'loss key', weights, self.loss_weights)
        self.loss_weights.update(checked_loss_weights(type(self).__name__, weights))

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        data_samples: DataSamples | None = None,
        mode: str = 'tensor',
    ) -> object:
        """Predict a batch.

        Args:
            inputs: `image` (B, C, 3, H, W) in [0, 1], `view_mask` and the cameras of the crops.
            data_samples: the truth, for the losses and to be handed on with predictions.
            mode: 'tensor' gives what `predict_parameters` gives, 'predict' a list with one dict a sample on the CPU,
                'loss' a dict of losses.
        """
        if mode == 'tensor':
            return self.predict_parameters(inputs)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'loss':
            return self.loss(inputs, {} if data_samples is None else data_samples)
        raise ValueError(
            f"{type(self).__name__}: mode must be 'tensor', 'predict' or 'loss'; got {mode!r}. Give one of them."
        )


@MODELS.register_module()
class RegressorPreprocessor(BaseDataPreprocessor):
    """Move a batch to the model's device; images become RGB in [0, 1], real numbers float32."""

    def forward(self, data: Batch, training: bool = False) -> Batch:
        """Cast a batch."""
        return _mapped(self.cast_data(data), _real)


def _real(value: object) -> object:
    if not isinstance(value, Tensor):
        return value
    if value.dtype == torch.uint8:
        # In place: a second copy of a batch of images costs more than all else here.
        return value.float().mul_(1 / 255)
    return value.float() if value.is_floating_point() else value


def per_sample(batch: Mapping[str, object], n: int) -> list[PredictedSample]:
    """Return one dict a sample, on the CPU, of nested dicts of tensors with leading dimension n."""
    host = _mapped(batch, lambda x: x.detach().cpu())
    return [dict(chosen_rows(host, i)) for i in range(n)]


def chosen_rows(batch: Batch, rows: Tensor | int) -> Batch:
    """Choose samples of a batch, of nested dicts of tensors."""
    return _mapped(batch, lambda x: x[rows])


def body_predictions(
    body: SMIL, params: BodyParams, cameras: Cameras, view_mask: Tensor, names: tuple[str, ...]
) -> dict[str, object]:
    """Return where a predicted body's joints and keypoints are, in the world and in every image; absent views
    have 0."""
    with torch.autocast(view_mask.device.type, enabled=False):
        output = body(params, need=('joints', *names))
        pixels, _, _ = cameras.project(output.keypoints)
    return {
        'params': params.as_axis_angle().as_dict(),
        'joints': output.joints,
        'keypoints3d': output.keypoints,
        'keypoints2d': torch.where(view_mask[..., None, None], pixels, torch.zeros_like(pixels)),
        'cameras': {name: getattr(cameras, name) for name in ('K', 'R', 't')},
        'view_mask': view_mask,
    }


def _mapped(value: Any, function: Callable[[Any], object]) -> Any:
    """Apply a function to the leaves of nested dicts."""
    if isinstance(value, Mapping):
        return {key: _mapped(item, function) for key, item in value.items()}
    return function(value)
