"""The kinds of measurements: what each takes, and its value on a body."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from smilfit.body_models import BodyModelData
from smilfit.body_models.keypoint_rows import keypoint_definitions
from smilfit.files import BadFileError, shorten
from smilfit.files.text_files import read_strict_json, read_toml
from smilfit.registry import UnknownNameError, did_you_mean, reject_unknown
from smilfit.rigs.triangles import face_areas
from smilfit.scans.measurements.geodesics import SurfacePath, SurfacePoint, nearest_point, shortest_path
from smilfit.scans.measurements.girths_and_volumes import Section, section_across, volume_of
from smilfit.scans.measurements.surface import (
    KEYPOINT,
    VERTEX,
    BodyGeometry,
    NotMeasurableError,
    Place,
    Surface,
    names_in,
)

WHAT = 'a file of measurements'
MOST_BYTES = 1 << 22
PERIMETERS = ('hull', 'section')
# By kind: keys that must be there, and those that may.
_KEYS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    'distance': (('points',), ()),
    'chain': (('points',), ()),
    'limb': (('from', 'to'), ()),
    'angle': (('points',), ()),
    'geodesic': (('points',), ()),
    'girth': (('bone',), ('at', 'perimeter')),
    'surface': ((), ('joints',)),
    'volume': ((), ()),
}
_COUNTS = {'distance': (2, 2), 'geodesic': (2, 2), 'angle': (3, 4), 'chain': (2, 1000)}


@dataclass(frozen=True)
class Measurement(ABC):
    """Something that can be measured on a body. `dimension` is the power of its length unit; 0 is an angle, deg."""

    kind: ClassVar[str]
    dimension: ClassVar[int] = 1

    name: str

    @property
    @abstractmethod
    def places(self) -> tuple[Place, ...]:
        """The places that it names."""

    @abstractmethod
    def value(self, body: BodyGeometry, surface: Surface) -> float:
        """Measure a body.

        Raises:
            NotMeasurableError: this body does not have it.
        """

    def anchored(self, body: BodyGeometry, surface: Surface) -> 'Measurement':
        """Tie it to the surface where a body stands at rest, so that it means the same in all poses."""
        return self

    def held(self, body: BodyGeometry, surface: Surface) -> Callable[[BodyGeometry], float]:
        """Return what measures bodies near a body, right to first order, at little cost."""
        return lambda near: self.value(near, surface)

    def remarks(self, body: BodyGeometry, surface: Surface) -> list[str]:
        """Return what a reader of the number should know."""
        return []


@dataclass(frozen=True)
class Distance(Measurement):
    """The straight line between two places."""

    kind = 'distance'
    points: tuple[Place, Place]

    @property
    def places(self) -> tuple[Place, ...]:
        """Its ends."""
        return self.points

    def value(self, body: BodyGeometry, surface: Surface) -> float:
        """Measure it."""
        return float(np.linalg.norm(body.at(self.points[1]) - body.at(self.points[0])))


@dataclass(frozen=True)
class Chain(Measurement):
    """The sum of the straight lines from place to place, as of the bones of a limb."""

    kind = 'chain'
    points: tuple[Place, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        """Its points in order."""
        return self.points

    def value(self, body: BodyGeometry, surface: Surface) -> float:
        """Measure it."""
        line = np.stack([body.at(place) for place in self.points])
        return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())


@dataclass(frozen=True)
class Angle(Measurement):
    """The angle at the second of three places, or between the lines of four (1 to 2, 3 to 4), degrees."""

    kind = 'angle'
    dimension = 0
    points: tuple[Place, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        """Its points in order."""
        return self.points

    def value(self, body: BodyGeometry, surface: Surface) -> float:
        """Measure it."""
        p = [body.at(place) for place in self.points]
        one, other = (p[0] - p[1], p[2] - p[1]) if len(p) == 3 else (p[1] - p[0], p[3] - p[2])
        if not (one.any() and other.any()):
            raise NotMeasurableError('a side of the angle has no length')
        # Unlike the arc cosine exact at 0 and 180.
        return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(one, other)), one @ other)))


@dataclass(frozen=True)
class Geodesic(Measurement):
    """The shortest way over the skin between two places; one inside the body stands for the nearest skin at rest."""

    kind = 'geodesic'
    points: tuple[Place, Place]
    ends: tuple[SurfacePoint, SurfacePoint] | None = None

    @property
    def places(self) -> tuple[Place, ...]:
        """Its ends."""
        return self.points

    def anchored(self, body: BodyGeometry, surface: Surface) -> 'Geodesic':
        """Find the skin that stands for its ends."""
        if not len(surface.faces):
            return self
        a, b = (nearest_point(body.vertices, surface, body.at(place)) for place in self.points)
        return Geodesic(self.name, self.points, (a, b))

    def path(self, body: BodyGeometry, surface: Surface) -> SurfacePath:
        """Find the way."""
        if not len(surface.faces):
            raise NotMeasurableError('the model has no triangles')
        whole = self if self.ends else self.anchored(body, surface)
        assert whole.ends is not None
        return shortest_path(body.vertices, surface, *whole.ends)

    def value(self, body: BodyGeometry, surface: Surface) -> float:
        """Measure it."""
        return self.path(body, surface).length(body.vertices, surface.faces)

    def held(self, body: BodyGeometry, surface: Surface) -> Callable[[BodyGeometry], float]:
        """Measure the way that is the shortest now: to first order it stays as long as the shortest."""
        path = self.path(body, surface)
        return lambda near: path.length(near.vertices, surface.faces)


@dataclass(frozen=True)
class Girth(Measurement):
    """The girth across a bone at a share of its length: a tape around its own skin, or the section's own border."""

    kind = 'girth'
    bone: tuple[Place, Place]
    at: float = 0.5
    tape: bool = True

    @property
    def places(self) -> tuple[Place, ...]:
        """The bone's ends."""
        return self.bone

    def value(self, body: BodyGeometry, surface: Surface) -> float:
        """Measure it."""
        section = self._section(body, surface)
        if self.tape:
            return section.hull_length
        if not section.closed:
            raise NotMeasurableError('the section is open: the skin has a hole there; use perimeter = "hull"')
        return section.length

    def remarks(self, body: BodyGeometry, surface: Surface) -> list[str]:
        """Return where the section is open."""
        return [] if self._section(body, surface).closed else [f'{self.name}: the section is open there']

    def _section(self, body: BodyGeometry, surface: Surface) -> Section:
        start, end = (body.at(place) for place in self.bone)
        names = [name for place in self.bone for name in names_in(place)]
        joints = tuple(surface.joint_names.index(name) for name in names if name in surface.joint_names)
        every = joints or tuple(range(len(surface.joint_names)))
        return section_across(body.vertices, surface, start, end, self.at, every)


@dataclass(frozen=True)
class SurfaceArea(Measurement):
    """The area of the skin, all or that of some joints."""

    kind = 'surface'
    dimension = 2
    joints: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[Place, ...]:
        """The joints whose skin it is."""
        return self.joints

    def value(self, body: BodyGeometry, surface: Surface) -> float:
        """Measure it."""
        faces = surface.faces
        if self.joints:
            faces = faces[surface.belongs_to(np.array([surface.joint_names.index(n) for n in self.joints]))]
        if not len(faces):
            raise NotMeasurableError('there are no triangles')
        return float(face_areas(body.vertices, faces).sum())


@dataclass(frozen=True)
class BodyVolume(Measurement):
    """The volume inside the skin; holes are closed, and what that matters is told."""

    kind = 'volume'
    dimension = 3

    @property
    def places(self) -> tuple[Place, ...]:
        """None."""
        return ()

    def value(self, body: BodyGeometry, surface: Surface) -> float:
        """Measure it."""
        if not len(surface.faces):
            raise NotMeasurableError('there are no triangles')
        return volume_of(body.vertices, surface).value

    def remarks(self, body: BodyGeometry, surface: Surface) -> list[str]:
        """Return what speaks against it."""
        return volume_of(body.vertices, surface).remarks() if len(surface.faces) else []


KINDS: Mapping[str, type[Measurement]] = {
    kind.kind: kind for kind in (Distance, Chain, Angle, Geodesic, Girth, SurfaceArea, BodyVolume)
}


def read_measurements(path: str | Path, data: BodyModelData) -> tuple[Measurement, ...]:
    """Read the measurements of a file for a model.

    Args:
        path: TOML (`.toml`) or JSON (`.json`).
        data: the model, whose joints and keypoints are named.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: another ending, or a value that is none of its key's.
        UnknownNameError: an unknown kind, key, joint or keypoint, with the near ones.
    """
    path = Path(path)
    if path.suffix == '.json':
        tables = read_strict_json(path, WHAT, MOST_BYTES)
    elif path.suffix == '.toml':
        tables = read_toml(path, WHAT, MOST_BYTES)
    else:
        raise BadFileError(f'{path}: {WHAT} must end in .toml or .json; got {path.suffix!r}. Rename it.')
    if not tables:
        raise BadFileError(f'{path}: {WHAT} must hold one; it is empty. Add a table [name] with its kind.')
    return tuple(_measurement(name, table, data, path) for name, table in tables.items())


def _measurement(name: str, table: object, data: BodyModelData, path: Path) -> Measurement:
    where = f'{path}: {shorten(name)}'
    if not isinstance(table, dict):
        raise BadFileError(
            f'{where} must be a table with its kind; got {shorten(table)}. Write [{shorten(name)}].'
        )
    kind = table.get('kind')
    if not isinstance(kind, str) or kind not in _KEYS:
        raise UnknownNameError(f'{where}: no kind {shorten(kind)!r}. {did_you_mean(str(kind), _KEYS)}')
    required, optional = _KEYS[kind]
    reject_unknown(where, 'key', (key for key in table if key != 'kind'), (*required, *optional))
    for key in required:
        if key not in table:
            raise BadFileError(
                f'{where}: a {kind} must have {key!r}; got {", ".join(table)}. Add it: docs/measurements.md.'
            )
    if kind in _COUNTS:
        low, high = _COUNTS[kind]
        points = _places(table['points'], where, low, high, data)
        pair = (points[0], points[1])
        if kind == 'distance':
            return Distance(name, pair)
        if kind == 'geodesic':
            return Geodesic(name, pair)
        return Chain(name, points) if kind == 'chain' else Angle(name, points)
    if kind == 'limb':
        ends = [_joint(table[key], f'{where}.{key}', data) for key in ('from', 'to')]
        return Chain(name, joints_between(data, ends[0], ends[1], where))
    if kind == 'girth':
        return _girth(name, table, data, where)
    if kind == 'surface':
        joints = table.get('joints', [])
        if not isinstance(joints, list):
            raise BadFileError(f'{where}.joints must be a list; got {shorten(joints)}. Name joints in it.')
        return SurfaceArea(name, tuple(_joint(joint, f'{where}.joints', data) for joint in joints))
    return BodyVolume(name)


def _girth(name: str, table: Mapping[str, object], data: BodyModelData, where: str) -> Girth:
    at, perimeter = table.get('at', 0.5), table.get('perimeter', 'hull')
    if isinstance(at, bool) or not isinstance(at, (int, float)) or not 0 <= at <= 1:
        raise BadFileError(
            f"{where}.at must be a share of the bone's way, from 0 to 1; got {shorten(at)}. 0.5 is its middle."
        )
    if perimeter not in PERIMETERS:
        raise BadFileError(
            f'{where}.perimeter must be "hull" (a tape around it) or "section" (its own border); got '
            f'{shorten(perimeter)}. Choose one.'
        )
    bone = _places(table['bone'], f'{where}.bone', 2, 2, data)
    return Girth(name, (bone[0], bone[1]), float(at), perimeter == 'hull')


def _places(value: object, where: str, low: int, high: int, data: BodyModelData) -> tuple[Place, ...]:
    if not isinstance(value, list) or not low <= len(value) <= high:
        count = f'{low}' if low == high else f'{low} to {high}'
        raise BadFileError(
            f'{where} must be a list of {count} places; got {shorten(value)}. Name them in it.'
        )
    return tuple(_place(item, where, data) for item in value)


def _place(value: object, where: str, data: BodyModelData) -> Place:
    if isinstance(value, list) and value:
        return tuple(_name(item, where, data) for item in value)
    return _name(value, where, data)


def _name(value: object, where: str, data: BodyModelData) -> str:
    if isinstance(value, str) and value.startswith(VERTEX):
        number = value.removeprefix(VERTEX)
        if not number.isdecimal() or int(number) >= data.n_vertices:
            raise BadFileError(
                f'{where}: a vertex must be {VERTEX}0 to {VERTEX}{data.n_vertices - 1}; got {shorten(value)!r}. '
                'Vertices are numbered as in the model file.'
            )
        return value
    known = keypoint_definitions(data)
    if not isinstance(value, str) or value.removeprefix(KEYPOINT) not in known:
        raise UnknownNameError(
            f'{where}: {data.name} has no joint or keypoint {shorten(value)!r}. {did_you_mean(str(value), known)}'
        )
    return value


def _joint(value: object, where: str, data: BodyModelData) -> str:
    if not isinstance(value, str) or value not in data.joint_names:
        raise UnknownNameError(
            f'{where}: {data.name} has no joint {shorten(value)!r}. {did_you_mean(str(value), data.joint_names)}'
        )
    return value


def joints_between(data: BodyModelData, first: str, last: str, where: str) -> tuple[str, ...]:
    """List the joints on the way through the tree from one to another, both included.

    Raises:
        BadFileError: twice the same joint.
    """
    if first == last:
        raise BadFileError(
            f'{where}: the ends of a limb must differ; got {first!r} twice. Name its other end.'
        )
    up = [_to_root(data, joint) for joint in (first, last)]
    common = next(joint for joint in up[0] if joint in up[1])
    ahead = up[0][: up[0].index(common) + 1]
    return tuple(ahead + up[1][: up[1].index(common)][::-1])


def _to_root(data: BodyModelData, joint: str) -> list[str]:
    result, j = [], data.joint_names.index(joint)
    while j >= 0:
        result.append(data.joint_names[j])
        j = int(data.parents[j])
    return result
