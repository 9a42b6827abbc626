"""Smooth numbers and rotations over time without lag: weighted straight lines through neighbouring frames.

A straight line is fitted to the frames around each one, weighted by a Gaussian of their distance in time, and its
value there is taken (local linear regression; Fan & Gijbels 1996). What is constant or moves evenly is left as it is,
at the ends and beside gaps too, where an average would pull to one side. Rotations are fitted in the tangent space at
the estimate, which is then moved to the line's value, until it rests (an average on SO(3), Pennec 1998): the result
turns with the data, whichever frame they are given in.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle

# A Gaussian is cut off at so many standard deviations.
_REACH = 3.0
_STEPS = 8
_RESTS_RAD = 1e-7
# So many numbers of neighbours are in memory at once.
_CHUNK = 1 << 22


def smooth_numbers(
    values: Float[Tensor, ' T *d'], times: Float[Tensor, 'T'], width: float, valid: Bool[Tensor, 'T']
) -> Float[Tensor, ' T *d']:
    """Smooth numbers.

    Args:
        values: one row a frame.
        times: increasing.
        width: standard deviation of the Gaussian, in the unit of `times`; 0 changes nothing.
        valid: frames that count; others stay as they are.
    """
    if width <= 0 or not bool(valid.any()):
        return values
    flat = values.reshape(len(values), -1)
    result = flat.clone()
    for rows, neighbours, weights in _windows(times, width, valid, flat.shape[1]):
        # Measured from the frame itself, so that large numbers cost no digits.
        change = flat[neighbours] - flat[rows].unsqueeze(1)
        result[rows] = flat[rows] + (weights.to(flat).unsqueeze(-1) * change).sum(1)
    return result.reshape(values.shape)


def smooth_rotations(
    rotations: Float[Tensor, 'T *d 3 3'], times: Float[Tensor, 'T'], width: float, valid: Bool[Tensor, 'T']
) -> Float[Tensor, 'T *d 3 3']:
    """Smooth rotation matrices; arguments as of `smooth_numbers`.

    Neighbours within the Gaussian's reach must lie within half a turn of the estimate.
    """
    if width <= 0 or not bool(valid.any()):
        return rotations
    flat = rotations.reshape(len(rotations), -1, 3, 3)
    result = flat.clone()
    for rows, neighbours, weights in _windows(times, width, valid, flat[0].numel()):
        around, weights = flat[neighbours], weights.to(flat)[..., None, None]
        estimate = flat[rows]
        for _ in range(_STEPS):
            turns = rotmat_to_axis_angle(estimate.mT.unsqueeze(1) @ around)
            step = (weights * turns).sum(1)
            estimate = estimate @ axis_angle_to_rotmat(step)
            if float(step.abs().max()) < _RESTS_RAD:
                break
        result[rows] = estimate
    return result.reshape(rotations.shape)


def _windows(
    times: Tensor, width: float, valid: Tensor, row_numbers: int
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return frames with their neighbours and the weights with which these make the line's value, chunk by chunk.

    Returns:
        (frames (n,), neighbours (n, W), weights (n, W)); weights of a frame sum to 1 and leave straight lines alone.
    """
    known = valid.nonzero().flatten()
    t = times[known].double()
    first = torch.searchsorted(t, t - _REACH * width)
    last = torch.searchsorted(t, t + _REACH * width, right=True)
    most = int((last - first).max())
    size = max(1, _CHUNK // max(1, most * row_numbers))
    result = []
    for rows in torch.arange(len(known)).split(size):
        span = int((last[rows] - first[rows]).max())
        places = first[rows].unsqueeze(1) + torch.arange(span)
        inside = places < last[rows].unsqueeze(1)
        places = torch.where(inside, places, rows.unsqueeze(1))
        away = (t[places] - t[rows].unsqueeze(1)) / width
        weights = torch.exp(-0.5 * away.square()) * inside
        result.append((known[rows], known[places], _line_weights(weights, away)))
    return result


def _line_weights(weights: Tensor, away: Tensor) -> Tensor:
    """Turn weights into those of the value at 0 of a weighted straight line."""
    s0, s1, s2 = (weights.sum(1, keepdim=True), *((weights * away**k).sum(1, keepdim=True) for k in (1, 2)))
    spread = s0 * s2 - s1 * s1
    line = weights * (s2 - s1 * away) / spread.clamp_min(math.ulp(1.0))
    # One frame alone, or two at one time, have no slope.
    return torch.where(spread > 1e-12 * s0 * s0, line, weights / s0)
