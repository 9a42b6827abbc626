"""What a single view leaves open: direction and distance, by the covariance and by what other starts reached."""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.registrants import OneViewDoubt
from smilfit.structures import FitCovariance, FitResult


def view_frames(
    body: SMIL, result: FitResult, doubt: OneViewDoubt | None = None
) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, ...]]]:
    """Measure the doubt of one view, frame by frame, of all frames of a fit.

    Args:
        body: the body.
        result: its fit; its covariance is used where there is one.
        doubt: what the other starts of each frame came to.

    Returns:
        Numbers by measure, and of the doubt its reasons.
    """
    matches: dict[str, np.ndarray] = {}
    notes: dict[str, tuple[str, ...]] = {}
    if doubt is not None:
        doubted = torch.where(result.fitted.cpu(), doubt.doubted.cpu().double(), torch.nan)
        matches['view_doubt'], notes['view_doubt'] = doubted.numpy(), doubt.reasons
    if result.covariance is not None:
        matches['yaw_sd'] = turn_sd_deg(body, result.covariance).cpu().numpy()
        matches['depth_sd'] = depth_sd(body, result, result.covariance).cpu().numpy()
    return matches, notes


def turn_sd_deg(body: SMIL, covariance: FitCovariance) -> Float[Tensor, ' B']:
    """Return the standard deviation of the body's turn about the worst of the world's axes, degrees."""
    columns = [f'{body.joint_names[0]}.turn_{axis}' for axis in 'xyz']
    return _of(covariance, columns).amax(1) * (180 / math.pi)


def depth_sd(body: SMIL, result: FitResult, covariance: FitCovariance) -> Float[Tensor, ' B']:
    """Return the standard deviation of the body's place along the worst of the world's axes, in its lengths.

    Under one camera that is depth, but for the turn of its axes.
    """
    size = body.rest_size * result.params.scale.cpu().double()
    return _of(covariance, [f'transl_{axis}' for axis in 'xyz']).amax(1) / size


def _of(covariance: FitCovariance, columns: list[str]) -> Tensor:
    """Return the standard deviations of some unknowns; NaN where they were not fitted."""
    sd, known = covariance.parameter_sd().cpu().double(), list(covariance.columns)
    if any(name not in known for name in columns):
        return torch.full((len(sd), len(columns)), torch.nan).double()
    return sd[:, [known.index(name) for name in columns]]
