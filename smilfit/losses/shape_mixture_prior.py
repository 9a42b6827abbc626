"""How unusual a shape is among several kinds of animals."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.body_models.data import BodyModelData
from smilfit.losses.residuals import Residuals
from smilfit.losses.shape_prior import ShapePriorLoss, whitening_of
from smilfit.registry import LOSSES


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
        if self.means is None:
            return torch.zeros(len(betas), dtype=torch.long, device=betas.device)
        white = self._whitened(betas.detach())
        return (white.square().sum(-1) + self.offsets.to(betas)).argmin(1)

    def residual(self, betas: Float[Tensor, 'B S']) -> Residuals:
        """Return the coefficients as the nearest kind whitens them, and the root of its constant; one matrix
        where all
        bodies are of one kind."""
        if self.means is None:
            return super().residual(betas)
        kind = self.kind_of(betas)
        rows = torch.arange(len(kind), device=kind.device)
        white, offset = self._whitened(betas)[rows, kind], self.offsets.to(betas)[kind].sqrt()
        used = kind[:1] if bool((kind == kind[:1]).all()) else kind
        slope = self.factors.to(betas)[used].transpose(1, 2)
        slope = torch.cat((slope, torch.zeros_like(slope[:, :1])), 1)
        return Residuals(torch.cat((white, offset.unsqueeze(1)), 1), count=float(betas.numel()), slope=slope)

    def _whitened(self, betas: Tensor) -> Tensor:
        return torch.einsum('bms,mst->bmt', betas.unsqueeze(1) - self.means.to(betas), self.factors.to(betas))
