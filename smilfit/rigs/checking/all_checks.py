"""All checks of a body model, one after another, and the arrays that each reads: a broken one hides some of them."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from smilfit.body_models.checks import check_body_model
from smilfit.body_models.data import SparseMatrix
from smilfit.body_models.files.stored_model import StoredModel
from smilfit.rigs.checking.findings import ERROR, NOTE, SEVERITIES, WARNING, Finding
from smilfit.rigs.checking.limit_checks import asymmetric_limits, impossible_limits
from smilfit.rigs.checking.mesh_checks import (
    boundary_edges,
    duplicate_vertices,
    empty_mesh,
    faces_without_area,
    flipped_faces,
    mesh_parts,
    non_manifold_edges,
    unreferenced_vertices,
)
from smilfit.rigs.checking.skeleton_checks import (
    bones_without_length,
    joint_names,
    joints_outside,
    regressor_rows,
    stored_joints,
    tree,
)
from smilfit.rigs.checking.skin_and_shape_checks import (
    joint_scales,
    joints_without_influence,
    negative_weights,
    shape_covariance,
    shape_directions,
    weight_sums,
)
from smilfit.rigs.checking.symmetry_checks import (
    legs_of_arthropods,
    stated_symmetry,
    symmetry_of_the_tree,
    symmetry_plane,
)
from smilfit.rigs.read_rig import listed
from smilfit.structures.body import MILLIMETRES

# Of lengths that are of no unit on purpose.
RELATIVE_UNITS = ('body length',)
# Mites are a tenth of a millimetre; blue whales are 33 m.
LEAST_MM, GREATEST_MM = 0.05, 40_000.0
# A stick insect with its legs stretched is 0.65 m; spider crabs are the exception, hence a warning.
GREATEST_ARTHROPOD_MM = 700.0
_MESH, _SKELETON, _SKIN = ('v_template', 'faces'), ('joints', 'parents'), ('v_template', 'weights')
_SHAPE = ('v_template', 'weights', 'shapedirs', 'shape_cov', 'shape_mean')


def licence(model: StoredModel) -> Iterator[Finding]:
    """Find a model whose file does not name its licence."""
    if not model.data.licence:
        yield Finding('licence', NOTE, '', 'the file states no licence', 'Write down what its authors say.')


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
    result = {}
    for name, shape in shapes.items():
        value = getattr(data, name)
        if value is None:
            continue
        what, count = _wrong(value, shape)
        if what:
            result[name] = Finding('numbers', ERROR, name, what, 'Mend or export the model anew.', count)
    for name, bound in (('faces', vertices), ('symmetry_plane_vertices', vertices)):
        index = getattr(data, name)
        outside = 0 if index is None else int(((index < 0) | (index >= bound)).sum())
        if name not in result and outside:
            what = f'{outside} indices are not those of vertices 0 to {bound - 1}'
            result[name] = Finding('numbers', ERROR, name, what, 'Were vertices deleted?', outside)
    if model.joints is not None and not (
        model.joints.shape == (joints, 3) and np.isfinite(model.joints).all()
    ):
        what = f'the stored joints must be {joints} finite places; got shape {model.joints.shape}'
        result['stored_joints'] = Finding('numbers', WARNING, 'J', what, 'They are not used: take them out.')
    return result


def _wrong(value: np.ndarray | SparseMatrix, shape: tuple[int, ...]) -> tuple[str, int]:
    """Return what is wrong with an array, and at how many places; nothing if it is right."""
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


def size(model: StoredModel) -> Iterator[Finding]:
    """Find a unit that is missing, unknown, or makes the animal impossibly small or large."""
    unit, longest = model.data.unit, model.size
    where = f'unit {unit!r}' if unit else ''
    if unit is None:
        what = f'the file states no unit; the mesh is {longest:.4g} units long'
        advice = 'Give it by `smilfit model clean --unit mm`: nothing can be said in mm without.'
        yield Finding('unit', WARNING, where, what, advice)
    elif unit in MILLIMETRES:
        millimetres = longest * MILLIMETRES[unit]
        what, severity = f'the animal would be {length_in_words(millimetres)} long', ''
        if not LEAST_MM <= millimetres <= GREATEST_MM:
            what, severity = f'{what}, which no animal is', ERROR
        elif millimetres > GREATEST_ARTHROPOD_MM and (legs := legs_of_arthropods(model.data)):
            what = f'{what} and has {len(legs)} pairs of legs ({", ".join(legs)}), as insects, spiders and crabs have'
            severity = WARNING
        if severity:
            factor = 1000.0 if millimetres > 1.0 else 0.001
            other = length_in_words(millimetres / factor)
            advice = f'A factor of 1000 is usual: is it {other}? Give the right unit.'
            yield Finding('unit', severity, where, what, advice, figures={'size_mm': millimetres})
    elif unit not in RELATIVE_UNITS:
        what, advice = 'this unit is not known', f'Known are {", ".join((*MILLIMETRES, *RELATIVE_UNITS))}.'
        yield Finding('unit', WARNING, where, what, advice)


def length_in_words(millimetres: float) -> str:
    """Report a length in the unit that gives it few digits."""
    for unit, factor in (('m', 1000.0), ('mm', 1.0)):
        if millimetres >= factor:
            return f'{millimetres / factor:.3g} {unit}'
    return f'{1000 * millimetres:.3g} um'


class Check(NamedTuple):
    """A check and the arrays that it reads."""

    run: Callable[[StoredModel], Iterable[Finding]]
    reads: tuple[str, ...]


CHECKS = (
    Check(tree, ('parents',)),
    Check(joint_names, ()),
    Check(bones_without_length, (*_SKELETON, 'v_template', 'joint_limits')),
    Check(weight_sums, _SKIN),
    Check(negative_weights, _SKIN),
    Check(joints_without_influence, (*_SKIN, 'parents', 'joint_limits')),
    Check(joints_outside, (*_MESH, 'joints', 'weights')),
    Check(stored_joints, ('v_template', 'joint_regressor', 'stored_joints')),
    Check(regressor_rows, ('joint_regressor',)),
    Check(impossible_limits, ('joint_limits',)),
    Check(asymmetric_limits, ('joint_limits', 'joint_axes', *_SKELETON)),
    Check(stated_symmetry, ('parents',)),
    Check(symmetry_of_the_tree, (*_SKELETON, 'v_template')),
    Check(symmetry_plane, (*_SKELETON, *_SKIN, 'symmetry_plane_vertices')),
    Check(empty_mesh, ('faces',)),
    Check(unreferenced_vertices, (*_MESH, 'weights')),
    Check(duplicate_vertices, (*_MESH, 'weights')),
    Check(boundary_edges, (*_MESH, 'weights')),
    Check(non_manifold_edges, (*_MESH, 'weights')),
    Check(mesh_parts, (*_MESH, 'weights')),
    Check(faces_without_area, (*_MESH, 'weights')),
    Check(flipped_faces, (*_MESH, 'weights')),
    Check(size, ('v_template', *_SKELETON)),
    Check(shape_directions, (*_SHAPE, 'scaledirs', 'transdirs')),
    Check(shape_covariance, _SHAPE),
    Check(joint_scales, (*_SHAPE, 'scaledirs')),
    Check(licence, ()),
)


def check_model(model: StoredModel) -> list[Finding]:
    """Run all checks; gives errors first, then warnings, then notes.

    A check that reads a broken array is not run, and a note says so.
    """
    broken = wrong_arrays(model)
    result = list(broken.values())
    for check in CHECKS:
        hidden = [name for name in check.reads if name in broken]
        if hidden:
            what = f'was not looked at, since {" and ".join(hidden)} cannot be read'
            result.append(Finding('not checked', NOTE, check.run.__name__.replace('_', ' '), what))
        else:
            result += check.run(model)
    if not any(finding.severity == ERROR for finding in result):
        try:
            # The rules, such as of keypoints and landmarks, that loading holds a model to.
            check_body_model(model.data, model.data.name)
        except ValueError as error:
            result.append(Finding('rules', ERROR, model.data.name, str(error).removesuffix('.')))
    return sorted(result, key=lambda finding: SEVERITIES.index(finding.severity))
