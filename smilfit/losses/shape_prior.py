"""How unusual a shape is."""

import torch
from jaxtyping import Float, Int
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


@LOSSES.register_module()
class ShapeMixturePriorLoss(ShapePriorLoss):
    """The nearest kind's Gaussian: `min_m d' P_m d + log det C_m - 2 log w_m`, less the least such constant.

    Twice a negative log-likelihood (max-mixture, Olson and Agarwal 2013): with reduction `'sum'` and the weight 1 it
    is as strong as the model file's mixture says beside residuals in units of their noise. A model without a mixture
    has one kind: `ShapePriorLoss`.
    """

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        for name in ('means', 'factors', 'offsets'):
            self.register_buffer(name, None, persistent=False)

    def bind_body(self, data: BodyModelData) -> None:
        """Take the mixture of a model."""
        super().bind_body(data)
        self.means = self.factors = self.offsets = None
        mixture = data.shape_mixture
        if mixture is None:
            return
        # One floor for all kinds: what none varies in must not be infinitely unlikely.
        most = max(float(cov.diagonal().max()) for cov in mixture.covs)
        factors = torch.stack([whitening_of(torch.as_tensor(cov), most) for cov in mixture.covs])
        log_det = -2 * factors.diagonal(dim1=1, dim2=2).log().sum(1)
        offsets = log_det - 2 * torch.as_tensor(mixture.weights).log()
        self.means = torch.as_tensor(mixture.means, dtype=torch.float32)
        self.factors, self.offsets = factors.float(), (offsets - offsets.min()).float()

    def kind_of(self, betas: Float[Tensor, 'B S']) -> Int[Tensor, ' B']:
        """Return which kind is the nearest; 0 where the model has one."""
        kinds = self._kinds(betas.detach())
        if kinds is None:
            return torch.zeros(len(betas), dtype=torch.long, device=betas.device)
        return _nearest(*kinds[:2])

    def residual(self, betas: Float[Tensor, 'B S']) -> Residuals:
        """Return the coefficients as the nearest kind whitens them, and the root of its constant.

        The slope is one matrix where all bodies are of one kind.
        """
        kinds = self._kinds(betas)
        if kinds is None:
            return super().residual(betas)
        white, offsets, factors = kinds
        kind = _nearest(white.detach(), offsets)
        rows = torch.arange(len(kind), device=kind.device)
        value = torch.cat((white[rows, kind], offsets[kind].sqrt().unsqueeze(1)), 1)
        slope = factors[kind[:1] if bool((kind == kind[:1]).all()) else kind].transpose(1, 2)
        slope = torch.cat((slope, torch.zeros_like(slope[:, :1])), 1)
        return Residuals(value, count=float(betas.numel()), slope=slope)

    def _kinds(self, betas: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return coefficients as each of M kinds whitens them (B, M, S), the kinds' constants (M,) and matrices."""
        if self.means is None or self.offsets is None or self.factors is None:
            return None
        factors = self.factors.to(betas)
        white = torch.einsum('bms,mst->bmt', betas.unsqueeze(1) - self.means.to(betas), factors)
        return white, self.offsets.to(betas), factors


def _nearest(white: Tensor, offsets: Tensor) -> Tensor:
    return (white.square().sum(-1) + offsets).argmin(1)
