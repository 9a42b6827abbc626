"""What all regressors answer to: mmengine's three modes, and losses whose weights a curriculum changes."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseModel
from torch import Tensor

from smilfit.networks.exported.exported_network import ExportedNetwork
from smilfit.registry import reject_unknown


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

    loss_weights: dict[str, float]

    @property
    def label_needs(self) -> Mapping[str, str]:
        """Return which kind of label each loss needs, such as `keypoints3d`; losses that need none are left out."""
        return {}

    @abstractmethod
    def predict_parameters(self, inputs: Mapping[str, Tensor]) -> Any:
        """Run the networks."""

    @abstractmethod
    def predict(
        self, inputs: Mapping[str, Tensor], data_samples: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Predict each sample."""

    @abstractmethod
    def loss(self, inputs: Mapping[str, Tensor], data_samples: Mapping[str, Any]) -> dict[str, Tensor]:
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
        data_samples: Mapping[str, Any] | None = None,
        mode: str = 'tensor',
    ) -> Any:
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
            return self.loss(inputs, data_samples)
        raise ValueError(
            f"{type(self).__name__}: mode must be 'tensor', 'predict' or 'loss'; got {mode!r}. Give one of them."
        )
