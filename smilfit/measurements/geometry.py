"""What is measured: a body's points by name and its surface, in one unit."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

# A place that a measurement names: a joint, a keypoint, `vertex:N`, or several of these, whose mean it is.
# A name that is both is the joint; `keypoint:NAME` is what is seen of it.
Place = str | tuple[str, ...]
VERTEX, KEYPOINT = 'vertex:', 'keypoint:'


class NotMeasurableError(ValueError):
    """A measurement that a body does not have, with the reason as its message."""


@dataclass(frozen=True)
class BodyGeometry:
    """One body as it stands: V vertices, and joints and keypoints by name; all in one unit."""

    vertices: Float[np.ndarray, 'V 3']
    points: Mapping[str, Float[np.ndarray, '3']]

    def at(self, place: Place) -> Float[np.ndarray, '3']:
        """Give where a place is."""
        if not isinstance(place, str):
            return np.mean([self.at(part) for part in place], 0)
        if place.startswith(VERTEX):
            return self.vertices[int(place.removeprefix(VERTEX))]
        return self.points[place]

    def times(self, factor: float) -> 'BodyGeometry':
        """Give it in another unit."""
        points = {name: factor * xyz for name, xyz in self.points.items()}
        return replace(self, vertices=factor * self.vertices, points=points)


def names_in(place: Place) -> tuple[str, ...]:
    """Name the joints and keypoints of a place."""
    parts = (place,) if isinstance(place, str) else place
    return tuple(part for part in parts if not part.startswith(VERTEX))
