"""Losses on parameters, for samples whose parameters are known."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.losses import Energies
from smilfit.networks.regressors.normaliser import weighted_means
from smilfit.structures import PARAMETERS, BodyParams, parameter_names

PARAMETER_KEYS = parameter_names(of='body', optional=False)


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
        params_weight: Float[Tensor, ' B'] | None = None,
    ) -> dict[str, Tensor]:
        """Return the weighted losses whose weight is not 0, by key; both parameters in one frame.

        Args:
            predicted: of the network.
            known: the truth, or what a fit found.
            has_params: rows whose pose, place and scale are known.
            has_betas: rows whose shape is known.
            weights: by parameter.
            params_weight: how much each row counts in a mean, such as those of `AddPseudoLabels`; 1 if None.
        """
        known = _masked(known, has_params, has_betas)
        stated = {}
        for key in PARAMETER_KEYS:
            if weights[key] > 0:
                confidence = (has_betas if key == 'betas' else has_params).float()
                confidence = confidence if params_weight is None else confidence * params_weight
                term = _squared(key, getattr(predicted, key), getattr(known, key))
                stated[key] = Energies(term, confidence)
        return weighted_means(stated, weights, self.over)


def _squared(
    name: str, predicted: Float[Tensor, 'B ...'], known: Float[Tensor, 'B ...']
) -> Float[Tensor, ' B']:
    """Compare a parameter as its kind asks: matrices, points and numbers that are free."""
    spec = PARAMETERS[name]
    squared = (spec.free(spec.as_matrix(predicted)) - spec.free(spec.as_matrix(known))).square()
    if spec.kind == 'rotation':
        squared = squared.sum((-1, -2))
    elif spec.shape[-1:] == (3,):
        squared = squared.sum(-1)
    return squared.flatten(1).mean(1) if squared.ndim > 1 else squared


def _masked(params: BodyParams, has_params: Tensor, has_betas: Tensor) -> BodyParams:
    """Put the rest pose where parameters are unknown, so that no stray number there can reach a loss."""
    resting = BodyParams.zeros(params.batch_size, params.n_joints, params.betas.shape[1], like=params.transl)

    def chosen(name: str) -> Tensor:
        value, mask = getattr(params, name), has_betas if name == 'betas' else has_params
        return torch.where(mask.reshape(-1, *(1,) * (value.ndim - 1)), value, getattr(resting, name))

    return BodyParams(**{name: chosen(name) for name in PARAMETER_KEYS})
