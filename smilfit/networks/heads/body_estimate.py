"""What a body head predicts, in the scene frame, and how the numbers of its last layer change it."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.geometry.rotation import axis_angle_to_rotmat, rot6d_to_rotmat, rotmat_to_rot6d

RotationChange = Literal['rot6d', 'axis_angle']
JointSizes = Literal['ignore', 'separate', 'entangled_with_betas']
# Sizes of parts are of this order: the unit in which networks count them.
PART_SIZE_UNIT = 0.1


@dataclass(frozen=True)
class BodyEstimate:
    """Joint rotations (the root's first), shape, position in scene units, log scale over the training mean.

    Where a head estimates them: each joint's log scale, its offset in lengths of the body, and the sizes of parts.
    """

    rotations: Float[Tensor, 'B J 3 3']
    betas: Float[Tensor, 'B S']
    position: Float[Tensor, 'B 3']
    log_scale: Float[Tensor, 'B']
    log_joint_scales: Float[Tensor, 'B J 3'] | None = None
    joint_offsets: Float[Tensor, 'B J 3'] | None = None
    part_sizes: Float[Tensor, 'B G'] | None = None

    def as_vector(self) -> Float[Tensor, 'B P']:
        """Write the estimate as one vector of numbers of order one: 6D rotations, betas, position, scale, …"""
        rot6d = rotmat_to_rot6d(self.rotations).flatten(1)
        parts = [rot6d, self.betas, self.position, self.log_scale.unsqueeze(1)]
        parts += [x.flatten(1) for x in (self.log_joint_scales, self.joint_offsets) if x is not None]
        parts += [] if self.part_sizes is None else [self.part_sizes / PART_SIZE_UNIT]
        return torch.cat(parts, 1)

    def with_joint_sizes(
        self, log_joint_scales: Float[Tensor, 'B J 3'], joint_offsets: Float[Tensor, 'B J 3']
    ) -> 'BodyEstimate':
        """Return a copy with scales and offsets of joints."""
        return replace(self, log_joint_scales=log_joint_scales, joint_offsets=joint_offsets)

    def with_root(self, root: Float[Tensor, 'B 3 3']) -> 'BodyEstimate':
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


class EstimateChange:
    """Apply a vector of numbers to an estimate; zeros change nothing.

    Args:
        n_joints: J, the root included.
        n_betas: S.
        rotation: 'rot6d' adds to the rotations' first two columns and orthonormalises; 'axis_angle' turns each
            joint further by a rotation vector in its own frame, rad.
        joint_sizes: 'separate' changes every joint's log scale and offset too; the others have
            none, 'entangled_with_betas' because the body's shape directions give them.
        n_part_sizes: G, where sizes of parts are changed too.

    Raises:
        ValueError: an unknown name.
    """

    def __init__(
        self, n_joints: int, n_betas: int, rotation: str, joint_sizes: str, n_part_sizes: int = 0
    ) -> None:
        for what, value, known in (
            ('rotation', rotation, get_args(RotationChange)),
            ('joint_sizes', joint_sizes, get_args(JointSizes)),
        ):
            if value not in known:
                raise ValueError(f'head: {what} must be one of {known}; got {value!r}. Choose one of them.')
        self.n_joints, self.rotation, self.separate = n_joints, rotation, joint_sizes == 'separate'
        self.sizes = [(6 if rotation == 'rot6d' else 3) * n_joints, n_betas, 3, 1]
        # The root has no parent to be moved away from: its place is the body's.
        self.sizes += [3 * n_joints, 3 * (n_joints - 1)] if self.separate else []
        self.n_part_sizes = n_part_sizes
        self.sizes += [n_part_sizes] if n_part_sizes else []
        # How many numbers an estimate is as a vector: rotations are six there, and every joint has an offset.
        self.n_estimate = 6 * n_joints + n_betas + 4 + (6 * n_joints if self.separate else 0) + n_part_sizes

    @property
    def n_numbers(self) -> int:
        """How many numbers the last layer gives."""
        return sum(self.sizes)

    def begun(self, start: BodyEstimate) -> BodyEstimate:
        """Return a start with the sizes of joints and parts that it lacks, at rest."""
        if self.n_part_sizes and start.part_sizes is None:
            start = replace(start, part_sizes=start.betas.new_zeros(len(start.betas), self.n_part_sizes))
        if not self.separate or start.log_joint_scales is not None:
            return start
        rest = torch.zeros_like(start.rotations[..., 0])
        return start.with_joint_sizes(rest, rest)

    def applied(self, estimate: BodyEstimate, change: Float[Tensor, 'B n']) -> BodyEstimate:
        """Change an estimate."""
        rotation, betas, position, log_scale, *further = change.split(self.sizes, 1)
        rotation = rotation.unflatten(1, (self.n_joints, -1))
        if self.rotation == 'rot6d':
            rotations = rot6d_to_rotmat(rotmat_to_rot6d(estimate.rotations) + rotation)
        else:
            rotations = estimate.rotations @ axis_angle_to_rotmat(rotation)
        changed = BodyEstimate(
            rotations=rotations,
            betas=estimate.betas + betas,
            position=estimate.position + position,
            log_scale=estimate.log_scale + log_scale.squeeze(1),
            log_joint_scales=estimate.log_joint_scales,
            joint_offsets=estimate.joint_offsets,
            part_sizes=estimate.part_sizes,
        )
        if self.n_part_sizes:
            assert estimate.part_sizes is not None
            changed = replace(changed, part_sizes=estimate.part_sizes + PART_SIZE_UNIT * further.pop())
        if not further:
            return changed
        scales, offsets = (x.unflatten(1, (-1, 3)) for x in further)
        offsets = torch.cat((torch.zeros_like(scales[:, :1]), offsets), 1)
        assert estimate.log_joint_scales is not None
        assert estimate.joint_offsets is not None
        return changed.with_joint_sizes(estimate.log_joint_scales + scales, estimate.joint_offsets + offsets)
