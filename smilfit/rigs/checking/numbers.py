"""Numbers that are none, arrays that do not fit each other, indices that point nowhere."""

import numpy as np

from smilfit.body_models.data import SparseMatrix
from smilfit.body_models.stored_model import StoredModel
from smilfit.rigs.checking.finding import ERROR, WARNING, Finding, listed


def wrong_arrays(model: StoredModel) -> dict[str, Finding]:
    """Find arrays that no other check can read, by name: of another shape, with NaN, or with indices outside."""
    data = model.data
    vertices, joints, betas = data.n_vertices, data.n_joints, data.n_betas
    shapes = {
        'v_template': (vertices, 3),
        'faces': (len(data.faces), 3),
        'parents': (joints,),
        'joints': (joints, 3),
        'shapedirs': (vertices, 3, betas),
        'shape_mean': (betas,),
        'shape_cov': (betas, betas),
        'expressiondirs': (vertices, 3, data.n_expression),
        'scaledirs': (betas, joints, 3),
        'transdirs': (betas, joints, 3),
        'posedirs': (9 * (joints - 1), 3 * vertices),
        'joint_limits': (joints, 3, 2),
        'joint_axes': (joints, 3, 3),
        'weights': (vertices, joints),
        'joint_regressor': (joints, vertices),
        'pose_prior_mean': (3 * (joints - 1),),
        'pose_prior_precision': (3 * (joints - 1), 3 * (joints - 1)),
    }
    found = {}
    for name, shape in shapes.items():
        value = getattr(data, name)
        if value is None:
            continue
        what, count = _wrong(value, shape)
        if what:
            found[name] = Finding('numbers', ERROR, name, what, 'Mend or export the model anew.', count)
    for name, bound in (('faces', vertices), ('symmetry_plane_vertices', vertices)):
        index = getattr(data, name)
        outside = 0 if index is None else int(((index < 0) | (index >= bound)).sum())
        if name not in found and outside:
            what = f'{outside} indices are not those of vertices 0 to {bound - 1}'
            found[name] = Finding('numbers', ERROR, name, what, 'Were vertices deleted?', outside)
    if model.joints is not None and not (
        model.joints.shape == (joints, 3) and np.isfinite(model.joints).all()
    ):
        what = f'the stored joints must be {joints} finite places; got shape {model.joints.shape}'
        found['stored_joints'] = Finding('numbers', WARNING, 'J', what, 'They are not used: take them out.')
    return found


def empty_mesh(model: StoredModel) -> list[Finding]:
    """Find a mesh without faces, which has no surface to draw, measure or register."""
    if len(model.data.faces):
        return []
    what = 'there are no faces'
    return [Finding('faces', WARNING, '', what, 'Export the mesh with its triangles.')]


def _wrong(value: np.ndarray | SparseMatrix, shape: tuple[int, ...]) -> tuple[str, int]:
    """Say what is wrong with an array, and at how many places; nothing if it is right."""
    if tuple(value.shape) != shape:
        return f'must have shape {shape}; got {tuple(value.shape)}', 1
    numbers = value
    if isinstance(value, SparseMatrix):
        numbers = value.values
        for index, bound in zip((value.rows, value.cols), shape):
            if len(index) and (index.min() < 0 or index.max() >= bound):
                return f'must index inside {shape}; got {index.min()} to {index.max()}', 1
    assert isinstance(numbers, np.ndarray)
    if numbers.dtype.kind not in 'iufb':
        return f'must be numbers; got {numbers.dtype}', 1
    broken = ~np.isfinite(numbers)
    if broken.any():
        rows = value.rows[broken] if isinstance(value, SparseMatrix) else np.unique(np.nonzero(broken)[0])
        return f'{int(broken.sum())} numbers are NaN or infinite, in rows {listed(rows.tolist())}', int(
            broken.sum()
        )
    return '', 0
