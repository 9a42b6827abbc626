"""What of a rig's mesh and weights must be put right before it is a body model, counted."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from smilfit.body_models.data import SparseMatrix

# Weights below this move a vertex by less than any number here is exact to.
_NOTHING = 1e-9
# The sum of a vertex's weights is one up to what files of 8 bits can say.
_SUM_OFF = 0.01
# Said of what is counted.
WITHOUT_WEIGHTS = 'vertices without weights, hung on the nearest joint'
# Of the mesh's size, squared: a triangle of less area is a line.
_LINE = 1e-14


@dataclass(frozen=True)
class Cleaned:
    """Clean weights and faces, and what was done, as `what -> how many`."""

    weights: SparseMatrix
    faces: np.ndarray
    counts: dict[str, int] = field(default_factory=dict)


def clean_mesh(
    vertices: Float[np.ndarray, 'V 3'],
    faces: Int[np.ndarray, 'F 3'],
    weights: SparseMatrix,
    joints: Float[np.ndarray, 'J 3'],
) -> Cleaned:
    """Normalise weights, and leave out triangles that are none.

    A vertex without weights hangs on the nearest joint that moves skin. No vertex is left out or welded: their
    order stays the file's, in which its texture, its morph targets and other programs count them.
    """
    values = np.where(np.isfinite(weights.values), weights.values, 0.0)
    kept = values > _NOTHING
    rows, cols, values = weights.rows[kept], weights.cols[kept], values[kept]
    sums = np.bincount(rows, values, len(vertices))
    lost = np.flatnonzero(sums == 0)
    if len(lost):
        moving = np.unique(cols) if len(cols) else np.arange(len(joints))
        nearest = moving[cKDTree(joints[moving]).query(vertices[lost])[1]]
        rows, cols = np.concatenate((rows, lost)), np.concatenate((cols, nearest))
        values = np.concatenate((values, np.ones(len(lost))))
    off = np.abs(sums - 1) > _SUM_OFF
    off[lost] = False
    total = np.bincount(rows, values, len(vertices))
    order = np.lexsort((cols, rows))
    clean = SparseMatrix(rows[order], cols[order], (values / total[rows])[order], weights.shape)
    size = np.ptp(vertices, axis=0).max()
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=-1)
    flat = areas <= _LINE * size**2
    used = np.zeros(len(vertices), bool)
    used[faces[~flat]] = True
    counts = {
        'negative or not finite weights dropped': int(
            (weights.values < 0).sum() + (~np.isfinite(weights.values)).sum()
        ),
        'vertices whose weights did not sum to one': int(off.sum()),
        WITHOUT_WEIGHTS: len(lost),
        'triangles without area left out': int(flat.sum()),
        'vertices in no triangle, kept': int((~used).sum()),
    }
    return Cleaned(clean, faces[~flat], counts)


def seam_vertices(vertices: Float[np.ndarray, 'V 3']) -> int:
    """Count vertices that lie on the place of an earlier one, as at seams of texture and at sharp edges."""
    return len(vertices) - len(np.unique(vertices, axis=0))
