"""Losses on predicted cameras, against those that were given."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.losses import Energies
from smilfit.networks.regressors.normaliser import weighted_means
from smilfit.structures import Cameras

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
    """Return the angle that the images' height covers, rad, as if the principal point were their middle."""
    return 2 * torch.atan2(cameras.size[..., 1], 2 * cameras.K[..., 1, 1])
