"""Losses on parameters and on cameras, as weighted means over all processes."""

from collections.abc import Callable, Mapping

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.losses import Energies, reduced
from smilfit.structures import PARAMETERS, BodyParams, Cameras, parameter_names


def mean_over_processes(total: Tensor) -> Tensor:
    """Average a sum of valid weights over the processes; gives it back where there is one process.

    Distributed training averages the processes' gradients. If each divides its sum of weighted terms by this
    mean instead of by its own weight, the average equals the loss of one process with the joined batch,
    however unevenly what is missing falls on them.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return total
    total = total.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def weighted_means(
    stated: Mapping[str, Energies],
    weights: Mapping[str, float],
    over: Callable[[Tensor], Tensor] | None = mean_over_processes,
) -> dict[str, Tensor]:
    """Reduce losses to weighted means over all processes, which talk once for all of them.

    Args:
        stated: what each loss states.
        weights: of these losses, and perhaps of others.
        over: turns this process's totals into those of all; None leaves them.
    """
    if not stated:
        return {}
    totals = torch.stack([terms.total() for terms in stated.values()])
    means = totals if over is None else over(totals)
    return {
        key: reduced((terms,), weights[key], 'mean', over=mean.to)
        for (key, terms), mean in zip(stated.items(), means)
    }


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
            # A body without a shape space has no coefficient to miss.
            if weights[key] > 0 and getattr(known, key)[0].numel():
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

    return BodyParams.of({name: chosen(name) for name in PARAMETER_KEYS})


CAMERA_KEYS = ('camera_fov', 'camera_rotation', 'camera_position')


def camera_losses(
    predicted: Cameras,
    given: Cameras,
    view_mask: Bool[Tensor, 'B C'],
    unit: Float[Tensor, ''] | float,
    weights: Mapping[str, float],
) -> dict[str, Tensor]:
    """Return the weighted losses whose weight is not 0, as `loss_<key>`; means over the present views.

    `camera_fov`: squared difference of the vertical fields of view, rad^2. `camera_rotation`: squared Frobenius
    distance of the rotations. `camera_position`: squared distance of the centres, in `unit`s.
    """
    terms = {
        'camera_fov': lambda: (vertical_fov(predicted) - vertical_fov(given)).square(),
        'camera_rotation': lambda: (predicted.R - given.R).square().sum((-1, -2)),
        'camera_position': lambda: ((predicted.centres() - given.centres()) / unit).square().sum(-1),
    }
    stated = {}
    for key, term in terms.items():
        if weights[key] > 0:
            # An absent view's cameras are no cameras: nothing of theirs may reach a gradient.
            energy = torch.where(view_mask, term(), torch.zeros(()).to(predicted.t))
            stated[key] = Energies(energy, view_mask.float())
    return {f'loss_{key}': value for key, value in weighted_means(stated, weights).items()}


def vertical_fov(cameras: Cameras) -> Float[Tensor, '*b C']:
    """Return the angle that the images' height covers, rad, as if the principal point were their centre."""
    return 2 * torch.atan2(cameras.size[..., 1], 2 * cameras.K[..., 1, 1])
