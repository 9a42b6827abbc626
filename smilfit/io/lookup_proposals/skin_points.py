"""Points of the skin beside a joint, where an annotator sees what a rig has inside."""

import numpy as np
from jaxtyping import Bool, Float

from smilfit.body_models.data import BodyModelData
from smilfit.io.lookup_proposals.body_axes import BodyAxes
from smilfit.io.lookup_proposals.part_names import LEFT, RIGHT

# How far from the line out of the joint a vertex may lie, share of the body; then farther ones.
_REACHES = (0.02, 0.04, 0.08)
# A joint so near to its tip is the tip, share of the body.
_AT_TIP = 0.02
# A vertex counts to the bones around a joint where they carry so much of it.
_LEAST_WEIGHT = 0.3


def skin_vertex(body: BodyModelData, joint: str, towards: str, side: str, axes: BodyAxes) -> int | None:
    """Find the skin's outermost vertex from a joint.

    Args:
        body: the model, at rest.
        joint: its name.
        towards: `'up'` or `'side'`.
        side: `'left'`, `'right'`, or none: then that of the joint.
        axes: of the model.

    Returns:
        A vertex that the joint, its parent or its children move; None where there is none in that direction.
    """
    index = body.joint_names.index(joint)
    start = body.joints[index]
    direction = axes.up if towards == 'up' else axes.left * _sign(body, start, side, axes)
    return _outermost(body, start, direction, _share_of(body, index) >= _LEAST_WEIGHT)


def skin_from(
    body: BodyModelData, start: Float[np.ndarray, '3'], towards: str, side: str, axes: BodyAxes
) -> int | None:
    """Find the skin's outermost vertex from a point, straight above it or to a side; None where there is none."""
    direction = axes.left * _sign(body, start, side, axes) if towards == 'side' else axes.up
    return _outermost(body, start, direction, np.ones(body.n_vertices, bool))


def _outermost(
    body: BodyModelData,
    start: Float[np.ndarray, '3'],
    direction: Float[np.ndarray, '3'],
    ours: Bool[np.ndarray, 'V'],
) -> int | None:
    seen = body.v_template - start
    along = seen @ direction
    across = np.linalg.norm(seen - along[:, None] * direction, axis=1)
    for reach in _REACHES:
        near = np.flatnonzero(ours & (along > 0) & (across < reach * body.rest_size))
        if len(near):
            return int(near[(along - across)[near].argmax()])
    return None


def tip_vertex(body: BodyModelData, joint: str) -> int | None:
    """Find the tip of the last bone of a chain, farthest out along it; None where the joint itself is there."""
    index = body.joint_names.index(joint)
    direction = body.joints[index] - body.joints[max(int(body.parents[index]), 0)]
    length = np.linalg.norm(direction)
    ours = np.flatnonzero(_share_of(body, index) >= _LEAST_WEIGHT)
    if not length or not len(ours):
        return None
    along = (body.v_template[ours] - body.joints[index]) @ (direction / length)
    farthest = int(along.argmax())
    return int(ours[farthest]) if along[farthest] > _AT_TIP * body.rest_size else None


def _sign(body: BodyModelData, start: Float[np.ndarray, '3'], side: str, axes: BodyAxes) -> float:
    if side:
        return {LEFT: 1.0, RIGHT: -1.0}[side]
    return 1.0 if (start - body.joints.mean(0)) @ axes.left >= 0 else -1.0


def _share_of(body: BodyModelData, joint: int) -> Float[np.ndarray, 'V']:
    """Sum the skinning weights of a joint and its neighbours in the tree."""
    around = {joint, int(body.parents[joint]), *np.flatnonzero(body.parents == joint).tolist()}
    ours = np.isin(body.weights.cols, sorted(around))
    return np.bincount(body.weights.rows[ours], body.weights.values[ours], body.n_vertices)
