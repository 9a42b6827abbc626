"""Joint regressors: of joints that stay where they stand, and of joints in the middle of rings of skin."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import nnls
from scipy.spatial import cKDTree

from smilfit.body_models.data import BodyModelData, SparseMatrix
from smilfit.body_models.files.stored_model import StoredModel
from smilfit.rigs.read_rig import listed

_HALF = 0.5
# Rows keep what is more than this share.
_LEAST = 1e-6
# Vertices and their weights, which sum to one; both empty where there is no row.
Row = tuple[Int[np.ndarray, ' _'], Float[np.ndarray, ' _']]
NO_ROW: Row = (np.zeros(0, np.int64), np.zeros(0))
# Of the model's size: a joint nearer to where its row puts it needs no other row; files state places in five digits.
_SAME = 1e-5
# Of the model's size: what a fitted row may miss.
_MISSED = 1e-9
# Vertices around a joint among which a row is looked for.
_AROUND = 60
# How much more standing right counts than staying near the old row.
_EXACT = 1e4
# Joints of which it is told how far they moved.
_NAMED = 4


def ring_rows(data: BodyModelData) -> list[Row]:
    """Return by joint the row that puts it in the middle of its ring; none of the root and of joints without a
    ring."""
    below = data.weights.to_dense()
    for joint in range(data.n_joints - 1, 0, -1):
        below[:, data.parents[joint]] += below[:, joint]
    return [
        NO_ROW if parent < 0 else _ring(data, below[:, joint])
        for joint, parent in enumerate(data.parents.tolist())
    ]


def _ring(data: BodyModelData, below: Float[np.ndarray, ' V']) -> Row:
    """Return the centroid of the curve on which half of the weight hangs below a joint; no row where there is
    none."""
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


def fit_joint_regressor(model: StoredModel) -> tuple[BodyModelData, tuple[str, ...]]:
    """Make a regressor that puts the rest joints where the file states them.

    Rows that do so already stay. Others are the nearest to the old row, or where there is none to that of the ring of
    skin there, or else to even weights, that sum to one and put the joint there, of vertices of that row and around
    the joint; weights are not negative where the joint lies among them.
    """
    data = model.data
    stated = data.joints if model.joints is None else model.joints
    vertices, tree = data.v_template, cKDTree(data.v_template)
    size = float(np.ptp(vertices, axis=0).max())
    rows = [old if len(old[0]) else ring for old, ring in zip(_rows(data), ring_rows(data))]
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
    notes = [f'the regressor of {len(fitted)} joints was fitted to where they stand: {listed(fitted)}']
    if outside:
        notes.append(
            f'{len(outside)} joints lie outside of the skin around them, and their rows have negative weights: '
            f'{listed(outside)}'
        )
    regressor = _matrix(rows, data)
    return replace(data, joint_regressor=regressor, joints=stated), tuple(notes)


def joints_of_rings(data: BodyModelData) -> tuple[BodyModelData, tuple[str, ...]]:
    """Put joints in the middle of the rings where their skin meets their parent's, and write the regressor of these.

    Joints without a ring, and the root, stay where they are; their rows are fitted.
    """
    rings = ring_rows(data)
    before = _rows(data)
    rows = [ring if len(ring[0]) else old for ring, old in zip(rings, before)]
    places = [data.joints[j] if not len(v) else w @ data.v_template[v] for j, (v, w) in enumerate(rings)]
    by = np.linalg.norm(np.stack(places) - data.joints, axis=1)
    between = replace(data, joint_regressor=_matrix(rows, data))
    fitted, more = fit_joint_regressor(StoredModel(between, np.stack(places)))
    furthest = ', '.join(f'{by[j]:.3g} ({data.joint_names[j]})' for j in np.argsort(-by)[:_NAMED])
    count = sum(len(vertices) > 0 for vertices, _ in rings)
    notes = [
        f'{count} joints are in the middle of the rings between the parts now; they moved by up to {furthest}'
    ]
    kept = [name for name, (vertices, _) in zip(data.joint_names, rings) if not len(vertices)]
    if kept:
        notes.append(f'{len(kept)} joints have no ring of skin to their parent and stayed: {listed(kept)}')
    return fitted, (*notes, *more)


def _rows(data: BodyModelData) -> list[Row]:
    """Return vertices and weights of each joint's row; empty where there is none."""
    matrix = data.joint_regressor
    if matrix is None:
        return [NO_ROW] * data.n_joints
    return [
        (matrix.cols[mine], matrix.values[mine]) for mine in (matrix.rows == j for j in range(data.n_joints))
    ]


def _matrix(rows: list[Row], data: BodyModelData) -> SparseMatrix:
    joint = np.concatenate([np.full(len(v), j) for j, (v, _) in enumerate(rows)])
    vertex, weight = (np.concatenate([row[k] for row in rows]) for k in range(2))
    return SparseMatrix(joint, vertex.astype(np.int64), weight, (data.n_joints, data.n_vertices))


def _row(
    around: Float[np.ndarray, 'n 3'], start: Float[np.ndarray, ' n'], size: float
) -> Float[np.ndarray, ' n']:
    """Return weights near `start` that sum to one and put the mean of points at 0.

    Not negative where that goes: non-negative least squares with the rules weighted highly, then the smallest change
    that keeps them exactly. Else the smallest change alone (minimum norm).
    """
    rules = np.vstack((np.ones(len(around)), around.T / size))
    wanted = np.array([1.0, 0, 0, 0])
    system = np.vstack((_EXACT * rules, np.eye(len(start))))
    result = nnls(system, np.concatenate((_EXACT * wanted, start)))[0]
    held = result > 0
    if held.sum() >= len(wanted):
        exact = np.zeros_like(result)
        exact[held] = result[held] + _change(rules[:, held], wanted - rules @ result)
        if exact.min() >= 0 and np.abs(rules @ exact - wanted).max() <= _MISSED:
            return exact
    return start + _change(rules, wanted - rules @ start)


def _change(rules: np.ndarray, missing: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(rules, missing, rcond=None)[0]
