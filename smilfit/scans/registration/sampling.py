"""Points of surfaces, drawn by part and not by area: a thin leg counts as much as the trunk."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class SurfaceSamples:
    """Points fixed on a surface's triangles.

    Attributes:
        rows: (n, V) the shares of the vertices in each point.
        faces: each point's triangle.
        part: each point's part of the body.
        weight: of each point; every part's sum is 1.
    """

    rows: csr_matrix
    faces: Int[np.ndarray, ' n']
    part: Int[np.ndarray, ' n']
    weight: Float[np.ndarray, ' n']


def sample_by_part(
    vertices: Float[np.ndarray, 'V 3'],
    faces: Int[np.ndarray, 'F 3'],
    part: Int[np.ndarray, ' V'],
    per_part: int,
    rng: np.random.Generator,
) -> SurfaceSamples:
    """Draw as many points of every part, uniformly by area within it.

    Args:
        vertices: the surface.
        faces: its triangles.
        part: of every vertex; a triangle is of its first corner's.
        per_part: points of each part.
        rng: of random numbers.
    """
    corners = vertices[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    of_face = part[faces[:, 0]]
    chosen = []
    for k in np.unique(of_face):
        own = np.nonzero(of_face == k)[0]
        total = area[own].cumsum()
        if total[-1] > 0:
            # Evenly along the area, so that no two points fall together by chance.
            at = (np.arange(per_part) + rng.random(per_part)) / per_part * total[-1]
            chosen.append(own[np.searchsorted(total, at).clip(max=len(own) - 1)])
    face = np.concatenate(chosen)
    # Turk 1990: uniform on a triangle.
    root, second = np.sqrt(rng.random(len(face))), rng.random(len(face))
    shares = np.stack([1 - root, root * (1 - second), root * second], 1)
    return SurfaceSamples(
        point_rows(faces[face], shares, len(vertices)), face, of_face[face], part_weights(of_face[face])
    )


def point_rows(
    corners: Int[np.ndarray, 'n k'], shares: Float[np.ndarray, 'n k'], n_vertices: int
) -> csr_matrix:
    """Write points as rows of shares of vertices."""
    n, k = corners.shape
    start = np.arange(0, n * k + 1, k)
    return csr_matrix((shares.reshape(-1), corners.reshape(-1), start), (n, n_vertices))


def part_weights(part: Int[np.ndarray, ' n'], least: int = 1) -> Float[np.ndarray, ' n']:
    """Weigh points so that every part counts alike; one of fewer points than `least` counts less."""
    count = np.bincount(part.clip(min=0))
    return np.where(part >= 0, 1 / np.maximum(count[part.clip(min=0)], least), 0.0)
