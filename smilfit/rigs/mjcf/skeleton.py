"""Joints of an MJCF model: bodies that turn by hinges or balls become the joints of a rig, ranges their limits."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle
from smilfit.rigs.mjcf.bodies import BALL, FREE, HINGE, SLIDE, MjcfBody, MjcfJoint
from smilfit.rigs.mjcf.document import Frame

# Hinges whose axes have a smaller cosine are at right angles, and places nearer than this share of the size are one.
RIGHT_ANGLE, SAME_PLACE = 1e-3, 1e-6
# Ranges that would be off by more as limits of one joint stay those of hinges, rad.
MOST_BOX_RAD = np.radians(5.0)
# Angles of each hinge that are tried, ends and rest included.
_STEPS = 7


@dataclass(frozen=True)
class MjcfSkeleton:
    """Joints of a model, parents first; arrays as in `Rig`. `of_body` names the joint that carries each body."""

    names: tuple[str, ...]
    parents: np.ndarray
    rest: Float[np.ndarray, 'J 4 4']
    axes: Float[np.ndarray, 'J 3 3']
    limits_rad: Float[np.ndarray, 'J 3 2']
    of_body: Mapping[str, int]
    hinges: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def skeleton_of(bodies: Sequence[MjcfBody], frames: Sequence[Frame], size: float) -> MjcfSkeleton:
    """Make joints of bodies.

    Args:
        bodies: parents first.
        frames: in the world at rest.
        size: of the animal, the model's unit.
    """
    made = _Skeleton({b.name for b in bodies})
    for body, frame in zip(bodies, frames):
        made.add(body, frame, SAME_PLACE * size)
    return made.done()


class _Skeleton:
    def __init__(self, reserved: set[str]) -> None:
        self.taken = set(reserved)
        self.names: list[str] = []
        self.parents: list[int] = []
        self.rest: list[np.ndarray] = []
        self.axes: list[np.ndarray] = []
        self.limits: list[np.ndarray] = []
        self.hinges: list[tuple[str, ...]] = []
        self.of_body: list[int] = []
        self.by_name: dict[str, int] = {}
        self.notes: list[str] = []
        self.welded = self.merged = self.parted = 0
        self.corner = 0.0

    def add(self, body: MjcfBody, frame: Frame, near: float) -> None:
        slides = [j.name for j in body.joints if j.kind == SLIDE]
        if body.parent < 0:
            self._root(body, frame)
        else:
            if slides:
                self.notes.append(f'slides stay where they are at rest: {", ".join(slides)}')
            turning = [j for j in body.joints if j.kind in (HINGE, BALL)]
            parent = self.of_body[body.parent]
            groups: list[list[MjcfJoint]] = []
            for group in _groups(turning, near):
                off = _box_of(group)
                self.corner = max(self.corner, off if off <= MOST_BOX_RAD else 0.0)
                self.merged += len(group) > 1 and off <= MOST_BOX_RAD
                self.parted += off > MOST_BOX_RAD
                groups += [group] if off <= MOST_BOX_RAD else [[joint] for joint in group]
            for i, group in enumerate(groups):
                last = i == len(groups) - 1
                parent = self._joint(body.name if last else self._free_name(group), parent, frame, group)
            self.welded += not groups
            self.of_body.append(parent)
        self.by_name[body.name] = self.of_body[-1]

    def done(self) -> MjcfSkeleton:
        if self.welded:
            self.notes.append(f'{self.welded} bodies without a joint hang on the joint above them')
        if self.merged:
            self.notes.append(
                f'{self.merged} joints are of two or three hinges: their ranges hold for the components of the '
                f'rotation vector, at most {np.degrees(self.corner):.1f} degrees off where several are at their ends'
            )
        if self.parted:
            self.notes.append(
                f'{self.parted} bodies turn by two or three joints, one after the other, each with the range of its '
                f'hinge: in one joint, ranges would be off by more than {np.degrees(MOST_BOX_RAD):.0f} degrees'
            )
        return MjcfSkeleton(
            tuple(self.names), np.array(self.parents), np.stack(self.rest), np.stack(self.axes),
            np.stack(self.limits), self.by_name, tuple(self.hinges), tuple(self.notes),
        )  # fmt: skip

    def _root(self, body: MjcfBody, frame: Frame) -> None:
        """The root goes and turns as it likes, whatever joints it has."""
        others = [j.name for j in body.joints if j.kind != FREE]
        if others:
            self.notes.append(f'the root moves freely, whatever joints it has: {", ".join(others)}')
        self._append(body.name, -1, frame.matrix(), np.eye(3), np.tile([-np.pi, np.pi], (3, 1)), ())
        self.of_body.append(len(self.names) - 1)

    def _joint(self, name: str, parent: int, frame: Frame, group: Sequence[MjcfJoint]) -> int:
        at = Frame(frame.rotation, frame.rotation @ group[0].place + frame.place)
        if group[0].kind == BALL:
            most = np.pi if group[0].span is None else min(abs(group[0].span[1]), np.pi)
            axes, limits = frame.rotation, np.tile([-most, most], (3, 1))
        else:
            axes, limits = _hinge_axes([frame.rotation @ j.axis for j in group], [j.span for j in group])
        self._append(name, parent, at.matrix(), axes, limits, tuple(j.name for j in group))
        return len(self.names) - 1

    def _append(
        self,
        name: str,
        parent: int,
        rest: np.ndarray,
        axes: np.ndarray,
        limits: np.ndarray,
        hinges: tuple[str, ...],
    ) -> None:
        self.names.append(name)
        self.parents.append(parent)
        self.rest.append(rest)
        self.axes.append(axes)
        self.limits.append(limits)
        self.hinges.append(hinges)

    def _free_name(self, group: Sequence[MjcfJoint]) -> str:
        name = group[0].name
        while name in self.taken:
            name += '_hinge'
        self.taken.add(name)
        return name


def _box_of(group: Sequence[MjcfJoint]) -> float:
    """Return how far ranges of hinges are off as limits of one joint, rad; 0 for a joint by itself."""
    if len(group) < 2:
        return 0.0
    return max(box_error([j.axis for j in group], [j.span or (-np.pi, np.pi) for j in group]))


def _groups(joints: Sequence[MjcfJoint], near: float) -> list[list[MjcfJoint]]:
    """Put together what one joint can be, in order."""
    groups: list[list[MjcfJoint]] = []
    for joint in joints:
        fits = bool(groups) and joint.kind == HINGE == groups[-1][0].kind and len(groups[-1]) < 3
        if fits and all(
            abs(joint.axis @ other.axis) < RIGHT_ANGLE and np.linalg.norm(joint.place - other.place) <= near
            for other in groups[-1]
        ):
            groups[-1].append(joint)
        else:
            groups.append([joint])
    return groups


def _hinge_axes(
    hinges: Sequence[np.ndarray], spans: Sequence[tuple[float, float] | None]
) -> tuple[np.ndarray, np.ndarray]:
    """Complete one to three axes at right angles to a right-handed frame, each near the axis of the model it fits.

    Returns:
        Axes (3, 3) as columns, and the limits (3, 2) along them: 0 to 0 where there is no hinge.
    """
    axes, limits = np.zeros((3, 3)), np.zeros((3, 2))
    free = [0, 1, 2]
    for axis, span in zip(hinges, spans):
        column = max(free, key=lambda c: abs(axis[c]))
        free.remove(column)
        axes[:, column] = axis
        limits[column] = (-np.pi, np.pi) if span is None else np.clip(span, -np.pi, np.pi)
    if len(free) == 2:
        known = axes[:, next(c for c in range(3) if c not in free)]
        other = np.eye(3)[:, free[0]] - known[free[0]] * known
        axes[:, free[0]] = other / np.linalg.norm(other)
        free = free[1:]
    if free:
        column = free[0]
        axes[:, column] = np.cross(axes[:, (column + 1) % 3], axes[:, (column + 2) % 3])
    # What right angles lack to the last digit.
    left, _, right = np.linalg.svd(axes)
    axes = left @ right
    if np.linalg.det(axes) < 0:
        axes[:, 2], limits[2] = -axes[:, 2], -limits[2, ::-1]
    return axes, limits


class BoxError(NamedTuple):
    """What a box of limits makes of ranges, rad: how far a hinge goes beyond its own, and how much of it is lost."""

    beyond: float
    lost: float


def box_error(axes: Sequence[np.ndarray], spans: Sequence[tuple[float, float]]) -> BoxError:
    """Measure what becomes of the ranges of two or three hinges at right angles as limits along the same axes.

    A body turns by R = R_1(a) R_2(b) R_3(c), each angle within its range. The limits are those ranges of the
    components of R's rotation vector. Both sets are sampled to their corners.

    Args:
        axes: of the hinges in their order, of length 1.
        spans: least and greatest angle of each, rad.
    """
    frame = np.stack((axes[0], axes[1], np.cross(axes[0], axes[1])), 1)
    sign = np.array([1.0, 1.0, np.sign(frame[:, 2] @ axes[2]) if len(axes) == 3 else 1.0])
    low, high = np.zeros(3), np.zeros(3)
    low[: len(spans)], high[: len(spans)] = zip(*spans)
    grid = np.stack(np.meshgrid(*(_tried(a, b) for a, b in zip(low, high)), indexing='ij'), -1).reshape(-1, 3)
    vectors = torch.from_numpy(grid * sign)
    first, second, third = (axis_angle_to_rotmat(v) for v in torch.diag_embed(vectors).unbind(-2))
    components = rotmat_to_axis_angle(first @ second @ third).numpy() * sign
    hinges = _hinge_angles(axis_angle_to_rotmat(vectors).numpy()) * sign
    return BoxError(_outside(hinges, low, high), _outside(components, low, high))


def _tried(low: float, high: float) -> np.ndarray:
    return np.unique(np.append(np.linspace(low, high, _STEPS), np.clip(0.0, low, high)))


def _hinge_angles(turns: Float[np.ndarray, 'n 3 3']) -> Float[np.ndarray, 'n 3']:
    """Return a, b, c of R = R_x(a) R_y(b) R_z(c)."""
    a = np.arctan2(-turns[:, 1, 2], turns[:, 2, 2])
    b = np.arcsin(turns[:, 0, 2].clip(-1, 1))
    return np.stack((a, b, np.arctan2(-turns[:, 0, 1], turns[:, 0, 0])), 1)


def _outside(angles: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    beyond = np.maximum(low - angles, angles - high)
    return min(float(beyond.max().clip(0)), math.pi)
