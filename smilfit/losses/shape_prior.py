"""How unusual a shape is."""

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models.data import BodyModelData
from smilfit.losses.base import BaseLoss
from smilfit.losses.residuals import Residuals
from smilfit.registry import LOSSES


@LOSSES.register_module()
class ShapePriorLoss(BaseLoss):
    """Squared shape coefficients, or their Mahalanobis distance where the model knows its shapes.

    With a model that carries a mean and covariance, coefficients are measured in standard deviations: the terms
    are the whitened coefficients squared. Without, they are the coefficients squared.
    """

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.register_buffer('mean', None, persistent=False)
        self.register_buffer('whitening', None, persistent=False)

    def bind_body(self, data: BodyModelData) -> None:
        """Take the shape statistics of a model."""
        self.mean = self.whitening = None
        if data.shape_mean is not None:
            self.mean = torch.as_tensor(data.shape_mean, dtype=torch.float32)
        if data.shape_cov is not None:
            self.whitening = whitening_of(torch.as_tensor(data.shape_cov)).float()

    def residual(self, betas: Float[Tensor, 'B S']) -> Residuals:
        """Return the whitened coefficients."""
        centred = betas if self.mean is None else betas - self.mean.to(betas)
        if self.whitening is None:
            slope = torch.eye(betas.shape[1], dtype=betas.dtype, device=betas.device)
        else:
            slope = self.whitening.to(betas).t()
        return Residuals(centred @ slope.t(), slope=slope.unsqueeze(0))


def whitening_of(cov: Float[Tensor, 'S S'], most: float | None = None) -> Float[Tensor, 'S S']:
    """Return the float64 matrix W of a covariance for which `(x - mean) @ W` has the covariance 1.

    Args:
        cov: the covariance.
        most: the largest variance around, the covariance's own if None. A ten-thousandth of it is added to every
            one: directions without variance in the model's own specimens must not be infinitely unlikely.
    """
    cov = cov.double()
    floor = 1e-4 * max(float(cov.diagonal().max()) if most is None else most, 1e-12)
    factor = torch.linalg.cholesky(cov + floor * torch.eye(len(cov), dtype=cov.dtype))
    return torch.linalg.inv(factor).t().contiguous()
