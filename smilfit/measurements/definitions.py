"""The kinds of measurements: what each takes, and its value on a body."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from smilfit.measurements.geodesics import SurfacePath, SurfacePoint, nearest_point, shortest_path
from smilfit.measurements.geometry import BodyGeometry, NotMeasurableError, Place, names_in
from smilfit.measurements.girths import Section, section_across
from smilfit.measurements.surface import Surface
from smilfit.measurements.volumes import area_of, volume_of


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
        """Give what measures bodies near a body, right to first order, at little cost."""
        return lambda near: self.value(near, surface)

    def remarks(self, body: BodyGeometry, surface: Surface) -> list[str]:
        """Say what a reader of the number should know."""
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
        """Say where the section is open."""
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
        return area_of(body.vertices, faces)


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
        """Say what speaks against it."""
        return volume_of(body.vertices, surface).remarks() if len(surface.faces) else []


KINDS: Mapping[str, type[Measurement]] = {
    kind.kind: kind for kind in (Distance, Chain, Angle, Geodesic, Girth, SurfaceArea, BodyVolume)
}
