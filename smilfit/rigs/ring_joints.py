"""Joints from the skin: a regressor that puts each joint in the middle of the ring where its skin meets its parent's.

Where half of the weight of a vertex hangs on a joint or below it, and half above, a curve goes round the limb. Its
centroid is the middle of the joint, however dense the mesh is there. Every segment of the curve lies in a triangle,
between points of two of its edges, so the centroid is a weighted mean of vertices: a row of a regressor.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import nnls
from scipy.spatial import cKDTree

from smilfit.body_models.data import BodyModelData, SparseMatrix

_HALF = 0.5
# Vertices that hold a joint without a ring.
_NEAREST = 60
# How much more the place of a joint counts than even weights.
_PLACE = 1e4
# Of the skin about a joint: a place that weights above zero miss by more lies outside of it.
_OFF = 1e-3
# Rows keep what is more than this share.
_LEAST = 1e-6


# Vertices and their weights.
_Row = tuple[np.ndarray, np.ndarray]


class RingRegressor(NamedTuple):
    """A regressor (J, V), and by name the joints that have no ring and the distance that each joint moves."""

    regressor: SparseMatrix
    without: tuple[str, ...]
    moved: dict[str, float]


def ring_regressor(data: BodyModelData, keep_places: bool = False) -> RingRegressor:
    """Give a regressor from the borders of skinning weights.

    The root, and joints whose border no triangle crosses, have no ring: they are held where they are by the nearest
    vertices of their own skin or, if they carry none, of any.

    Args:
        data: the model.
        keep_places: joints stay where they are, as far as vertices about them can hold them, and only follow the
            shape; otherwise joints with a ring go to its centroid.
    """
    dense = data.weights.to_dense()
    below = dense.copy()
    for joint in range(data.n_joints - 1, 0, -1):
        below[:, data.parents[joint]] += below[:, joint]
    rows: list[_Row] = []
    without = []
    for joint, name in enumerate(data.joint_names):
        row = None if data.parents[joint] < 0 else _ring(data, below[:, joint])
        if row is None:
            without.append(name)
            row = _held(data, dense[:, joint], data.joints[joint], (np.zeros(0, int), np.zeros(0)))
        elif keep_places:
            row = _held(data, dense[:, joint], data.joints[joint], row)
        rows.append(row)
    matrix = SparseMatrix(
        np.repeat(np.arange(data.n_joints), [len(cols) for cols, _ in rows]),
        np.concatenate([cols for cols, _ in rows]),
        np.concatenate([values for _, values in rows]),
        (data.n_joints, data.n_vertices),
    )
    off = np.linalg.norm(matrix @ data.v_template - data.joints, axis=1)
    return RingRegressor(matrix, tuple(without), dict(zip(data.joint_names, off.tolist())))


def _ring(data: BodyModelData, below: Float[np.ndarray, ' V']) -> _Row | None:
    """Give the centroid of the curve on which half of the weight hangs below a joint; None where there is none."""
    inside = below > _HALF
    crossed = data.faces[inside[data.faces].any(1) & ~inside[data.faces].all(1)]
    if not len(crossed):
        return None
    # The corner that is alone on its side first: both edges that the curve crosses begin there.
    alone = np.where(inside[crossed].sum(1) == 1, inside[crossed].argmax(1), (~inside[crossed]).argmax(1))
    corner, *others = (crossed[np.arange(len(crossed)), (alone + k) % 3] for k in range(3))
    shares = [(_HALF - below[corner]) / (below[other] - below[corner]) for other in others]
    x = data.v_template
    first, second = (x[corner] + s[:, None] * (x[o] - x[corner]) for s, o in zip(shares, others))
    length = np.linalg.norm(second - first, axis=1)
    if not length.sum():
        return None
    weights = np.zeros(data.n_vertices)
    for share, other in zip(shares, others):
        np.add.at(weights, corner, length * (1 - share) / 2)
        np.add.at(weights, other, length * share / 2)
    weights /= weights.sum()
    cols = np.flatnonzero(weights > _LEAST)
    return cols, weights[cols] / weights[cols].sum()


def _nearest(data: BodyModelData, own: Float[np.ndarray, ' V'], place: Float[np.ndarray, '3']) -> np.ndarray:
    """Give the vertices nearest to a joint that hang on it, or any where none does."""
    candidates = np.flatnonzero(own > _HALF)
    candidates = candidates if len(candidates) else np.arange(data.n_vertices)
    count = min(_NEAREST, len(candidates))
    return candidates[np.atleast_1d(cKDTree(data.v_template[candidates]).query(place, count)[1])]


def _held(
    data: BodyModelData, own: Float[np.ndarray, ' V'], place: Float[np.ndarray, '3'], ring: _Row
) -> _Row:
    """Give weights of vertices, one in sum, whose mean is at a place: near those of a ring, where that holds it.

    Else the nearest skin helps. None is below zero where the place lies among the vertices; one outside of them is
    held by weights of both signs.
    """
    more = np.setdiff1d(_nearest(data, own, place), ring[0])
    even = np.zeros(len(more)) if len(ring[0]) else np.full(len(more), 1 / len(more))
    both = np.concatenate((ring[0], more)), np.concatenate((ring[1], even))
    for cols, wanted in (ring, both):
        points = data.v_template[cols] - place
        size = max(float(np.abs(points).max(initial=0)), np.finfo(float).tiny)
        system = np.vstack((_PLACE * points.T / size, _PLACE * np.ones((1, len(cols))), np.eye(len(cols))))
        goal = np.concatenate((np.zeros(3), [_PLACE], wanted))
        weights = nnls(system, goal)[0] if len(cols) else np.zeros(0)
        if len(cols) and np.linalg.norm(weights @ points) <= _OFF * size:
            break
    else:
        weights = np.linalg.lstsq(system, goal)[0]
    kept = np.abs(weights) > _LEAST * np.abs(weights).max()
    return cols[kept], weights[kept] / weights[kept].sum()
