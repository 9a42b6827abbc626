"""How far landmarks are from where the model expects them."""

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models.data import BodyModelData
from smilfit.losses.base import BaseLoss
from smilfit.losses.residuals import Residuals
from smilfit.registry import LOSSES


@LOSSES.register_module()
class LandmarkOffsetPriorLoss(BaseLoss):
    """Squared offsets of landmarks in standard deviations of the model file.

    A mean is over frames, of their sums: for offsets that a clip shares, the weight 1 is the statistical one where
    keypoints' squared residuals, too, are in standard deviations and summed (`reduction='sum'`).
    """

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.register_buffer('precision_root', None, persistent=False)

    def bind_body(self, data: BodyModelData) -> None:
        """Take the standard deviations of a model's landmarks."""
        sd = [data.landmarks[name].sd for name in data.unknown_landmarks]
        self.precision_root = torch.tensor(sd, dtype=torch.float64).reciprocal()

    def residual(self, landmark_offsets: Float[Tensor, 'B K 3']) -> Residuals:
        """Return offsets in standard deviations.

        Raises:
            ValueError: the model is not known yet.
        """
        if self.precision_root is None:
            raise ValueError('LandmarkOffsetPriorLoss: call bind_body(data) with the model first.')
        root = self.precision_root.to(landmark_offsets)
        slope = root[:, None, None] * torch.eye(3, dtype=root.dtype, device=root.device)
        return Residuals(
            landmark_offsets * root[:, None],
            pointwise=True,
            slope=slope,
            count=float(len(landmark_offsets)),
        )
