"""What of a rig's mesh and weights must be put right before it is a body model, counted."""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from smilfit.body_models.data import BodyModelData, KeypointDefinition, Landmark, SparseMatrix
from smilfit.rigs.triangles import degenerate_faces, face_areas

# Weights below this move a vertex by less than any number here is exact to.
_NOTHING = 1e-9
# The sum of a vertex's weights is one up to what files of 8 bits can say.
_SUM_OFF = 0.01
# Said of what is counted.
WITHOUT_WEIGHTS = 'vertices without weights, hung on the nearest joint'
# Of the mesh's size, squared: a triangle of less area is a line.
_LINE = 1e-14
TAKEN_OUT = -1
# Of the mesh's size: vertices nearer to each other lie on one place, and directions that differ by less are the same.
_SAME_PLACE = 1e-6
# Skinning weights that differ by less are the same; files keep as little as 8 bits of them.
_SAME_WEIGHT = 1 / 255
_MOST_PAIRS = 10_000_000


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
    flat = 2 * face_areas(vertices, faces) <= _LINE * size**2
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


def renumber_vertices(data: BodyModelData, number: Int[np.ndarray, ' V']) -> BodyModelData:
    """Return vertices new numbers, in everything that counts them.

    Of vertices that become one, place, skinning weights and directions are those of the first; what regressor rows
    and keypoints give them is added up. Faces keep their order; those that lose a corner are not looked for.

    Args:
        number: of each vertex, from 0 without gaps; `TAKEN_OUT` for one that neither faces nor the regressor,
            keypoints or landmarks need.
    """
    count = int(number.max()) + 1
    kept = np.flatnonzero(number != TAKEN_OUT)
    # The first of those that become one.
    first = np.full(count, len(number))
    np.minimum.at(first, number[kept], kept)
    place = np.full(len(number), TAKEN_OUT)
    place[first] = np.arange(count)
    mine = place[data.weights.rows] != TAKEN_OUT
    plane = data.symmetry_plane_vertices
    return replace(
        data,
        v_template=data.v_template[first],
        faces=number[data.faces],
        weights=SparseMatrix(
            place[data.weights.rows[mine]],
            data.weights.cols[mine],
            data.weights.values[mine],
            (count, data.n_joints),
        ),
        joint_regressor=_regressor(data.joint_regressor, number, count),
        shapedirs=None if data.shapedirs is None else data.shapedirs[first],
        expressiondirs=None if data.expressiondirs is None else data.expressiondirs[first],
        posedirs=None
        if data.posedirs is None
        else data.posedirs.reshape(len(data.posedirs), -1, 3)[:, first].reshape(len(data.posedirs), -1),
        symmetry_plane_vertices=None if plane is None else _numbers(number[plane]),
        keypoint_sets={
            key: {name: _keypoint(d, number) for name, d in points.items()}
            for key, points in data.keypoint_sets.items()
        },
        landmarks={name: _landmark(mark, number) for name, mark in data.landmarks.items()},
    )


def _numbers(numbers: np.ndarray) -> np.ndarray:
    """Return numbers of the vertices that are left, each once."""
    return np.unique(numbers[numbers != TAKEN_OUT])


def _regressor(given: SparseMatrix | None, number: np.ndarray, count: int) -> SparseMatrix | None:
    if given is None:
        return None
    key, back = np.unique(given.rows * count + number[given.cols], return_inverse=True)
    values = np.bincount(back, given.values, len(key))
    return SparseMatrix(key // count, key % count, values, (given.shape[0], count))


def _keypoint(definition: KeypointDefinition, number: np.ndarray) -> KeypointDefinition:
    if isinstance(definition, str):
        return definition
    result: dict[int, float] = {}
    for vertex, weight in definition.items():
        result[int(number[vertex])] = result.get(int(number[vertex]), 0.0) + weight
    return result


def _landmark(mark: Landmark, number: np.ndarray) -> Landmark:
    return replace(mark, anchor=_keypoint(mark.anchor, number))


def thin_weights(
    data: BodyModelData, most: int | None = None, least: float = 0.0
) -> tuple[BodyModelData, tuple[str, ...]]:
    """Keep the heaviest weights of each vertex, and make them sum to one.

    Args:
        most: so many joints a vertex at most; None keeps all.
        least: weights below this go, but never a vertex's heaviest.

    Returns:
        The model, and what was done in words; the very same model where nothing was.

    Raises:
        ValueError: fewer than one joint a vertex, or a least weight that is no share.
    """
    if most is not None and most < 1:
        raise ValueError(f'most weights: must be at least 1; got {most}.')
    if not 0 <= least < 1:
        raise ValueError(f'least weight: must be from 0 to below 1; got {least:g}.')
    weights = data.weights
    # By vertex, the heaviest first.
    order = np.lexsort((weights.cols, -weights.values, weights.rows))
    rows, values = weights.rows[order], weights.values[order]
    first = np.searchsorted(rows, rows)
    place = np.arange(len(rows)) - first
    few = np.ones(len(rows), bool) if most is None else place < most
    heavy = (values >= least) | (place == 0)
    kept = few & heavy
    if kept.all():
        return data, ()
    rows, cols, values = rows[kept], weights.cols[order][kept], values[kept]
    sums = np.bincount(rows, values, data.n_vertices)
    lost = 1 - sums[np.unique(rows)]
    notes = [
        f'{int((~kept).sum())} weights were taken out of {len(np.unique(weights.rows[order][~kept]))} vertices, '
        f'which lost up to {100 * lost.max():.2g} % of their weight: {int((~few).sum())} beyond {most} joints a '
        f'vertex, {int((few & ~heavy).sum())} below {least:g}'
    ]
    back = np.lexsort((cols, rows))
    thin = SparseMatrix(rows[back], cols[back], (values / sums[rows])[back], weights.shape)
    return replace(data, weights=thin), tuple(notes)


def weld_vertices(data: BodyModelData) -> tuple[BodyModelData, tuple[str, ...]]:
    """Make one of vertices that lie on one place, have the same weights and move alike with shape and pose.

    Exporters split vertices where an image has a seam or an edge is sharp. Welded, the mesh is closed there, and a
    seam has one place in the image instead of two, so a texture no longer fits. What lies on one place but moves
    otherwise (two surfaces that touch) stays apart, and is counted.
    """
    size = float(np.ptp(data.v_template, axis=0).max())
    dense = data.weights.to_dense()
    tree = cKDTree(data.v_template)
    count = int(tree.count_neighbors(tree, _SAME_PLACE * size) - data.n_vertices) // 2
    if count > _MOST_PAIRS:
        raise ValueError(
            f'{data.name}: at most {_MOST_PAIRS:,} pairs of vertices may lie on one place; got {count:,}. The mesh '
            'is there many times over, or without size: leave the copies out, and import the rig again.'
        )
    pairs = tree.query_pairs(_SAME_PLACE * size, output_type='ndarray')
    if not len(pairs):
        return data, ()
    alike = np.abs(dense[pairs[:, 0]] - dense[pairs[:, 1]]).max(1, initial=0) <= _SAME_WEIGHT
    for directions in (data.shapedirs, data.expressiondirs, _by_vertex(data.posedirs)):
        if directions is not None:
            difference = np.abs(directions[pairs[:, 0]] - directions[pairs[:, 1]])
            alike &= difference.reshape(len(pairs), -1).max(1, initial=0) <= _SAME_PLACE * size
    first = _firsts(pairs[alike], data.n_vertices)
    welded = int((first != np.arange(data.n_vertices)).sum())
    lone = len(np.unique(pairs[~alike]))
    notes = []
    if welded:
        _, number = np.unique(first, return_inverse=True)
        data = renumber_vertices(data, number)
        flat = degenerate_faces(data.v_template, data.faces)
        notes.append(
            f'{welded} vertices on the place of another were welded to it; the others have new numbers, and an image '
            'of the skin (NAME.texture.npz) fits the model before, not this one'
        )
        if flat.any():
            notes.append(f'{int(flat.sum())} faces without area are left by it')
    if lone:
        notes.append(f'{lone} vertices on the place of another move otherwise and were left apart')
    return data, tuple(notes)


def _by_vertex(posedirs: np.ndarray | None) -> np.ndarray | None:
    """Return pose directions (9 (J-1), 3 V) as (V, 9 (J-1), 3)."""
    return None if posedirs is None else posedirs.reshape(len(posedirs), -1, 3).transpose(1, 0, 2)


def _firsts(pairs: np.ndarray, count: int) -> np.ndarray:
    """Return of each vertex the first of those that pairs, one after the other, make one with it."""
    first = np.arange(count)
    while True:
        least = first.copy()
        np.minimum.at(least, pairs[:, 0], first[pairs[:, 1]])
        np.minimum.at(least, pairs[:, 1], first[pairs[:, 0]])
        if np.array_equal(least, first):
            return first
        first = least
