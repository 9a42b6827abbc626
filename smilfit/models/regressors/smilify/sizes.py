"""How many numbers SMILify's heads give, of what."""

from dataclasses import dataclass
from typing import Literal

Rotation = Literal['rot6d', 'axis_angle']
JointSizes = Literal['none', 'joints', 'betas']


@dataclass(frozen=True)
class OutputSizes:
    """The outputs of a head.

    Args:
        n_joints: J, the root included.
        n_betas: S.
        rotation: six numbers a rotation (two rows of the matrix), or three.
        joint_sizes: scales and offsets of joints: none, three numbers a joint, or weights of the body model's
            directions.
        mesh_scale: whether the whole body's scale is estimated.
    """

    n_joints: int
    n_betas: int
    rotation: Rotation = 'rot6d'
    joint_sizes: JointSizes = 'joints'
    mesh_scale: bool = False

    @property
    def decoder(self) -> dict[str, int]:
        """Numbers by name, in the order in which the decoder is told of them."""
        sizes = {'pose': self._per_rotation * self.n_joints, 'betas': self.n_betas, 'trans': 3, 'fov': 1}
        sizes |= {'cam_rot': 6, 'cam_trans': 3, **self._joints}
        return sizes | ({'mesh_scale': 1} if self.mesh_scale else {})

    @property
    def mlp(self) -> dict[str, int]:
        """Numbers by name, in the order in which the fully connected head gives them."""
        sizes = {'pose': self._per_rotation * self.n_joints, 'betas': self.n_betas, 'trans': 3, 'fov': 1}
        return sizes | {'cam_rot': 9, 'cam_trans': 3, **self._joints}

    @property
    def _per_rotation(self) -> int:
        return 6 if self.rotation == 'rot6d' else 3

    @property
    def _joints(self) -> dict[str, int]:
        n = {'none': 0, 'joints': 3 * self.n_joints, 'betas': self.n_betas}[self.joint_sizes]
        return {'scales': n, 'joint_trans': n} if n else {}
