"""What betas do to joints' scales and offsets, by a model's directions; pure functions."""

import torch
from jaxtyping import Float
from torch import Tensor

# A joint scale from shape directions never falls below this: entangled shape spaces can turn it negative.
MIN_JOINT_SCALE = 1e-4


def driven_scales(
    betas: Float[Tensor, 'B S'], directions: Float[Tensor, 'S J 3'], logarithmic: bool
) -> Float[Tensor, 'B J 3']:
    """Give joint scales that betas drive: `exp(directions . betas)` or `1 + directions . betas`, at least 1e-4."""
    driven = driven_offsets(betas, directions)
    return driven.exp() if logarithmic else (1 + driven).clamp_min(MIN_JOINT_SCALE)


def driven_log_rates(
    betas: Float[Tensor, 'B S'], directions: Float[Tensor, 'S J 3'], logarithmic: bool
) -> Float[Tensor, 'B S J 3']:
    """Give how the logarithms of `driven_scales` change a unit of each beta: 0 where a scale is held at its least."""
    if logarithmic:
        return directions.expand(len(betas), -1, -1, -1)
    driven = (1 + driven_offsets(betas, directions)).unsqueeze(1)
    held = driven < MIN_JOINT_SCALE
    return torch.where(held, 0, directions / driven.masked_fill(held, 1))


def driven_offsets(betas: Float[Tensor, 'B S'], directions: Float[Tensor, 'S J 3']) -> Float[Tensor, 'B J 3']:
    """Give the joint offsets that betas drive, model unit."""
    return torch.einsum('bs,sjc->bjc', betas, directions)
