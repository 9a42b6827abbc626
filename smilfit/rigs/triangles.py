"""Meshes as triangles: their edges with the faces that share them, areas, sense, and connected pieces."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# Of the model's size: vertices nearer than that are at one place.
SAME_PLACE = 1e-7
# Of the squared longest side of a face: below it the face has no direction.
_NO_AREA = 1e-9


def same_place(vertices: np.ndarray, size: float) -> np.ndarray:
    """Return for every vertex (V,) the first one that lies at its place."""
    rounded = np.round(vertices / max(SAME_PLACE * size, 1e-300)).astype(np.int64)
    _, first, number = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
    return first[number.reshape(-1)]


@dataclass(frozen=True)
class Edges:
    """All edges (n, 2), least vertex first, how many faces share each, and the directed edges of faces in order.

    `of_face` (F, 3) is the number of the edge from each corner to the next, `forward` whether it runs upwards there.
    """

    ends: np.ndarray
    shared_by: np.ndarray
    of_face: np.ndarray
    forward: np.ndarray

    @classmethod
    def of(cls, faces: np.ndarray) -> 'Edges':
        """List them."""
        directed = np.stack((faces, np.roll(faces, -1, axis=1)), -1)
        ends, number = np.unique(np.sort(directed.reshape(-1, 2), axis=1), axis=0, return_inverse=True)
        number = number.reshape(-1)
        shared = np.bincount(number, minlength=len(ends))
        return cls(ends, shared, number.reshape(faces.shape), directed[..., 0] < directed[..., 1])


def face_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return areas (F,)."""
    corners = vertices[faces]
    return 0.5 * np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )


def degenerate_faces(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return for each face (F,) whether it is a line or a point."""
    corners = vertices[faces]
    longest2 = ((np.roll(corners, -1, axis=1) - corners) ** 2).sum(-1).max(1, initial=0.0)
    return face_areas(vertices, faces) <= _NO_AREA * longest2


def repeated_faces(faces: np.ndarray) -> np.ndarray:
    """Return for each face (F,) whether one before it has the same corners."""
    if not len(faces):
        return np.zeros(0, bool)
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    repeated = np.ones(len(faces), bool)
    repeated[first] = False
    return repeated


def orientation(edges: Edges) -> tuple[np.ndarray, np.ndarray, int]:
    """Turn faces to agree across edges of two faces.

    Returns:
        The connected part of each face (F,), whether a face looks the other way than most of its part (F,), and how
        many edges cannot agree however faces are turned.
    """
    count = len(edges.of_face)
    number, forward = edges.of_face.reshape(-1), edges.forward.reshape(-1)
    order = np.argsort(number, kind='stable')
    order = order[edges.shared_by[number[order]] == 2].reshape(-1, 2)
    pairs, same = order // 3, forward[order[:, 0]] == forward[order[:, 1]]
    neighbours: list[list[tuple[int, bool]]] = [[] for _ in range(count)]
    for (a, b), flipped in zip(pairs.tolist(), same.tolist()):
        neighbours[a].append((b, flipped))
        neighbours[b].append((a, flipped))
    part, flipped = np.full(count, -1), np.zeros(count, bool)
    for start in range(count):
        if part[start] >= 0:
            continue
        part[start], stack = start, [start]
        while stack:
            face = stack.pop()
            for other, flip in neighbours[face]:
                if part[other] < 0:
                    part[other], flipped[other] = start, flipped[face] ^ flip
                    stack.append(other)
    part = np.unique(part, return_inverse=True)[1]
    twisted = int((flipped[pairs[:, 0]] ^ flipped[pairs[:, 1]] != same).sum()) if len(pairs) else 0
    most = np.bincount(part, flipped) > 0.5 * np.bincount(part)
    return part, flipped ^ most[part], twisted


def connected_parts(faces: Int[np.ndarray, 'F 3'], n_vertices: int) -> Int[np.ndarray, ' V']:
    """Return the number of the part that every vertex (V,) belongs to."""
    return connected_nodes(n_vertices, np.concatenate((faces[:, :2], faces[:, 1:])))


def connected_nodes(n: int, edges: Int[np.ndarray, 'E 2']) -> Int[np.ndarray, ' n']:
    """Return the number of the connected part of a graph that every node belongs to."""
    graph = coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), (n, n))
    return connected_components(graph, directed=False)[1]
