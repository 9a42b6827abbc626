"""Put right what checks of a body model find and what can be put right without asking; each change is counted."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from smilfit.body_models.data import BodyModelData, SparseMatrix
from smilfit.body_models.files.stored_model import StoredModel
from smilfit.body_models.joint_limits import DEFAULT, FILE, USER, origins_in_words
from smilfit.rigs.checking.limit_checks import mirrored_limits
from smilfit.rigs.checking.symmetry_checks import symmetry_plane
from smilfit.rigs.cleaning import TAKEN_OUT, renumber_vertices
from smilfit.rigs.defaults import limits_or_default
from smilfit.rigs.limits import read_limits
from smilfit.rigs.symmetry import joint_pairs, mirror_axis, mirror_centre, pairs_by_name
from smilfit.rigs.triangles import degenerate_faces, repeated_faces

# Weights that are off one by less are so by rounding.
_SUM_TOLERANCE = 1e-6
# Of the model's size: vertices nearer than that are on the plane that mirrors it.
_ON_PLANE = 1e-4

Mended = tuple[BodyModelData, tuple[str, ...]]


def normalise_weights(data: BodyModelData) -> Mended:
    """Take weights below zero out and make those of every vertex sum to one.

    Raises:
        ValueError: a vertex without any weight: nobody can say here what it hangs on.
    """
    weights = data.weights
    kept = weights.values > 0
    rows, values = weights.rows[kept], weights.values[kept]
    sums = np.bincount(rows, values, data.n_vertices)
    bare = np.flatnonzero(sums == 0)
    if len(bare):
        raise ValueError(
            f'{data.name}: every vertex must have a skinning weight; got {len(bare)} without, such as vertex '
            f'{bare[0]}. Weight them in the authoring tool.'
        )
    done = []
    if (weights.values < 0).any():
        done.append(f'{int((weights.values < 0).sum())} weights below zero were taken out')
    off = np.abs(sums - 1)
    if (off > _SUM_TOLERANCE).any():
        done.append(
            f'the weights of {int((off > _SUM_TOLERANCE).sum())} vertices were normalised, off by {off.max():.2g}'
        )
    if not done:
        return data, ()
    return replace(
        data, weights=SparseMatrix(rows, weights.cols[kept], values / sums[rows], weights.shape)
    ), tuple(done)


def drop_bad_faces(data: BodyModelData) -> Mended:
    """Take out faces without area and faces that repeat another."""
    flat, twice = degenerate_faces(data.v_template, data.faces), repeated_faces(data.faces)
    bad = flat | twice
    if not bad.any():
        return data, ()
    counts = (
        f'{int(flat.sum())} faces without area and {int((twice & ~flat).sum())} repeated ones were taken out'
    )
    return replace(data, faces=data.faces[~bad]), (counts,)


def drop_loose_vertices(data: BodyModelData) -> Mended:
    """Take out vertices of no face that neither the joint regressor nor keypoints nor landmarks need."""
    needed = np.zeros(data.n_vertices, bool)
    needed[data.faces] = True
    held = [d for points in data.keypoint_sets.values() for d in points.values()]
    held += [mark.anchor for mark in data.landmarks.values()]
    needed[[v for definition in held if not isinstance(definition, str) for v in definition]] = True
    if data.joint_regressor is not None:
        needed[data.joint_regressor.cols] = True
    if not len(data.faces) or needed.all():
        return data, ()
    mended = renumber_vertices(data, np.where(needed, np.cumsum(needed) - 1, TAKEN_OUT))
    count = data.n_vertices - mended.n_vertices
    return mended, (f'{count} vertices of no face were taken out; the others have new numbers',)


def symmetry_from_names(data: BodyModelData) -> Mended:
    """Pair joints whose names are those of two sides, where the model states no symmetry."""
    if data.joint_symmetry:
        return data, ()
    pairs = tuple((data.joint_names[a], data.joint_names[b]) for a, b in pairs_by_name(data))
    if not pairs:
        return data, ()
    return replace(data, joint_symmetry=pairs), (f'{len(pairs)} pairs of joints were taken from their names',)


def plane_of_joints(data: BodyModelData) -> Mended:
    """List the vertices on the plane that mirrors the joints, where those that are listed lie off it."""
    pairs = joint_pairs(data)
    axis = mirror_axis(data, pairs)
    if axis is None or not any(symmetry_plane(StoredModel(data))):
        return data, ()
    off = np.abs(data.v_template[:, axis] - mirror_centre(data, pairs, axis))
    plane = np.flatnonzero(off < _ON_PLANE * StoredModel(data).size)
    words = f'the symmetry plane has {len(plane)} vertices now, those half way between the sides along {"xyz"[axis]}'
    return replace(data, symmetry_plane_vertices=plane), (words,)


def symmetrise_limits(data: BodyModelData) -> Mended:
    """Return the joints of two sides each other's mirrored limits, the wider of both."""
    pairs = joint_pairs(data)
    axis = mirror_axis(data, pairs)
    if data.joint_limits is None or axis is None:
        return data, ()
    limits, changed = data.joint_limits.copy(), 0.0
    count = 0
    for left, right in pairs:
        image = mirrored_limits(data, limits[right], (right, left), axis)
        if image is None:
            continue
        wide = np.stack(
            (np.minimum(limits[left, :, 0], image[:, 0]), np.maximum(limits[left, :, 1], image[:, 1])), 1
        )
        other = mirrored_limits(data, wide, (left, right), axis)
        assert other is not None
        both = np.stack((wide, other))
        off = float(np.abs(both - limits[[left, right]]).max())
        count, changed = count + (off > 0), max(changed, off)
        limits[[left, right]] = both
    if not count:
        return data, ()
    words = f'limits of {count} pairs of joints were made symmetric, moved by up to {np.degrees(changed):.1f} degrees'
    return replace(data, joint_limits=limits), (words,)


def joints_of_regressor(model: StoredModel) -> Mended:
    """Put the rest joints where the regressor says."""
    data = model.data
    if data.joint_regressor is None:
        return data, ()
    joints = data.joint_regressor @ data.v_template
    stored = data.joints if model.joints is None else model.joints
    off = float(np.linalg.norm(joints - stored, axis=1).max())
    if off == 0:
        return data, ()
    words = f'rest joints are those of the regressor now; the stored ones were off by up to {off:.3g}'
    return replace(data, joints=joints), (words,)


def joints_as_stored(model: StoredModel) -> Mended:
    """Put the rest joints where the file states them, and let shape no longer move them."""
    data = model.data
    if data.joint_regressor is None:
        return data, ()
    stored = data.joints if model.joints is None else model.joints
    words = (
        'rest joints are the stored ones now, and static: the regressor that contradicts them was taken out'
    )
    return replace(data, joints=stored, joint_regressor=None), (words,)


def user_limits(data: BodyModelData, path: str | Path) -> Mended:
    """Set the limits that a user's table names (csv: joint,axis,min_deg,max_deg); the others stay what they are.

    Where the model states none, joints that the table does not name get the default ones.

    Raises:
        UnknownNameError: a joint that is not there.
        BadFileError: another table.
    """
    rest = DEFAULT if data.joint_limits is None else FILE
    table = read_limits(path, data.joint_names, limits_or_default(data))
    before = data.joint_limits_from or (rest,) * data.n_joints
    origins = tuple(USER if n in table.joints else origin for n, origin in zip(data.joint_names, before))
    words = f'limits of {len(table.joints)} joints are those of {Path(path).name} now: {origins_in_words(origins)}'
    return replace(data, joint_limits=table.limits, joint_limits_from=origins), (words,)
