"""The table of parameters: what stages, starts, results, files and training know of each.

A further parameter is one row, `register_parameter(ParameterSpec('deform_verts', ('V', 3), 'model unit'))`, and its
use in a subclass of the body model (`SMIL.frame_offsets`, `SMIL.rest_joints_of`, `SMIL.posed_skeleton`). Stages then
take `fit_deform_verts`, `BodyParams` carries it, and files keep it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle

Kind = Literal['rotation', 'scale', 'vector']


@dataclass(frozen=True)
class ParameterSpec:
    """What is known of a parameter.

    Args:
        name: an identifier; stages fit it by `fit_<name>`.
        shape: of one body's row: numbers, and the body's sizes by letter (J joints, S betas, E coefficients of the
            expression, V vertices, K landmarks whose offset is not
            known, G sizes of parts, C cameras, or one that a body of your own adds to `sizes`); `'J-1'` is one less.
        unit: of its numbers, in words.
        kind: a `'scale'` is positive and moves as its logarithm; a `'rotation'` is axis-angle in rad (the last
            dimension) or a matrix; a `'vector'` is any other.
        shared: whether one value serves a clip whose shape is shared.
        default_fit: fitted where a stage says nothing.
        optional: absent (None) until it is given or fitted, which is as good as resting.
        linear: whether rest positions of joints, skin or keypoints are linear in it: the body gives them by
            `joint_directions` and `vertex_directions`.
        of: whether it is the body's (a field of `BodyParams`) or the cameras' (in `FitState`).
    """

    name: str
    shape: tuple[str | int, ...]
    unit: str
    kind: Kind = 'vector'
    shared: bool = False
    default_fit: bool = False
    optional: bool = True
    linear: bool = False
    of: Literal['body', 'camera'] = 'body'

    def __post_init__(self) -> None:
        """Check name and kind."""
        if not self.name.isidentifier():
            raise ValueError(
                f'ParameterSpec: name must be an identifier; got {self.name!r}. Use letters and _.'
            )
        if self.kind not in get_args(Kind):
            raise ValueError(
                f'ParameterSpec {self.name}: kind must be one of {get_args(Kind)}; got {self.kind!r}.'
            )
        if self.kind == 'rotation' and self.shape[-1:] != (3,):
            raise ValueError(
                f'ParameterSpec {self.name}: the shape of a rotation must end in 3, an axis-angle; got {self.shape}. '
                "Use kind='vector' for anything else."
            )

    def row(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Return the shape of one body's row, of a body of these sizes.

        Raises:
            ValueError: a letter that is no size of the body.
        """
        return tuple(part if isinstance(part, int) else self._size(part, sizes) for part in self.shape)

    def _size(self, part: str, sizes: Mapping[str, int]) -> int:
        letter, _, less = part.partition('-')
        if letter not in sizes:
            raise ValueError(
                f'ParameterSpec {self.name}: letters of the shape must be sizes of the body, {", ".join(sizes)}; '
                f'got {part!r}. Add it to `sizes` of the body model.'
            )
        return sizes[letter] - int(less or 0)

    @property
    def ranks(self) -> tuple[int, ...]:
        """How many dimensions a batch may have: one more where rotations are matrices."""
        plain = 1 + len(self.shape)
        return (plain, plain + 1) if self.kind == 'rotation' else (plain,)

    def rest(self, row: tuple[int, ...], batch: int, like: Tensor) -> Tensor:
        """Return the value at rest (batch, *row): 1 of a scale, the identity of a matrix, else 0."""
        value = like.new_full((batch, *row), float(self.kind == 'scale'))
        return value + torch.eye(3).to(value) if self.is_matrix(value) else value

    def free(self, value: Tensor) -> Tensor:
        """Return what a solver moves and what is averaged: any numbers are allowed."""
        return value.log() if self.kind == 'scale' else value

    def from_free(self, value: Tensor) -> Tensor:
        """Undo `free`."""
        return value.exp() if self.kind == 'scale' else value

    def is_matrix(self, value: Tensor) -> bool:
        """Check whether a batch of rotations holds matrices."""
        return value.ndim == self.ranks[0] + 1 and self.kind == 'rotation'

    def as_axis_angle(self, value: Tensor) -> Tensor:
        """Return a rotation as axis-angle; anything else is unchanged."""
        return rotmat_to_axis_angle(value) if self.is_matrix(value) else value

    def as_matrix(self, value: Tensor) -> Tensor:
        """Return a rotation as a matrix; anything else is unchanged."""
        return value if self.kind != 'rotation' or self.is_matrix(value) else axis_angle_to_rotmat(value)

    def check(self, where: str, value: Tensor, sizes: Mapping[str, int], batch: int, advice: str) -> None:
        """Check the shape of a batch's rows against a body of these sizes.

        Args:
            where: begins the message.
            value: the numbers.
            sizes: the body's.
            batch: of how many bodies the message speaks.
            advice: ends the message.

        Raises:
            ValueError: rows of another shape.
        """
        row = self.row(sizes)
        allowed = (row, (*row, 3)) if self.kind == 'rotation' else (row,)
        if tuple(value.shape[1:]) not in allowed:
            wanted = ' or '.join(str((batch, *shape)) for shape in allowed)
            raise ValueError(f'{where}{self.name} must be {wanted}; got {tuple(value.shape)}. {advice}')


# In the order in which a stage's unknowns stand.
PARAMETERS: dict[str, ParameterSpec] = {}


def register_parameter(spec: ParameterSpec) -> ParameterSpec:
    """Add a parameter to the table. The same one again changes nothing.

    Raises:
        ValueError: another parameter of this name, a name that `BodyParams` uses, or one that is not optional.
    """
    # body.py reads this table, so it is imported when first needed.
    from smilfit.structures.body import BodyParams

    if spec.name in (*dir(BodyParams), *BodyParams.__dataclass_fields__):
        raise ValueError(
            f'register_parameter: a name must be free in BodyParams; got {spec.name!r}. Rename yours.'
        )
    known = PARAMETERS.get(spec.name, spec)
    if known != spec:
        raise ValueError(
            f'register_parameter: {spec.name!r} must be registered once; it is {known}. Rename yours.'
        )
    if not spec.optional or spec.of != 'body':
        raise ValueError(
            f'register_parameter: {spec.name!r} must be an optional one of the body; got optional={spec.optional}, '
            f'of={spec.of!r}. Bodies of before do not have it.'
        )
    PARAMETERS[spec.name] = spec
    return spec


def parameter_names(**having: Any) -> tuple[str, ...]:
    """List the parameters whose specs have these values, such as `of='body', shared=True`."""
    return tuple(n for n, spec in PARAMETERS.items() if all(getattr(spec, k) == v for k, v in having.items()))


_BUILT_IN = (
    ParameterSpec('global_orient', (3,), 'rad', 'rotation', default_fit=True, optional=False),
    ParameterSpec('transl', (3,), 'world unit', default_fit=True, optional=False),
    ParameterSpec('body_pose', ('J-1', 3), 'rad', 'rotation', default_fit=True, optional=False),
    ParameterSpec(
        'betas', ('S',), 'coefficients', shared=True, default_fit=True, optional=False, linear=True
    ),
    ParameterSpec('expression', ('E',), 'coefficients', linear=True),
    ParameterSpec('scale', (), 'world unit per model unit', 'scale', shared=True, optional=False),
    ParameterSpec('log_joint_scales', ('J', 3), 'logarithm', shared=True),
    ParameterSpec('joint_offsets', ('J', 3), 'model unit', shared=True, linear=True),
    ParameterSpec('landmark_offsets', ('K', 3), 'model unit', shared=True, linear=True),
    ParameterSpec('part_sizes', ('G',), 'share of the size', shared=True, linear=True),
    ParameterSpec('cameras', ('C', 6), 'rad and world unit', shared=True, of='camera'),
    # The logarithm of a factor on focal lengths.
    ParameterSpec('focal', (), 'logarithm', shared=True, of='camera'),
)
PARAMETERS |= {spec.name: spec for spec in _BUILT_IN}
