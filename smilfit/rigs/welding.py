"""Weld a mesh: vertices that lie on one place and move alike become one."""

import numpy as np
from scipy.spatial import cKDTree

from smilfit.body_models.data import BodyModelData
from smilfit.rigs.checking.mesh_faces import degenerate_faces
from smilfit.rigs.vertex_numbers import renumber_vertices

# Of the mesh's size: vertices nearer to each other lie on one place, and directions that differ by less are the same.
_SAME_PLACE = 1e-6
# Skinning weights that differ by less are the same; files keep as little as 8 bits of them.
_SAME_WEIGHT = 1 / 255
_MOST_PAIRS = 10_000_000


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
            apart = np.abs(directions[pairs[:, 0]] - directions[pairs[:, 1]])
            alike &= apart.reshape(len(pairs), -1).max(1, initial=0) <= _SAME_PLACE * size
    first = _firsts(pairs[alike], data.n_vertices)
    welded = int((first != np.arange(data.n_vertices)).sum())
    lone = len(np.unique(pairs[~alike]))
    told = []
    if welded:
        _, number = np.unique(first, return_inverse=True)
        data = renumber_vertices(data, number)
        flat = degenerate_faces(data.v_template, data.faces)
        told.append(
            f'{welded} vertices on the place of another were welded to it; the others have new numbers, and an image '
            'of the skin (NAME.texture.npz) fits the model before, not this one'
        )
        if flat.any():
            told.append(f'{int(flat.sum())} faces without area are left by it')
    if lone:
        told.append(f'{lone} vertices on the place of another move otherwise and were left apart')
    return data, tuple(told)


def _by_vertex(posedirs: np.ndarray | None) -> np.ndarray | None:
    """Give pose directions (9 (J-1), 3 V) as (V, 9 (J-1), 3)."""
    return None if posedirs is None else posedirs.reshape(len(posedirs), -1, 3).transpose(1, 0, 2)


def _firsts(pairs: np.ndarray, count: int) -> np.ndarray:
    """Give of each vertex the first of those that pairs, one after the other, make one with it."""
    first = np.arange(count)
    while True:
        least = first.copy()
        np.minimum.at(least, pairs[:, 0], first[pairs[:, 1]])
        np.minimum.at(least, pairs[:, 1], first[pairs[:, 0]])
        if np.array_equal(least, first):
            return first
        first = least
