"""The terms of a registration: points of surfaces, places that are known, what counts how strongly, and residuals.

Points are drawn by part and not by area: a thin leg counts as much as the trunk.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix, vstack

from smilfit.rigs.triangles import face_areas


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
        part: of every vertex; a triangle is of its first corner's.
    """
    area = face_areas(vertices, faces)
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


@dataclass(frozen=True)
class PlaceTargets:
    """Points of the body that are known to lie somewhere: landmarks, and middles of limbs' cross-sections.

    Attributes:
        rows: (n, V) the shares of the vertices in each point.
        targets: where they lie, world unit.
        sigma: how well that is known, world unit.
        robust: how many sigmas count fully.
    """

    rows: csr_matrix
    targets: Float[np.ndarray, 'n 3']
    sigma: Float[np.ndarray, ' n']
    robust: Float[np.ndarray, ' n']


@dataclass(frozen=True)
class SurfaceWeights:
    """How strongly what counts.

    Attributes:
        sigma: distance at which a point counts half, world unit.
        template: of the body's points, to the scan.
        scan: of the scan's points, to the body.
        along: of the part of a distance along the surface, beside 1 across it (point to plane).
        least_cosine: of the angle between normals.
        precision: of a distance, as a share of sigma: priors count against it.
    """

    sigma: float
    template: float = 1.0
    scan: float = 1.0
    along: float = 0.1
    least_cosine: float = 0.0
    precision: float = 0.2


@dataclass(frozen=True)
class Matched:
    """Residuals of one kind at one state, ready for slopes."""

    rows: csr_matrix
    difference: Float[np.ndarray, 'n 3']
    normal: Float[np.ndarray, 'n 3']
    weight: Float[np.ndarray, ' n']
    energy: float
    # Distances of all points, matched or not, by point.
    distance: Float[np.ndarray, ' m'] = field(default_factory=lambda: np.zeros(0))
    along: float = 1.0


def joined_places(first: PlaceTargets | None, second: PlaceTargets | None) -> PlaceTargets | None:
    """Put known places together."""
    if first is None or second is None:
        return first or second
    return PlaceTargets(
        vstack([first.rows, second.rows]).tocsr(),
        np.concatenate([first.targets, second.targets]),
        np.concatenate([first.sigma, second.sigma]),
        np.concatenate([first.robust, second.robust]),
    )
