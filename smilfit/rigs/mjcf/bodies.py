"""The bodies of an MJCF model: where they stand at rest, what they turn about, and the points marked on them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Float

from smilfit.files import BadFileError, check_budget, shorten
from smilfit.rigs.limits import box_error
from smilfit.rigs.mjcf.document import (
    MAIN,
    WORLD,
    Frame,
    MjcfDocument,
    axis_turn,
    frame_of,
    unit_axis,
    vector,
)

HINGE, BALL, SLIDE, FREE = 'hinge', 'ball', 'slide', 'free'
# Animals have hundreds; of more no fit is possible.
MOST_BODIES = 10_000


@dataclass(frozen=True)
class MjcfJoint:
    """A degree of freedom of a body, in the body's own frame.

    Args:
        name: of the joint.
        kind: hinge, ball, slide or free.
        place: what it turns about.
        axis: of a hinge or slide, of unit length.
        span: least and greatest angle from rest, rad; of a ball the greatest turn; None where it has no limits.
    """

    name: str
    kind: str
    place: Float[np.ndarray, '3']
    axis: Float[np.ndarray, '3']
    span: tuple[float, float] | None


@dataclass(frozen=True)
class MjcfGeom:
    """A shape on a body as the document has it: its element, the frame around it, the class it is of by default."""

    element: Element
    around: Frame
    childclass: str


@dataclass(frozen=True)
class MjcfBody:
    """A body, its frame in its parent's at rest, and what moves it there, outermost first; parent -1 is the world."""

    name: str
    parent: int
    local: Frame
    joints: tuple[MjcfJoint, ...]
    sites: Mapping[str, Float[np.ndarray, '3']]
    geoms: tuple[MjcfGeom, ...] = ()


def read_bodies(document: MjcfDocument) -> tuple[tuple[MjcfBody, ...], tuple[str, ...]]:
    """List all bodies, parents first, and in words what was left out.

    Raises:
        BadFileError: no body, a name twice, or numbers that cannot be.
    """
    reader = _Bodies(document)
    for element, frame, childclass in reader.children(document.every('worldbody'), WORLD, MAIN):
        reader.add(element, -1, frame, childclass)
    if not reader.found:
        raise BadFileError(
            f'{document.path}: a model must have bodies in <worldbody>; got none. Is an included file missing?'
        )
    return tuple(reader.found), tuple(dict.fromkeys(reader.notes))


def rest_frames(bodies: tuple[MjcfBody, ...]) -> list[Frame]:
    """Return every body's frame in the world at rest."""
    return posed_frames(bodies, {})


def posed_frames(bodies: tuple[MjcfBody, ...], angles: Mapping[str, float]) -> list[Frame]:
    """Return every body's frame in the world, hinges at angles from rest by name, rad; all else stays at rest.

    Each joint turns the body about its axis, which the joints before it have turned, through its place.
    """
    result: list[Frame] = []
    for body in bodies:
        frame = WORLD if body.parent < 0 else result[body.parent]
        frame = frame.then(body.local)
        for joint in body.joints:
            angle = angles.get(joint.name, 0.0)
            if joint.kind == HINGE and angle:
                rotation = axis_turn(joint.axis, angle)
                frame = frame.then(Frame(rotation, joint.place - rotation @ joint.place))
        result.append(frame)
    return result


class _Bodies:
    def __init__(self, document: MjcfDocument) -> None:
        self.document = document
        self.found: list[MjcfBody] = []
        self.notes: list[str] = []
        self.names: set[str] = set()
        self.sites: set[str] = set()
        self.joints: set[str] = set()

    def children(
        self, elements: Iterator[Element], frame: Frame, childclass: str
    ) -> Iterator[tuple[Element, Frame, str]]:
        """Go through elements and those in <frame>s, each with the frame it stands in."""
        for element in elements:
            if element.tag == 'frame':
                where = f'{self.document.path}: a <frame>'
                inner = frame.then(frame_of(element.attrib, self.document.compiler, where))
                yield from self.children(iter(element), inner, element.get('childclass', childclass))
            elif element.tag == 'replicate':
                raise BadFileError(
                    f'{self.document.path}: bodies must be written out; got <replicate>, which has MuJoCo make them. '
                    'Open it in MuJoCo and save it as XML, which writes them out.'
                )
            elif element.tag in ('attach', 'composite', 'flexcomp'):
                self.notes.append(f'<{element.tag}> is left out, with all it would make')
            elif element.tag in ('body', 'joint', 'freejoint', 'site', 'geom'):
                yield element, frame, childclass

    def add(self, element: Element, parent: int, frame: Frame, childclass: str) -> None:
        if element.tag != 'body':
            return
        document, number = self.document, len(self.found)
        check_budget(document.path, 'bodies', number + 1, MOST_BODIES, 'of them')
        name = _unique(element.get('name') or f'body_{number}', self.names, f'{document.path}: bodies')
        where = f'{document.path}: body {shorten(name)}'
        childclass = element.get('childclass', childclass)
        local = frame.then(frame_of(element.attrib, document.compiler, where))
        inner = list(self.children(iter(element), WORLD, childclass))
        joints: list[MjcfJoint] = []
        sites: dict[str, np.ndarray] = {}
        for child, around, its_class in inner:
            if child.tag in ('joint', 'freejoint'):
                joints.append(self._joint(child, around, its_class, f'{name}_joint{len(joints)}', where))
            elif child.tag == 'site':
                attributes = document.attributes(child, its_class)
                label = _unique(
                    attributes.get('name') or f'site_{len(self.sites)}', self.sites, f'{document.path}: sites'
                )
                place = vector(attributes, 'pos', '0 0 0', where)
                sites[label] = around.turn @ place + around.place
        # Read where they are needed: most models have a skin, and geoms of which files are missing.
        geoms = tuple(
            MjcfGeom(child, around, its_class) for child, around, its_class in inner if child.tag == 'geom'
        )
        self.found.append(MjcfBody(name, parent, local, tuple(joints), sites, geoms))
        for child, around, its_class in inner:
            self.add(child, number, around, its_class)

    def _joint(self, element: Element, around: Frame, childclass: str, name: str, where: str) -> MjcfJoint:
        document = self.document
        free = element.tag == 'freejoint'
        given = dict(element.attrib) if free else document.attributes(element, childclass)
        name = _unique(given.get('name') or name, self.joints, f'{document.path}: joints')
        where = f'{where}, joint {shorten(name)}'
        kind = FREE if free else given.get('type', HINGE)
        if kind not in (HINGE, BALL, SLIDE, FREE):
            raise BadFileError(
                f'{where}: type must be hinge, ball, slide or free; got {shorten(kind)!r}. Correct it.'
            )
        place = around.turn @ vector(given, 'pos', '0 0 0', where) + around.place
        axis = np.array([0.0, 0.0, 1.0])
        if kind in (HINGE, SLIDE):
            axis = around.turn @ unit_axis(given, where)
        return MjcfJoint(name, kind, place, axis, self._span(given, kind, where))

    def _span(self, given: Mapping[str, str], kind: str, where: str) -> tuple[float, float] | None:
        """Read a range, from the pose at rest, where `ref` is the joint's angle."""
        limited = given.get('limited', 'auto')
        if limited == 'false' or kind in (FREE, SLIDE):
            return None
        if limited == 'auto' and not (self.document.compiler.autolimits and 'range' in given):
            return None
        low, high = vector(given, 'range', '0 0', where)
        if low >= high:
            raise BadFileError(
                f'{where}: range must rise where the joint is limited; got {low} to {high}. Correct it.'
            )
        factor = np.pi / 180 if self.document.compiler.degrees else 1.0
        ref = vector(given, 'ref', '0', where)[0] if kind == HINGE else 0.0
        return float(factor * (low - ref)), float(factor * (high - ref))


def _unique(name: str, taken: set[str], where: str) -> str:
    if name in taken:
        raise BadFileError(f'{where} must have names that differ; got {shorten(name)!r} twice. Rename one.')
    taken.add(name)
    return name


# Hinges whose axes have a smaller cosine are at right angles, and places nearer than this share of the size are one.
RIGHT_ANGLE, SAME_PLACE = 1e-3, 1e-6
# Ranges that would be off by more as limits of one joint stay those of hinges, rad.
MOST_BOX_RAD = np.radians(5.0)


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
        at = Frame(frame.turn, frame.turn @ group[0].place + frame.place)
        if group[0].kind == BALL:
            most = np.pi if group[0].span is None else min(abs(group[0].span[1]), np.pi)
            axes, limits = frame.turn, np.tile([-most, most], (3, 1))
        else:
            axes, limits = _hinge_axes([frame.turn @ j.axis for j in group], [j.span for j in group])
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
