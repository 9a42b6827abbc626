"""What a single view leaves open: direction and distance, by the covariance and by what other starts reached."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.structures import FitCovariance, FitResult

# Starts whose directions are nearer to each other than this came to one and the same place.
APART_DEG = 30.0


def start_margins(losses: Float[Tensor, 'B N'], orients: Float[Tensor, 'B N 3']) -> Float[Tensor, ' B']:
    """Give the least loss that another direction of the body reached, over the least of all; at least 1.

    Args:
        losses: of each frame's starts when they were compared; infinite where a frame did not have one.
        orients: the body's rotations there, axis-angle, rad.

    Returns:
        NaN where no other start came to another direction.
    """
    least, at = losses.double().min(1)
    turns = axis_angle_to_rotmat(orients.double())
    best = turns[torch.arange(len(turns)), at].unsqueeze(1)
    cosine = ((best.mT @ turns).diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    apart = cosine.clamp(-1, 1).acos() > math.radians(APART_DEG)
    others = torch.where(apart & losses.isfinite(), losses.double(), torch.inf).amin(1)
    margin = others / least.clamp_min(1e-12)
    return torch.where(margin.isfinite(), margin, torch.nan)


def view_frames(
    body: SMIL, result: FitResult, starts: tuple[Tensor, Tensor] | None = None
) -> dict[str, np.ndarray]:
    """Measure the doubt of one view, frame by frame, of all frames of a fit.

    Args:
        body: the body.
        result: its fit; its covariance is used where there is one.
        starts: losses and rotations as of `start_margins`, where frames had several starts.
    """
    found: dict[str, Tensor] = {}
    if starts is not None:
        found['start_margin'] = start_margins(*starts)
    if result.covariance is not None:
        found['yaw_sd'] = turn_sd_deg(body, result.covariance)
        found['depth_sd'] = depth_sd(body, result, result.covariance)
    return {name: value.cpu().numpy() for name, value in found.items()}


def turn_sd_deg(body: SMIL, covariance: FitCovariance) -> Float[Tensor, ' B']:
    """Give the standard deviation of the body's turn about the worst of the world's axes, degrees."""
    columns = [f'{body.joint_names[0]}.turn_{axis}' for axis in 'xyz']
    return _of(covariance, columns).amax(1) * (180 / math.pi)


def depth_sd(body: SMIL, result: FitResult, covariance: FitCovariance) -> Float[Tensor, ' B']:
    """Give the standard deviation of the body's place along the worst of the world's axes, in its lengths.

    Under one camera that is depth, but for the turn of its axes.
    """
    size = body.rest_size * result.params.scale.cpu().double()
    return _of(covariance, [f'transl_{axis}' for axis in 'xyz']).amax(1) / size


def _of(covariance: FitCovariance, columns: list[str]) -> Tensor:
    """Give the standard deviations of some unknowns; NaN where they were not fitted."""
    sd, known = covariance.parameter_sd().cpu().double(), list(covariance.columns)
    if any(name not in known for name in columns):
        return torch.full((len(sd), len(columns)), torch.nan).double()
    return sd[:, [known.index(name) for name in columns]]
