"""Parameters that go into a body model, and what comes out."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle
from smilfit.registry import UnknownNameError, did_you_mean

POSE_FIELDS = ('global_orient', 'body_pose')


@dataclass(frozen=True)
class BodyParams:
    """Parameters of a rigged body, named as in smplx, with the SMIL extras beside them.

    `x_world = scale * posed(x_model) + transl`. Rotations are axis-angle in rad, or matrices, which are then
    used as they are. Expression belongs to its frame, where betas may be one for a whole clip.
    """

    global_orient: Float[Tensor, 'B 3'] | Float[Tensor, 'B 3 3']
    body_pose: Float[Tensor, 'B j 3'] | Float[Tensor, 'B j 3 3']
    betas: Float[Tensor, 'B S']
    transl: Float[Tensor, 'B 3']
    scale: Float[Tensor, 'B']
    log_joint_scales: Float[Tensor, 'B J 3'] | None = None
    joint_offsets: Float[Tensor, 'B J 3'] | None = None
    expression: Float[Tensor, 'B E'] | None = None

    @classmethod
    def zeros(cls, batch_size: int, n_joints: int, n_betas: int, like: Tensor | None = None) -> 'BodyParams':
        """Make the rest pose of the mean shape at the origin, scale 1."""
        make = torch.zeros if like is None else like.new_zeros
        return cls(
            global_orient=make((batch_size, 3)),
            body_pose=make((batch_size, n_joints - 1, 3)),
            betas=make((batch_size, n_betas)),
            transl=make((batch_size, 3)),
            scale=make((batch_size,)) + 1,
        )

    @property
    def batch_size(self) -> int:
        """How many bodies (frames)."""
        return self.transl.shape[0]

    @property
    def n_joints(self) -> int:
        """How many joints, the root included."""
        return self.body_pose.shape[1] + 1

    def rotations(self) -> Float[Tensor, 'B J 3 3']:
        """Give every joint's rotation in its parent's frame as a matrix, the root's first."""
        stacked = self.stacked_axis_angle()
        if stacked is not None:
            return axis_angle_to_rotmat(stacked)
        root, rest = self.global_orient, self.body_pose
        root = axis_angle_to_rotmat(root) if root.ndim == 2 else root
        rest = axis_angle_to_rotmat(rest) if rest.ndim == 3 else rest
        return torch.cat((root.unsqueeze(1), rest), 1)

    def stacked_axis_angle(self) -> Float[Tensor, 'B J 3'] | None:
        """Give every joint's axis-angle, the root's first; None where one is a matrix."""
        if self.global_orient.ndim != 2 or self.body_pose.ndim != 3:
            return None
        return torch.cat((self.global_orient.unsqueeze(1), self.body_pose), 1)

    def as_axis_angle(self) -> 'BodyParams':
        """Give the same parameters with rotations as axis-angle; unchanged where they are already."""
        root, rest = self.global_orient, self.body_pose
        return replace(
            self,
            global_orient=rotmat_to_axis_angle(root) if root.ndim == 3 else root,
            body_pose=rotmat_to_axis_angle(rest) if rest.ndim == 4 else rest,
        )

    def as_dict(self) -> dict[str, Tensor]:
        """Give the fields that are present, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}

    def replace(self, **changes: Any) -> 'BodyParams':
        """Give a copy with some fields exchanged: tensors, or None for what is optional."""
        return replace(self, **changes)

    def map(self, function: Any) -> 'BodyParams':
        """Apply a tensor function to every field that is present."""
        return replace(self, **{name: function(value) for name, value in self.as_dict().items()})

    def to(self, *args: Any, **kwargs: Any) -> 'BodyParams':
        """Move or cast all tensors, as `Tensor.to`."""
        return self.map(lambda x: x.to(*args, **kwargs))

    def detach(self) -> 'BodyParams':
        """Cut all tensors from the graph."""
        return self.map(torch.Tensor.detach)

    def __getitem__(self, index: Any) -> 'BodyParams':
        """Select bodies by a slice, a list or a mask; a number keeps the batch dimension."""
        index = slice(index, index + 1 or None) if isinstance(index, int) else index
        return self.map(lambda x: x[index])

    @staticmethod
    def cat(params: Sequence['BodyParams']) -> 'BodyParams':
        """Join batches; all must have the same fields."""
        names = params[0].as_dict()
        return BodyParams(**{name: torch.cat([getattr(p, name) for p in params]) for name in names})


@dataclass(frozen=True)
class BodyOutput:
    """What a body model computed; only what was asked for is present.

    Joints are the posed kinematic joints. Keypoints are in the order of `keypoint_names`.
    """

    joints: Float[Tensor, 'B J 3'] | None = None
    vertices: Float[Tensor, 'B V 3'] | None = None
    keypoints: Float[Tensor, 'B K 3'] | None = None
    keypoint_names: tuple[str, ...] = ()
    joint_names: tuple[str, ...] = ()

    def select(self, names: Sequence[str]) -> Float[Tensor, 'B n 3']:
        """Pick points by joint or keypoint name, in the order given.

        Raises:
            KeyError: a name that was not computed, with the near ones.
        """
        names = tuple(names)
        if self.keypoints is not None and names == self.keypoint_names:
            return self.keypoints
        if self.joints is not None and names == self.joint_names:
            return self.joints
        table: dict[str, Any] = (
            {n: (self.joints, i) for i, n in enumerate(self.joint_names)} if self.joints is not None else {}
        )
        table |= {n: (self.keypoints, i) for i, n in enumerate(self.keypoint_names)}
        for name in names:
            if name not in table:
                raise UnknownNameError(f'BodyOutput: {name!r} was not computed. {did_you_mean(name, table)}')
        source = {id(table[n][0]): table[n][0] for n in names}
        if len(source) == 1:
            (points,) = source.values()
            return points[:, [table[n][1] for n in names]]
        return torch.stack([table[n][0][:, table[n][1]] for n in names], 1)
