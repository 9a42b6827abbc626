"""A joint regressor for joints that stand where they stand."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import nnls
from scipy.spatial import cKDTree

from smilfit.body_models.data import BodyModelData, SparseMatrix
from smilfit.body_models.stored_model import StoredModel

# Of the model's size: a joint nearer to where its row puts it needs no other row; files state places in five digits.
_SAME = 1e-5
# Of the model's size: what a fitted row may miss.
_MISSED = 1e-9
# Vertices around a joint among which a row is looked for.
_AROUND = 60
# How much more standing right counts than staying near the old row.
_EXACT = 1e4


def fit_joint_regressor(model: StoredModel) -> tuple[BodyModelData, tuple[str, ...]]:
    """Make a regressor that puts the rest joints where the file states them.

    Rows that do so already stay. Others are the nearest to the old row, or to even weights where there is none, that
    sum to one and put the joint there, of vertices of the old row and around the joint; weights are not negative
    where the joint lies among them.
    """
    data = model.data
    stated = data.joints if model.joints is None else model.joints
    vertices, tree = data.v_template, cKDTree(data.v_template)
    size = float(np.ptp(vertices, axis=0).max())
    rows = _rows(data)
    fitted, outside = [], []
    for j, place in enumerate(stated):
        old, weights = rows[j]
        if len(old) and np.linalg.norm(weights @ vertices[old] - place) <= _SAME * size:
            continue
        near = np.atleast_1d(tree.query(place, k=min(_AROUND, len(vertices)))[1])
        used = np.union1d(old, near).astype(np.int64)
        start = np.full(len(used), 1 / len(used))
        if len(old):
            start = np.zeros(len(used))
            start[np.searchsorted(used, old)] = weights
        row = _row(vertices[used] - place, start, size)
        if row.min() < 0:
            outside.append(data.joint_names[j])
        kept = row != 0
        rows[j] = used[kept], row[kept]
        fitted.append(data.joint_names[j])
    if not fitted:
        return replace(data, joints=stated), ()
    told = [f'the regressor of {len(fitted)} joints was fitted to where they stand: {_listed(fitted)}']
    if outside:
        told.append(
            f'{len(outside)} joints lie outside of the skin around them, and their rows have negative weights: '
            f'{_listed(outside)}'
        )
    regressor = _matrix(rows, data)
    return replace(data, joint_regressor=regressor, joints=stated), tuple(told)


def _rows(data: BodyModelData) -> list[tuple[Int[np.ndarray, ' n'], Float[np.ndarray, ' n']]]:
    """Give vertices and weights of each joint's row; empty where there is none."""
    matrix = data.joint_regressor
    if matrix is None:
        return [(np.zeros(0, np.int64), np.zeros(0))] * data.n_joints
    return [
        (matrix.cols[mine], matrix.values[mine]) for mine in (matrix.rows == j for j in range(data.n_joints))
    ]


def _matrix(rows: list[tuple[np.ndarray, np.ndarray]], data: BodyModelData) -> SparseMatrix:
    joint = np.concatenate([np.full(len(v), j) for j, (v, _) in enumerate(rows)])
    vertex, weight = (np.concatenate([row[k] for row in rows]) for k in range(2))
    return SparseMatrix(joint, vertex.astype(np.int64), weight, (data.n_joints, data.n_vertices))


def _row(
    around: Float[np.ndarray, 'n 3'], start: Float[np.ndarray, ' n'], size: float
) -> Float[np.ndarray, ' n']:
    """Give weights near `start` that sum to one and put the mean of points at 0.

    Not negative where that goes: non-negative least squares with the rules weighted highly, then the smallest change
    that keeps them exactly. Else the smallest change alone (minimum norm).
    """
    rules = np.vstack((np.ones(len(around)), around.T / size))
    wanted = np.array([1.0, 0, 0, 0])
    system = np.vstack((_EXACT * rules, np.eye(len(start))))
    found = nnls(system, np.concatenate((_EXACT * wanted, start)))[0]
    held = found > 0
    if held.sum() >= len(wanted):
        exact = np.zeros_like(found)
        exact[held] = found[held] + _change(rules[:, held], wanted - rules @ found)
        if exact.min() >= 0 and np.abs(rules @ exact - wanted).max() <= _MISSED:
            return exact
    return start + _change(rules, wanted - rules @ start)


def _change(rules: np.ndarray, missing: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(rules, missing, rcond=None)[0]


def _listed(names: list[str]) -> str:
    return ', '.join(names[:6]) + (', ...' if len(names) > 6 else '')
