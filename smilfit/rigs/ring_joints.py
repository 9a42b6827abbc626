"""Joints from the skin: a regressor that puts each joint in the middle of the ring where its skin meets its parent's.

Where half of the weight of a vertex hangs on a joint or below it, and half above, a curve goes round the limb. Its
centroid is the middle of the joint, however dense the mesh is there. Every segment of the curve lies in a triangle,
between points of two of its edges, so the centroid is a weighted mean of vertices: a row of a regressor.
"""

import numpy as np
from jaxtyping import Float, Int

from smilfit.body_models.data import BodyModelData

_HALF = 0.5
# Rows keep what is more than this share.
_LEAST = 1e-6

# Vertices and their weights, which sum to one; both empty where there is no row.
Row = tuple[Int[np.ndarray, ' _'], Float[np.ndarray, ' _']]
NO_ROW: Row = (np.zeros(0, np.int64), np.zeros(0))


def ring_rows(data: BodyModelData) -> list[Row]:
    """Give by joint the row that puts it in the middle of its ring; none of the root and of joints without a ring."""
    below = data.weights.to_dense()
    for joint in range(data.n_joints - 1, 0, -1):
        below[:, data.parents[joint]] += below[:, joint]
    return [
        NO_ROW if parent < 0 else _ring(data, below[:, joint])
        for joint, parent in enumerate(data.parents.tolist())
    ]


def _ring(data: BodyModelData, below: Float[np.ndarray, ' V']) -> Row:
    """Give the centroid of the curve on which half of the weight hangs below a joint; no row where there is none."""
    inside = below > _HALF
    crossed = data.faces[inside[data.faces].any(1) & ~inside[data.faces].all(1)]
    if not len(crossed):
        return NO_ROW
    # The corner that is alone on its side first: both edges that the curve crosses begin there.
    alone = np.where(inside[crossed].sum(1) == 1, inside[crossed].argmax(1), (~inside[crossed]).argmax(1))
    corner, *others = (crossed[np.arange(len(crossed)), (alone + k) % 3] for k in range(3))
    shares = [(_HALF - below[corner]) / (below[other] - below[corner]) for other in others]
    x = data.v_template
    first, second = (x[corner] + s[:, None] * (x[o] - x[corner]) for s, o in zip(shares, others))
    length = np.linalg.norm(second - first, axis=1)
    if not length.sum():
        return NO_ROW
    weights = np.zeros(data.n_vertices)
    for share, other in zip(shares, others):
        np.add.at(weights, corner, length * (1 - share) / 2)
        np.add.at(weights, other, length * share / 2)
    weights /= weights.sum()
    cols = np.flatnonzero(weights > _LEAST)
    return cols, weights[cols] / weights[cols].sum()
