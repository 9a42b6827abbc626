"""What a body head predicts, in the scene frame."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.geometry.rotation import rotmat_to_rot6d

RotationChange = Literal['rot6d', 'axis_angle']
JointSizes = Literal['ignore', 'separate', 'entangled_with_betas']


@dataclass(frozen=True)
class BodyEstimate:
    """Joint rotations (the root's first), shape, position in scene units, log scale over the training mean.

    Where a head estimates them: each joint's log scale, and its offset in lengths of the body.
    """

    rotations: Float[Tensor, 'B J 3 3']
    betas: Float[Tensor, 'B S']
    position: Float[Tensor, 'B 3']
    log_scale: Float[Tensor, 'B']
    log_joint_scales: Float[Tensor, 'B J 3'] | None = None
    joint_offsets: Float[Tensor, 'B J 3'] | None = None

    def as_vector(self) -> Float[Tensor, 'B P']:
        """Write the estimate as one vector of numbers of order one: 6D rotations, betas, position, scale, …"""
        rot6d = rotmat_to_rot6d(self.rotations).flatten(1)
        parts = [rot6d, self.betas, self.position, self.log_scale.unsqueeze(1)]
        parts += [x.flatten(1) for x in (self.log_joint_scales, self.joint_offsets) if x is not None]
        return torch.cat(parts, 1)

    def with_joint_sizes(
        self, log_joint_scales: Float[Tensor, 'B J 3'], joint_offsets: Float[Tensor, 'B J 3']
    ) -> 'BodyEstimate':
        """Return a copy with scales and offsets of joints."""
        return replace(self, log_joint_scales=log_joint_scales, joint_offsets=joint_offsets)

    def turned(self, root: Float[Tensor, 'B 3 3']) -> 'BodyEstimate':
        """Return a copy with another rotation of the root."""
        return replace(self, rotations=torch.cat((root.unsqueeze(1), self.rotations[:, 1:]), 1))

    @classmethod
    def resting(cls, pose: Float[Tensor, 'J 3 3'], n_betas: int, batch_size: int) -> 'BodyEstimate':
        """Make the mean shape in a given pose at the scene's origin."""
        return cls(
            rotations=pose.expand(batch_size, -1, 3, 3),
            betas=pose.new_zeros(batch_size, n_betas),
            position=pose.new_zeros(batch_size, 3),
            log_scale=pose.new_zeros(batch_size),
        )
