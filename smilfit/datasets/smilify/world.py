"""The world of a session in a SMILify file, where its samples have worlds of their own.

Its merger and its replicAnt preprocessor put every sample into the frame of the sample's lowest camera, turned by
`diag(-1, -1, 1)`, and keep that camera's R, t: a point of the session is `R^T (diag(-1, -1, 1) x - t)`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

TURN = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class WorldMaps:
    """A rigid map a sample: a point of the sample is `turn y + shift`, y of the session's world."""

    turn: Float[np.ndarray, 'n 3 3']
    shift: Float[np.ndarray, 'n 3']

    @classmethod
    def none(cls, count: int) -> 'WorldMaps':
        """Give the maps of samples that have the session's world."""
        return cls(np.tile(np.eye(3), (count, 1, 1)), np.zeros((count, 3)))

    @classmethod
    def from_canonical(cls, R: Float[np.ndarray, 'n 3 3'], t: Float[np.ndarray, 'n 3']) -> 'WorldMaps':
        """Give the maps that `canonical_to_world_R`, `_t` state: x = diag(-1, -1, 1) (R y + t)."""
        return cls(TURN @ R, t @ TURN)

    def points(self, xyz: Float[np.ndarray, 'n P 3']) -> Float[np.ndarray, 'n P 3']:
        """Move points of the samples into the session's world."""
        return (xyz - self.shift[:, None]) @ self.turn

    def cameras(
        self, R: Float[np.ndarray, 'n C 3 3'], t: Float[np.ndarray, 'n C 3']
    ) -> tuple[Float[np.ndarray, 'n C 3 3'], Float[np.ndarray, 'n C 3']]:
        """Move cameras, so that they see the moved points where they saw the others."""
        return R @ self.turn[:, None], t + np.einsum('ncij,nj->nci', R, self.shift)


def spread_of_cameras(
    R: Float[np.ndarray, 'n C 3 3'], t: Float[np.ndarray, 'n C 3'], mask: Bool[np.ndarray, 'n C']
) -> tuple[float, float]:
    """Say how far cameras that should stand still move over a session: rad, and in shares of the rig's size."""
    turns, shifts = [0.0], [0.0]
    centres = -np.einsum('ncji,ncj->nci', R, t)
    size = max(float(np.abs(t[mask]).max(initial=0.0)), 1e-12)
    for c in np.flatnonzero(mask.any(0)):
        seen = mask[:, c]
        turns.append(float(np.abs(R[seen, c] - R[seen, c][0]).max()))
        shifts.append(float(np.linalg.norm(centres[seen, c] - centres[seen, c][0], axis=-1).max()) / size)
    return max(turns), max(shifts)


def mean_camera(
    R: Float[np.ndarray, 'n 3 3'], t: Float[np.ndarray, 'n 3']
) -> tuple[Float[np.ndarray, '3 3'], Float[np.ndarray, '3']]:
    """Average a camera that stands still but for rounding."""
    u, _, v = np.linalg.svd(R.mean(0))
    return u @ v, t.mean(0)
