"""Vertices on one place: exporters split a mesh there where an image has a seam or an edge is sharp."""

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

# Of the mesh's size: vertices nearer to each other lie on one place.
SAME_PLACE = 1e-6


def first_of_place(
    vertices: Float[np.ndarray, 'V 3'], tolerance: float = SAME_PLACE
) -> Int[np.ndarray, ' V']:
    """Give of every vertex the first one that lies on its place; itself where it lies there alone.

    Vertices are on one place where one leads to the other in steps of at most the tolerance. Those that are closer
    count once before neighbours are looked for, so that time and memory do not grow with how many lie together.

    Args:
        vertices: finite.
        tolerance: share of the longest side of the vertices' box.
    """
    count = len(vertices)
    step = tolerance * float(np.ptp(vertices, axis=0).max()) if count else 0.0
    if not step > 0:
        return np.zeros(count, dtype=np.int64)
    cells = np.floor((vertices - vertices.min(0)) / step).astype(np.int64)
    _, one, cell = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    cell = cell.reshape(-1)
    pairs = cKDTree(vertices[one]).query_pairs(step, output_type='ndarray')
    joined = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (len(one), len(one)))
    place = connected_components(joined, directed=False)[1][cell]
    first = np.full(count, count)
    np.minimum.at(first, place, np.arange(count))
    return first[place]
