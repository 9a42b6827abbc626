"""Parameters that go into a body model, and what comes out."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.registry import UnknownNameError, did_you_mean, reject_unknown
from smilfit.structures.parameters import PARAMETERS, parameter_names


@dataclass(frozen=True)
class BodyParams:
    """Parameters of a rigged body, named as in smplx, with the SMIL extras beside them.

    `x_world = scale * posed(x_model) + transl`. Rotations are axis-angle in rad, or matrices, which are then
    used as they are. Expression belongs to its frame, where betas may be one for a whole clip. `further` holds
    registered parameters that have no field here; all are attributes, None where absent.
    """

    global_orient: Float[Tensor, 'B 3'] | Float[Tensor, 'B 3 3']
    body_pose: Float[Tensor, 'B j 3'] | Float[Tensor, 'B j 3 3']
    betas: Float[Tensor, 'B S']
    transl: Float[Tensor, 'B 3']
    scale: Float[Tensor, 'B']
    log_joint_scales: Float[Tensor, 'B J 3'] | None = None
    joint_offsets: Float[Tensor, 'B J 3'] | None = None
    expression: Float[Tensor, 'B E'] | None = None
    landmark_offsets: Float[Tensor, 'B K 3'] | None = None
    part_sizes: Float[Tensor, 'B G'] | None = None
    further: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that further parameters are registered and have a row a body."""
        if not self.further:
            return
        known = [n for n in parameter_names(of='body') if n not in self.__dataclass_fields__]
        reject_unknown('BodyParams', 'further parameter', self.further, known)
        for name, value in self.further.items():
            if value.shape[:1] != self.transl.shape[:1]:
                raise ValueError(
                    f'BodyParams: {name} must have {self.batch_size} rows, as transl has; got {tuple(value.shape)}. '
                    'Expand what all bodies share.'
                )

    def __getattr__(self, name: str) -> Tensor | None:
        """Return a further parameter; None where it is absent."""
        if name in PARAMETERS and PARAMETERS[name].of == 'body':
            return self.further.get(name)
        raise AttributeError(f'BodyParams has no {name!r}. {did_you_mean(name, parameter_names(of="body"))}')

    @classmethod
    def of(cls, values: Mapping[str, Tensor | None]) -> 'BodyParams':
        """Put parameters together by name, further ones too; None is absent."""
        own: dict[str, Any] = {n: v for n, v in values.items() if n in cls.__dataclass_fields__}
        return cls(**own, further={n: v for n, v in values.items() if n not in own and v is not None})

    @classmethod
    def zeros(cls, batch_size: int, n_joints: int, n_betas: int, like: Tensor | None = None) -> 'BodyParams':
        """Make the rest pose of the mean shape at the origin, scale 1."""
        like, sizes = torch.zeros(()) if like is None else like, {'J': n_joints, 'S': n_betas}
        specs = [PARAMETERS[n] for n in parameter_names(of='body', optional=False)]
        return cls.of({s.name: s.rest(s.row(sizes), batch_size, like) for s in specs})

    @property
    def batch_size(self) -> int:
        """How many bodies (frames)."""
        return self.transl.shape[0]

    @property
    def n_joints(self) -> int:
        """How many joints, the root included."""
        return self.body_pose.shape[1] + 1

    def rotations(self) -> Float[Tensor, 'B J 3 3']:
        """Return every joint's rotation in its parent's frame as a matrix, the root's first."""
        stacked = self.stacked_axis_angle()
        if stacked is not None:
            return axis_angle_to_rotmat(stacked)
        root, rest = self.global_orient, self.body_pose
        root = axis_angle_to_rotmat(root) if root.ndim == 2 else root
        rest = axis_angle_to_rotmat(rest) if rest.ndim == 3 else rest
        return torch.cat((root.unsqueeze(1), rest), 1)

    def stacked_axis_angle(self) -> Float[Tensor, 'B J 3'] | None:
        """Return every joint's axis-angle, the root's first; None where one is a matrix."""
        if self.global_orient.ndim != 2 or self.body_pose.ndim != 3:
            return None
        return torch.cat((self.global_orient.unsqueeze(1), self.body_pose), 1)

    def as_axis_angle(self) -> 'BodyParams':
        """Return the same parameters with rotations as axis-angle; unchanged where they are already."""
        return BodyParams.of({n: PARAMETERS[n].as_axis_angle(v) for n, v in self.as_dict().items()})

    def as_dict(self) -> dict[str, Tensor]:
        """Return the parameters that are present, by name."""
        named = {n: getattr(self, n) for n in self.__dataclass_fields__ if n != 'further'}
        return {n: v for n, v in {**named, **self.further}.items() if v is not None}

    def replace(self, **changes: Tensor | None) -> 'BodyParams':
        """Return a copy with some parameters exchanged."""
        return BodyParams.of(self.as_dict() | changes)

    def with_rest(self, names: Collection[str], sizes: Mapping[str, int]) -> 'BodyParams':
        """Return a copy in which named parameters that are absent are at rest, where a body of these sizes has
        any."""
        absent = [n for n in parameter_names(of='body') if n in names and getattr(self, n) is None]
        rows = {n: PARAMETERS[n].row(sizes) for n in absent}
        like, batch = self.transl, self.batch_size
        return self.replace(
            **{n: PARAMETERS[n].rest(row, batch, like) for n, row in rows.items() if 0 not in row}
        )

    def map(self, function: Callable[[Tensor], Tensor]) -> 'BodyParams':
        """Apply a tensor function to every parameter that is present."""
        return BodyParams.of({name: function(value) for name, value in self.as_dict().items()})

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
        """Join batches; what some have and others lack is at rest in those."""
        every = {name: value for p in params for name, value in p.as_dict().items()}

        def rows(of: 'BodyParams', name: str) -> Tensor:
            value, like = getattr(of, name), every[name]
            return PARAMETERS[name].rest(like.shape[1:], of.batch_size, like) if value is None else value

        return BodyParams.of({name: joined_rows([rows(p, name) for p in params]) for name in every})

    def kept_once(self) -> 'BodyParams':
        """Return the same, with one row in memory of what frames may share and all of these have alike."""
        return BodyParams.of(
            {n: _one_row(v) if PARAMETERS[n].shared else v for n, v in self.as_dict().items()}
        )


def joined_rows(parts: Sequence[Tensor]) -> Tensor:
    """Join rows; where each part is a row that is expanded, and all are the same one, so is what comes out."""
    if all(part.stride(0) == 0 and len(part) for part in parts):
        first = parts[0][:1]
        if all(torch.equal(part[:1], first) for part in parts):
            return first.expand(sum(map(len, parts)), *first.shape[1:])
    return torch.cat(list(parts))


def _one_row(rows: Tensor) -> Tensor:
    first = rows[:1]
    if len(rows) < 2 or not bool((rows == first).all()):
        return rows
    return first.clone().expand_as(rows)


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


# What lies between is small beside the libraries' own memory, and a block is long enough to be as fast as the whole.
FRAMES = 2048


def by_blocks(n: int, compute: Callable[[slice], Tensor], size: int = FRAMES) -> Tensor:
    """Join what is computed of each block of frames: the memory of what lies between does not grow with n.

    Args:
        n: frames in all.
        compute: gives the numbers of the frames of a slice, one row a frame, on its own for each.
        size: frames of a block.
    """
    starts = range(0, max(n, 1), size)
    return torch.cat([compute(slice(start, min(start + size, n))) for start in starts])


MILLIMETRES = {'mm': 1.0, 'cm': 10.0, 'm': 1000.0, 'um': 1e-3}
