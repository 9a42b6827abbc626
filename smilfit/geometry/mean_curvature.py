"""How strongly a surface is bent."""

import numpy as np
from jaxtyping import Float, Int


def mean_curvature(
    vertices: Float[np.ndarray, 'V 3'], faces: Int[np.ndarray, 'F 3'], normals: Float[np.ndarray, 'V 3']
) -> Float[np.ndarray, ' V']:
    """Give the mean curvature at vertices, 1 / length: 1 / r on a sphere of radius r, 1 / (2 r) on a cylinder.

    Half of the Laplacian by cotangents, along the normal (Meyer, Desbrun, Schroeder and Barr 2003), by a third of
    the area around. At the edge of an open surface, and without area, it is 0.

    Args:
        vertices: of the surface.
        faces: triangles, counter-clockwise from outside.
        normals: unit normals of the vertices, outwards.
    """
    corners = vertices[faces]
    pull = np.zeros_like(vertices)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    around = np.zeros(len(vertices))
    for k in range(3):
        np.add.at(around, faces[:, k], area / 3)
        a, b, c = faces[:, k], faces[:, (k + 1) % 3], faces[:, (k + 2) % 3]
        # The angle at a weighs the side from b to c.
        cosine = ((vertices[b] - vertices[a]) * (vertices[c] - vertices[a])).sum(1)
        half = np.divide(cosine, 4 * area, out=np.zeros_like(area), where=area > 0)
        side = half[:, None] * (vertices[c] - vertices[b])
        np.add.at(pull, b, side)
        np.add.at(pull, c, -side)
    bent = np.divide(-(pull * normals).sum(1), 2 * around, out=np.zeros(len(vertices)), where=around > 0)
    bent[_edge_of(faces)] = 0.0
    return bent


def _edge_of(faces: np.ndarray) -> np.ndarray:
    """Give the vertices on sides of one triangle alone."""
    sides = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    unique, count = np.unique(sides, axis=0, return_counts=True)
    return np.unique(unique[count == 1])
