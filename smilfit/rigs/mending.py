"""Put right what checks of a body model find and what can be put right without asking; each change is counted."""

from dataclasses import replace

import numpy as np

from smilfit.body_models.data import BodyModelData, KeypointDefinition, SparseMatrix
from smilfit.body_models.stored_model import StoredModel
from smilfit.rigs.checking.joint_limits import mirrored_limits
from smilfit.rigs.checking.mesh_faces import degenerate_faces, repeated_faces
from smilfit.rigs.checking.mirror import joint_pairs, mirror_axis, pairs_by_name

# Weights that are off one by less are so by rounding.
_SUM_TOLERANCE = 1e-9

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
    number = np.cumsum(needed) - 1
    count = int(needed.sum())

    def moved(definition: KeypointDefinition) -> KeypointDefinition:
        if isinstance(definition, str):
            return definition
        return {int(number[v]): weight for v, weight in definition.items()}

    kept = needed[data.weights.rows]
    regressor, plane = data.joint_regressor, data.symmetry_plane_vertices
    mended = replace(
        data,
        v_template=data.v_template[needed],
        faces=number[data.faces],
        weights=SparseMatrix(
            number[data.weights.rows[kept]],
            data.weights.cols[kept],
            data.weights.values[kept],
            (count, data.n_joints),
        ),
        joint_regressor=None
        if regressor is None
        else SparseMatrix(regressor.rows, number[regressor.cols], regressor.values, (data.n_joints, count)),
        shapedirs=None if data.shapedirs is None else data.shapedirs[needed],
        expressiondirs=None if data.expressiondirs is None else data.expressiondirs[needed],
        posedirs=None if data.posedirs is None else data.posedirs[:, np.repeat(needed, 3)],
        symmetry_plane_vertices=None if plane is None else number[plane[needed[plane]]],
        keypoint_sets={
            key: {name: moved(d) for name, d in points.items()} for key, points in data.keypoint_sets.items()
        },
        landmarks={n: replace(mark, anchor=moved(mark.anchor)) for n, mark in data.landmarks.items()},
    )
    return mended, (
        f'{data.n_vertices - count} vertices of no face were taken out; the others have new numbers',
    )


def symmetry_from_names(data: BodyModelData) -> Mended:
    """Pair joints whose names are those of two sides, where the model states no symmetry."""
    if data.joint_symmetry:
        return data, ()
    pairs = tuple((data.joint_names[a], data.joint_names[b]) for a, b in pairs_by_name(data))
    if not pairs:
        return data, ()
    return replace(data, joint_symmetry=pairs), (f'{len(pairs)} pairs of joints were taken from their names',)


def symmetrise_limits(data: BodyModelData) -> Mended:
    """Give the joints of two sides each other's mirrored limits, the wider of both."""
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
