"""All checks of a body model, one after another; what a broken array hides is told."""

from collections.abc import Callable
from typing import NamedTuple

from smilfit.body_models.checks import check_body_model
from smilfit.body_models.stored_model import StoredModel
from smilfit.rigs.checking.finding import ERROR, NOTE, SEVERITIES, Finding
from smilfit.rigs.checking.joint_limits import asymmetric_limits, impossible_limits
from smilfit.rigs.checking.joint_places import joints_outside, regressor_rows, stored_joints
from smilfit.rigs.checking.licence import licence
from smilfit.rigs.checking.mesh_edges import boundary_edges, non_manifold_edges
from smilfit.rigs.checking.mesh_faces import faces_without_area, flipped_faces
from smilfit.rigs.checking.mesh_parts import mesh_parts
from smilfit.rigs.checking.mesh_vertices import duplicate_vertices, unreferenced_vertices
from smilfit.rigs.checking.numbers import empty_mesh, wrong_arrays
from smilfit.rigs.checking.shape_space import joint_scales, shape_covariance, shape_directions
from smilfit.rigs.checking.size import size
from smilfit.rigs.checking.skin_weights import joints_without_influence, negative_weights, weight_sums
from smilfit.rigs.checking.symmetry import stated_symmetry, symmetry_of_the_tree, symmetry_plane
from smilfit.rigs.checking.tree import bones_without_length, joint_names, tree


class Check(NamedTuple):
    """A check and the arrays that it reads."""

    run: Callable[[StoredModel], list[Finding]]
    reads: tuple[str, ...]


_MESH, _SKELETON, _SKIN = ('v_template', 'faces'), ('joints', 'parents'), ('v_template', 'weights')
_SHAPE = ('v_template', 'weights', 'shapedirs', 'shape_cov', 'shape_mean')
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
    found = list(broken.values())
    for check in CHECKS:
        hidden = [name for name in check.reads if name in broken]
        if hidden:
            what = f'was not looked at, since {" and ".join(hidden)} cannot be read'
            found.append(Finding('not checked', NOTE, check.run.__name__.replace('_', ' '), what))
        else:
            found += check.run(model)
    if not any(finding.severity == ERROR for finding in found):
        found += _refused(model)
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def _refused(model: StoredModel) -> list[Finding]:
    """Find the first rule of bodies, such as of keypoints and landmarks, that loading holds a model to."""
    try:
        check_body_model(model.data, model.data.name)
    except ValueError as error:
        return [Finding('rules', ERROR, model.data.name, str(error).removesuffix('.'))]
    return []
