"""Give the vertices of a body model other numbers: some are taken out, some become one."""

from dataclasses import replace

import numpy as np
from jaxtyping import Int

from smilfit.body_models.data import BodyModelData, KeypointDefinition, SparseMatrix
from smilfit.body_models.landmarks import Landmark

TAKEN_OUT = -1


def renumber_vertices(data: BodyModelData, number: Int[np.ndarray, ' V']) -> BodyModelData:
    """Give vertices new numbers, in everything that counts them.

    Of vertices that become one, place, skinning weights and directions are those of the first; what regressor rows
    and keypoints give them is added up. Faces keep their order; those that lose a corner are not looked for.

    Args:
        data: the model.
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


def _numbers(found: np.ndarray) -> np.ndarray:
    """Give numbers of the vertices that are left, each once."""
    return np.unique(found[found != TAKEN_OUT])


def _regressor(given: SparseMatrix | None, number: np.ndarray, count: int) -> SparseMatrix | None:
    if given is None:
        return None
    key, back = np.unique(given.rows * count + number[given.cols], return_inverse=True)
    values = np.bincount(back, given.values, len(key))
    return SparseMatrix(key // count, key % count, values, (given.shape[0], count))


def _keypoint(definition: KeypointDefinition, number: np.ndarray) -> KeypointDefinition:
    if isinstance(definition, str):
        return definition
    found: dict[int, float] = {}
    for vertex, weight in definition.items():
        found[int(number[vertex])] = found.get(int(number[vertex]), 0.0) + weight
    return found


def _landmark(mark: Landmark, number: np.ndarray) -> Landmark:
    return replace(mark, anchor=_keypoint(mark.anchor, number))
