"""The terms of a registration: places that are known, what counts how strongly, and residuals at one state."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_matrix, vstack


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
