"""Where a second-order fit stands: rotations as quaternions, all else as in `BodyParams`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.geometry.damping import LONGEST_ROTATION
from smilfit.geometry.rotation import axis_angle_to_quat, multiply, quat_to_axis_angle, quat_to_rotmat
from smilfit.structures import BodyParams


def axis_angles(params: BodyParams) -> Float[Tensor, 'B J 3']:
    """Return every joint's rotation vector, of parameters that hold no matrices."""
    result = params.stacked_axis_angle()
    assert result is not None
    return result


@dataclass(frozen=True)
class VariableState:
    """B bodies. `extras` holds the parameters that are not rotations or translation, by name.

    Extras are those of `BodyParams`, scale as `log_scale`; one row stands for all frames where it is shared.
    """

    quats: Float[Tensor, 'B J 4']
    transl: Float[Tensor, 'B 3']
    extras: dict[str, Tensor]

    @classmethod
    def from_params(
        cls,
        params: BodyParams,
        fitted: Mapping[str, bool],
        camera_shift: Float[Tensor, 'C 6'] | None = None,
    ) -> 'VariableState':
        """Take parameters apart.

        Args:
            params: rotations as axis-angle.
            fitted: names of the extras that move, and whether each is shared by all frames.
            camera_shift: corrections of the cameras; they are the extra `'cameras'`.
        """
        quats = axis_angle_to_quat(axis_angles(params))
        extras = {'log_scale': params.scale.log()}
        for name, value in params.as_dict().items():
            if name not in ('global_orient', 'body_pose', 'transl', 'scale'):
                extras[name] = value
        if camera_shift is not None:
            extras['cameras'] = camera_shift.unsqueeze(0)
        for name, shared in fitted.items():
            if name not in extras:
                # A parameter without numbers, as of a model without expression, is not among those of a body.
                shape = (params.n_joints, 3) if name in ('log_joint_scales', 'joint_offsets') else (0,)
                extras[name] = params.transl.new_zeros(params.batch_size, *shape)
            if shared:
                # About the first row: of equal rows the mean is that row, whatever their number.
                first = extras[name][:1]
                extras[name] = first + (extras[name] - first).mean(0, keepdim=True)
        return cls(quats, params.transl, extras)

    @property
    def batch_size(self) -> int:
        """How many frames."""
        return self.transl.shape[0]

    @property
    def camera_shift(self) -> Float[Tensor, 'C 6'] | None:
        """Corrections of the cameras, as in `Cameras.shifted`."""
        return self.extras['cameras'][0] if 'cameras' in self.extras else None

    @staticmethod
    def cat(points: list['VariableState']) -> 'VariableState':
        """Join blocks of frames, of which the first has several; what they share is one row in each."""
        if len(points) == 1:
            return points[0]
        first = points[0]
        extras = {}
        for name, value in first.extras.items():
            shared = len(value) == 1 and first.batch_size > 1
            extras[name] = value if shared else torch.cat([p.extras[name] for p in points])
        quats, transl = torch.cat([p.quats for p in points]), torch.cat([p.transl for p in points])
        return VariableState(quats, transl, extras)

    def rotations(self) -> Float[Tensor, 'B J 3 3']:
        """Return every joint's rotation in its parent's frame."""
        return quat_to_rotmat(self.quats)

    def params(self) -> BodyParams:
        """Put the parameters together, rotations as axis-angle."""
        axis_angle = quat_to_axis_angle(self.quats)
        extras = {
            n: v.expand(self.batch_size, *v.shape[1:])
            for n, v in self.extras.items()
            if n != 'cameras' and (n == 'betas' or v.numel())
        }
        scale = extras.pop('log_scale').exp()
        return BodyParams.of(
            {
                'global_orient': axis_angle[:, 0],
                'body_pose': axis_angle[:, 1:],
                'transl': self.transl,
                'scale': scale,
                **extras,
            }
        )

    def moved(
        self,
        turns: Float[Tensor, 'B J 3'],
        parents: Float[Tensor, 'B J 3 3'],
        shift: Float[Tensor, 'B 3'],
        extras: dict[str, Tensor],
    ) -> 'VariableState':
        """Take a step.

        Args:
            turns: small rotations of the joints in the world's frame, rad.
            parents: each joint's parent's rotation in the world (of the root: the identity).
            shift: of the translation.
            extras: of the extras that move.
        """
        length = turns.norm(dim=-1, keepdim=True)
        turns = turns * (LONGEST_ROTATION / length.clamp_min(LONGEST_ROTATION))
        local = (parents.transpose(-1, -2) @ turns.unsqueeze(-1)).squeeze(-1)
        quats = multiply(axis_angle_to_quat(local), self.quats)
        quats = quats / quats.norm(dim=-1, keepdim=True)
        changed = {n: self.extras[n] + d.reshape(-1, *self.extras[n].shape[1:]) for n, d in extras.items()}
        if 'cameras' in extras:
            step = extras['cameras'].reshape(-1, 6)
            changed['cameras'] = _rotated_cameras(self.extras['cameras'][0], step).unsqueeze(0)
        return VariableState(quats, self.transl + shift, self.extras | changed)

    def map(self, function: Callable[[Tensor], Tensor]) -> 'VariableState':
        """Apply a function to every tensor that has a row a frame."""
        rows = self.batch_size
        extras = {
            n: v if n == 'cameras' or v.shape[0] != rows else function(v) for n, v in self.extras.items()
        }
        return VariableState(function(self.quats), function(self.transl), extras)

    def take(self, index: Tensor) -> 'VariableState':
        """Pick frames."""
        return self.map(lambda x: x[index])

    def put(self, index: Tensor, other: 'VariableState') -> 'VariableState':
        """Return a copy in which some frames are another point's."""

        def merged(mine: Tensor, theirs: Tensor) -> Tensor:
            return theirs if mine.shape[0] != self.batch_size else mine.index_copy(0, index, theirs)

        extras = {n: merged(v, other.extras[n]) for n, v in self.extras.items()}
        return VariableState(merged(self.quats, other.quats), merged(self.transl, other.transl), extras)

    def where(self, accept: Tensor, other: 'VariableState') -> 'VariableState':
        """Return this point where `accept` is False and another where it is True."""

        def chosen(mine: Tensor, theirs: Tensor) -> Tensor:
            if mine.shape[0] != len(accept):
                # What frames share is accepted for all or none.
                return theirs if bool(accept.all()) else mine
            mask = accept.reshape(-1, *(1,) * (mine.ndim - 1))
            return torch.where(mask, theirs, mine)

        extras = {n: chosen(v, other.extras[n]) for n, v in self.extras.items()}
        return replace(
            self,
            quats=chosen(self.quats, other.quats),
            transl=chosen(self.transl, other.transl),
            extras=extras,
        )


def _rotated_cameras(shift: Float[Tensor, 'C 6'], step: Float[Tensor, 'C 6']) -> Float[Tensor, 'C 6']:
    """Correct corrected cameras: first `shift`, then `step`."""
    rotation = axis_angle_to_quat(step[:, :3])
    angle = quat_to_axis_angle(multiply(rotation, axis_angle_to_quat(shift[:, :3])))
    moved = (quat_to_rotmat(rotation) @ shift[:, 3:].unsqueeze(-1)).squeeze(-1) + step[:, 3:]
    # Cameras that stay keep every bit.
    return torch.where(step.any(1, keepdim=True), torch.cat((angle, moved), 1), shift)


@dataclass(frozen=True)
class VariableLayout:
    """The columns of a frame: turns of the joints that may turn, translation, own extras; then shared extras.

    Args:
        free: indices of the joints that turn.
        transl: whether the body may move.
        own: names and sizes of the extras that each frame has for itself.
        shared: names and sizes of the extras that all frames share.
        cameras: places of the cameras that move, six columns each; empty where none does.
    """

    free: Tensor
    transl: bool
    own: tuple[tuple[str, int], ...]
    shared: tuple[tuple[str, int], ...]
    cameras: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        body: SMIL,
        free: list[int],
        transl: bool,
        fitted: dict[str, bool],
        at: VariableState,
        cameras: tuple[int, ...] | None = None,
    ) -> 'VariableLayout':
        """Lay out the unknowns; an extra without numbers (a model without betas) is left out.

        Of `cameras` that are fitted all move where none are named.
        """
        sizes = {name: at.extras[name][0].numel() for name in fitted}
        if 'cameras' in fitted:
            cameras = tuple(range(len(at.extras['cameras'][0]))) if cameras is None else cameras
            sizes['cameras'] = 6 * len(cameras)
        own = tuple((n, sizes[n]) for n, shared in fitted.items() if not shared and sizes[n])
        common = tuple((n, sizes[n]) for n, shared in fitted.items() if shared and sizes[n])
        return cls(
            torch.tensor(free, dtype=torch.long, device=body.v_template.device),
            transl,
            own,
            common,
            cameras or (),
        )

    @property
    def n_pose(self) -> int:
        """How many columns are turns and translation."""
        return 3 * len(self.free) + 3 * self.transl

    @property
    def n_own(self) -> int:
        """How many columns a frame has for itself."""
        return self.n_pose + sum(size for _, size in self.own)

    @property
    def n_shared(self) -> int:
        """How many columns all frames share."""
        return sum(size for _, size in self.shared)

    @property
    def extras(self) -> tuple[tuple[str, int], ...]:
        """The extras in the order of their columns."""
        return (*self.own, *self.shared)

    def extra_columns(self) -> dict[str, slice]:
        """Return the columns of every extra."""
        at, result = self.n_pose, {}
        for name, size in self.extras:
            result[name] = slice(at, at + size)
            at += size
        return result
