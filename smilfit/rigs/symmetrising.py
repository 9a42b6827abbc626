"""Make the mesh and the joints of a body model the same on both sides."""

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.stored_model import StoredModel
from smilfit.rigs.checking.mirror import joint_pairs, mirror_axis, mirror_centre

# Of the model's size: further from its mirror image, a vertex or a joint is none of the other side.
_IMAGE, _JOINT = 0.01, 0.05
# Of the model's size: partners whose partners stand that near are each other's.
_SAME_PLACE = 1e-9
# Vertices that one without another side follows.
_ABOUT = 4


def symmetrise_mesh(data: BodyModelData) -> tuple[BodyModelData, tuple[str, ...]]:
    """Put each vertex, and each joint, half way between where it is and the image of the one of the other side.

    Both sides count alike. A vertex without one of its own on the other side, within 1 % of the size, moves as those
    about it do, counted. Shape directions stay what they are: an animal may vary on one side.

    Raises:
        ValueError: no pairs of joints that mirror each other along an axis.
    """
    pairs = joint_pairs(data)
    axis = mirror_axis(data, pairs)
    if axis is None:
        raise ValueError(
            f'{data.name}: to symmetrise, joints of two sides must mirror each other along an axis; got '
            f'{len(pairs)} pairs that do not. State them: --symmetry-from-names.'
        )
    size, centre = StoredModel(data).size, mirror_centre(data, pairs, axis)

    def image(points: np.ndarray) -> np.ndarray:
        found = points.copy()
        found[:, axis] = 2 * centre - points[:, axis]
        return found

    x = data.v_template
    apart, partner = cKDTree(x).query(image(x))
    # Seams have vertices on one place: any of them will do.
    mutual = np.linalg.norm(x[partner[partner]] - x, axis=1) <= _SAME_PLACE * size
    has = mutual & (apart <= _IMAGE * size)
    if not has.any():
        raise ValueError(f'{data.name}: no vertex has one on the other side within {_IMAGE:.0%} of the size.')
    step = ((image(x[partner]) - x) / 2)[has]
    lone = np.flatnonzero(~has)
    count = min(_ABOUT, len(step))
    near_by = cKDTree(x[has]).query(x[lone], count)[1].reshape(len(lone), count)
    vertices = x.copy()
    vertices[has] += step
    vertices[lone] += step[near_by].mean(1)
    order = np.arange(data.n_joints)
    for left, right in pairs:
        order[left], order[right] = right, left
    near = np.linalg.norm(image(data.joints[order]) - data.joints, axis=1) <= _JOINT * size
    joints = np.where(near[:, None], (data.joints + image(data.joints[order])) / 2, data.joints)
    if data.joint_regressor is not None:
        joints = joints_of(data, vertices)
    moved = float(np.linalg.norm(vertices - x, axis=1).max())
    shifted = float(np.linalg.norm(joints - data.joints, axis=1).max())
    if max(moved, shifted) <= _SAME_PLACE * size:
        return data, ()
    told = [
        f'vertices were made symmetric along {"xyz"[axis]}, moved by up to {moved:.3g}, joints by up to {shifted:.3g}'
    ]
    if len(lone):
        told.append(
            f'{len(lone)} vertices have none of their own on the other side and moved as those about them'
        )
    return replace(data, v_template=vertices, joints=joints), tuple(told)


def joints_of(data: BodyModelData, vertices: np.ndarray) -> np.ndarray:
    """Give the rest joints (J, 3) of other vertices by the model's regressor, off by what they were before."""
    assert data.joint_regressor is not None
    return data.joints + data.joint_regressor @ (vertices - data.v_template)
