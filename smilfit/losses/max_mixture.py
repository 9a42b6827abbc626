"""A Gaussian mixture over poses, of which the nearest component counts."""

import math
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models.data import BodyModelData
from smilfit.losses.base import BaseLoss
from smilfit.losses.pose_mixture import PoseMixture, read_pose_mixture
from smilfit.losses.residuals import Residuals
from smilfit.registry import LOSSES


@LOSSES.register_module()
class MaxMixturePriorLoss(BaseLoss):
    """The nearest Gaussian's negative log-likelihood (Olson and Agarwal 2013; Bogo et al. 2016).

    `min_m 0.5 d' P_m d - log w_m`, with `w_m` the component's weight over its volume relative to the smallest.

    Args:
        prior_folder: holds `gmm_{num_gaussians:02d}.pkl` with `means` (M, D), `covars` (M, D, D), `weights` (M,);
            the licensed file is the user's own and is read by the allow-list reader.
        num_gaussians: M, part of the file's name.
        reduction: over the batch.
        loss_weight: factor on the result.
        prior_path: a mixture's file, `.npz` or pickle, instead of one in `prior_folder`.
        mixture: the mixture itself, as `fit_pose_mixture` gives it, instead of a file.
    """

    def __init__(
        self,
        prior_folder: str | Path = './data',
        num_gaussians: int = 8,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        prior_path: str | Path | None = None,
        mixture: PoseMixture | None = None,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if prior_path is not None and mixture is not None:
            raise ValueError('MaxMixturePriorLoss: give either prior_path or mixture; got both.')
        if mixture is None:
            usual = Path(prior_folder) / f'gmm_{num_gaussians:02d}.pkl'
            path = usual if prior_path is None else Path(prior_path)
            if not path.is_file():
                raise FileNotFoundError(
                    f"MaxMixturePriorLoss: {path} is not there. SMPLify's is licensed: get it there, or fit one to "
                    'poses of your own with smilfit.losses.fit_pose_mixture.'
                )
            mixture = read_pose_mixture(path)
        # A component without weight is nowhere the nearest.
        used = mixture.weights > 0
        means, covars, weights = mixture.means[used], mixture.covariances[used], mixture.weights[used]
        log_volume = 0.5 * np.linalg.slogdet(covars)[1]
        constant = 0.5 * means.shape[1] * math.log(2 * math.pi) + (log_volume - log_volume.min())
        factors = np.linalg.cholesky(np.linalg.inv(covars))
        self.register_buffer('means', torch.as_tensor(means, dtype=torch.float32), persistent=False)
        self.register_buffer('factors', torch.as_tensor(factors, dtype=torch.float32), persistent=False)
        offsets = constant - np.log(weights)
        if offsets.min() < 0:
            raise ValueError(
                f'MaxMixturePriorLoss: weights must be shares of one; got {weights.max():.3g}. '
                'Divide them by their sum.'
            )
        self.register_buffer('offsets', torch.as_tensor(offsets, dtype=torch.float32), persistent=False)

    def bind_body(self, data: BodyModelData) -> None:
        """Check that the mixture is over this model's poses.

        Raises:
            ValueError: of another number of joints.
        """
        if self.means.shape[1] != 3 * (data.n_joints - 1):
            raise ValueError(
                f'MaxMixturePriorLoss: the mixture must have 3 (J - 1) = {3 * (data.n_joints - 1)} dimensions for '
                f'{data.name}; got {self.means.shape[1]}. Fit a mixture to poses of this model.'
            )

    def residual(self, body_pose: Float[Tensor, 'B j 3']) -> Residuals:
        """Give the nearest component's whitened pose, and the root of its offset, a constant; one term a frame."""
        centred = body_pose.flatten(1).unsqueeze(1) - self.means.to(body_pose)
        factors, offsets = self.factors.to(body_pose), self.offsets.to(body_pose)
        white = math.sqrt(0.5) * torch.einsum('bmd,mde->bme', centred, factors)
        nearest = (white.detach().square().sum(-1) + offsets).argmin(1)
        rows = torch.arange(len(nearest), device=nearest.device)
        value = torch.cat((white[rows, nearest], offsets[nearest].sqrt().unsqueeze(1)), 1)
        slope = math.sqrt(0.5) * factors[nearest].transpose(1, 2)
        slope = torch.cat((slope, torch.zeros_like(slope[:, :1])), 1)
        return Residuals(value, torch.ones_like(value[:, 0]), slope=slope)
