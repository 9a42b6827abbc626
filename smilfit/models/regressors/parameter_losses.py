"""Losses on parameters, for samples whose parameters are known."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.losses import Energies, reduced
from smilfit.structures import BodyParams

PARAMETER_KEYS = ('global_orient', 'body_pose', 'betas', 'transl', 'scale')


class ParameterLosses(nn.Module):
    """Compare predicted parameters with known ones; a sample without them takes no part.

    A sample's shape may be known where its pose is not.

    Rotations: squared Frobenius distance of matrices, `8 sin^2(angle / 2)`, which is smooth everywhere. Betas:
    squared difference. Position: squared distance. Scale: squared difference of logarithms.
    Each is a mean over the joints or coefficients, then over the samples that have parameters.
    """

    def __init__(self, normaliser: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.over = normaliser

    def forward(
        self,
        predicted: BodyParams,
        known: BodyParams,
        has_params: Bool[Tensor, ' B'],
        has_betas: Bool[Tensor, ' B'],
        weights: dict[str, float],
    ) -> dict[str, Tensor]:
        """Give the weighted losses whose weight is not 0, by key; both parameters in one frame."""
        known = _masked(known, has_params, has_betas)
        terms = {
            'global_orient': lambda: _frobenius(predicted.rotations()[:, :1], known.rotations()[:, :1]),
            'body_pose': lambda: _frobenius(predicted.rotations()[:, 1:], known.rotations()[:, 1:]),
            'betas': lambda: (predicted.betas - known.betas).square().mean(1),
            'transl': lambda: (predicted.transl - known.transl).square().sum(1),
            'scale': lambda: (predicted.scale.log() - known.scale.log()).square(),
        }
        confidence = {key: has_betas if key == 'betas' else has_params for key in terms}
        return {
            key: reduced((Energies(term(), confidence[key].float()),), weights[key], 'mean', over=self.over)
            for key, term in terms.items()
            if weights[key] > 0
        }


def _frobenius(a: Float[Tensor, 'B j 3 3'], b: Float[Tensor, 'B j 3 3']) -> Float[Tensor, ' B']:
    return (a - b).square().sum((-1, -2)).mean(1)


def _masked(params: BodyParams, has_params: Tensor, has_betas: Tensor) -> BodyParams:
    """Put the rest pose where parameters are unknown, so that no stray number there can reach a loss."""
    resting = BodyParams.zeros(params.batch_size, params.n_joints, params.betas.shape[1], like=params.transl)

    def chosen(name: str) -> Tensor:
        value, mask = getattr(params, name), has_betas if name == 'betas' else has_params
        return torch.where(mask.reshape(-1, *(1,) * (value.ndim - 1)), value, getattr(resting, name))

    return BodyParams(**{name: chosen(name) for name in PARAMETER_KEYS})
