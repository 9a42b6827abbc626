"""The bodies of an MJCF model: where they stand at rest, what they turn about, and the points marked on them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Float

from smilfit.files import BadFileError, check_budget, shorten
from smilfit.rigs.mjcf.document import (
    MAIN,
    WORLD,
    Frame,
    MjcfDocument,
    axis_rotation,
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
    if not reader.bodies:
        raise BadFileError(
            f'{document.path}: a model must have bodies in <worldbody>; got none. Is an included file missing?'
        )
    return tuple(reader.bodies), tuple(dict.fromkeys(reader.notes))


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
                rotation = axis_rotation(joint.axis, angle)
                frame = frame.then(Frame(rotation, joint.place - rotation @ joint.place))
        result.append(frame)
    return result


class _Bodies:
    def __init__(self, document: MjcfDocument) -> None:
        self.document = document
        self.bodies: list[MjcfBody] = []
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
        document, number = self.document, len(self.bodies)
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
                sites[label] = around.rotation @ place + around.place
        # Read where they are needed: most models have a skin, and geoms of which files are missing.
        geoms = tuple(
            MjcfGeom(child, around, its_class) for child, around, its_class in inner if child.tag == 'geom'
        )
        self.bodies.append(MjcfBody(name, parent, local, tuple(joints), sites, geoms))
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
        place = around.rotation @ vector(given, 'pos', '0 0 0', where) + around.place
        axis = np.array([0.0, 0.0, 1.0])
        if kind in (HINGE, SLIDE):
            axis = around.rotation @ unit_axis(given, where)
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
