"""What a body head predicts, in the scene frame."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.geometry.rotation import rotmat_to_rot6d


@dataclass(frozen=True)
class BodyEstimate:
    """Joint rotations (the root's first), shape, position in scene units, log scale over the training mean."""

    rotations: Float[Tensor, 'B J 3 3']
    betas: Float[Tensor, 'B S']
    position: Float[Tensor, 'B 3']
    log_scale: Float[Tensor, 'B']

    def as_vector(self) -> Float[Tensor, 'B P']:
        """Write the estimate as one vector of numbers of order one: 6D rotations, betas, position, scale."""
        rot6d = rotmat_to_rot6d(self.rotations).flatten(1)
        return torch.cat((rot6d, self.betas, self.position, self.log_scale.unsqueeze(1)), 1)

    @classmethod
    def resting(cls, pose: Float[Tensor, 'J 3 3'], n_betas: int, batch_size: int) -> 'BodyEstimate':
        """Make the mean shape in a given pose at the scene's origin."""
        return cls(
            rotations=pose.expand(batch_size, -1, 3, 3),
            betas=pose.new_zeros(batch_size, n_betas),
            position=pose.new_zeros(batch_size, 3),
            log_scale=pose.new_zeros(batch_size),
        )
