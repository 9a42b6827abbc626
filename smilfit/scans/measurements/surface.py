"""A model's surface as measurements see it: its triangles with seams closed, its edges, and whose skin each is.

Files often hold a vertex several times, once for each side of a seam of its texture. Such vertices are one here, so
that paths and sections go on over the seam.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from smilfit.body_models import BodyModelData
from smilfit.geometry.surface_graph import first_of_place
from smilfit.rigs.triangles import Edges, connected_nodes

# A place that a measurement names: a joint, a keypoint, `vertex:N`, or several of these, whose mean it is.
# A name that is both is the joint; `keypoint:NAME` is what is seen of it.
Place = str | tuple[str, ...]
VERTEX, KEYPOINT = 'vertex:', 'keypoint:'


@dataclass(frozen=True)
class Surface:
    """The surface of a model of V vertices and F triangles.

    Args:
        faces: whole triangles, each once, whose corners are the first of the vertices that share their place.
        first: by vertex, the first of those that share its place.
        skin: (V, J) skinning weights.
        joint_names: of the J joints.
        parents: of the joints.
    """

    faces: Int[np.ndarray, 'F 3']
    first: Int[np.ndarray, ' V']
    skin: Float[np.ndarray, 'V J']
    joint_names: tuple[str, ...]
    parents: Int[np.ndarray, ' J']

    @classmethod
    def of(cls, data: BodyModelData) -> 'Surface':
        """Take a model's surface; vertices are joined where the template has them in one place."""
        first = first_of_place(data.v_template)
        faces = first[np.asarray(data.faces, np.int64).reshape(-1, 3)]
        a, b, c = faces.T
        faces = faces[(a != b) & (b != c) & (a != c)]
        _, once = np.unique(np.sort(faces, 1), axis=0, return_index=True)
        weights = data.weights.to_dense()
        return cls(faces[np.sort(once)], first, weights, data.joint_names, np.asarray(data.parents))

    @cached_property
    def _edges(self) -> Edges:
        return Edges.of(self.faces)

    @property
    def edges(self) -> Int[np.ndarray, 'E 2']:
        """The edges, each once, the lower vertex first."""
        return self._edges.ends

    @property
    def face_edges(self) -> Int[np.ndarray, 'F 3']:
        """By triangle its edges: 0-1, 1-2, 2-0."""
        return self._edges.of_face

    @property
    def edge_faces(self) -> Int[np.ndarray, ' E']:
        """How many triangles each edge has: 2 in a closed surface, 1 at a border."""
        return self._edges.shared_by

    @cached_property
    def piece(self) -> Int[np.ndarray, ' V']:
        """By vertex, which connected piece of the surface it belongs to."""
        return connected_nodes(len(self.first), self.edges)[self.first]

    @cached_property
    def n_pieces(self) -> int:
        """How many connected pieces have triangles."""
        return len(np.unique(self.piece[self.faces[:, 0]])) if len(self.faces) else 0

    @cached_property
    def against_neighbours(self) -> int:
        """How many edges have two triangles of opposite sense: their normals do not agree."""
        ahead = np.bincount(self.face_edges.ravel(), self._edges.forward.ravel(), len(self.edges))
        return int(((self.edge_faces == 2) & (ahead != 1)).sum())

    def belongs_to(self, joints: Int[np.ndarray, ' n']) -> Bool[np.ndarray, ' F']:
        """Return which triangles hang mostly on some joints."""
        return self.skin[self.faces][:, :, joints].sum(-1).mean(-1) >= 0.5


class NotMeasurableError(ValueError):
    """A measurement that a body does not have, with the reason as its message."""


@dataclass(frozen=True)
class BodyGeometry:
    """One body as it stands: V vertices, and joints and keypoints by name; all in one unit."""

    vertices: Float[np.ndarray, 'V 3']
    points: Mapping[str, Float[np.ndarray, '3']]

    def at(self, place: Place) -> Float[np.ndarray, '3']:
        """Return where a place is."""
        if not isinstance(place, str):
            return np.mean([self.at(part) for part in place], 0)
        if place.startswith(VERTEX):
            return self.vertices[int(place.removeprefix(VERTEX))]
        return self.points[place]

    def times(self, factor: float) -> 'BodyGeometry':
        """Return it in another unit."""
        points = {name: factor * xyz for name, xyz in self.points.items()}
        return replace(self, vertices=factor * self.vertices, points=points)


def names_in(place: Place) -> tuple[str, ...]:
    """Name the joints and keypoints of a place."""
    parts = (place,) if isinstance(place, str) else place
    return tuple(part for part in parts if not part.startswith(VERTEX))
