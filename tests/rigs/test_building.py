"""What is done to a rig on its way to a body model, each rule once, on rigs made in place."""

from dataclasses import replace

import numpy as np
import pytest

from smilfit.body_models.data import SparseMatrix
from smilfit.rigs import Rig, Site, build_model
from smilfit.rigs.read_rig import nearest_rotations
from smilfit.rigs.rig_import import report_lines
from smilfit.rigs.suspicions import suspected_unit
from smilfit.rigs.symmetry import find_symmetry
from smilfit.rigs.trees import body_tree


def made_rig(**changes):
    """A strip of squares along x over a chain of joints: root, hip, knee, end, and a handle without a parent."""
    x, y = np.meshgrid(np.arange(5.0), [-0.5, 0.5], indexing='ij')
    vertices = np.stack((x, y, 0.1 * x), -1).reshape(-1, 3)
    i = np.arange(0, 8, 2)
    faces = np.concatenate((np.stack((i, i + 1, i + 2), 1), np.stack((i + 1, i + 3, i + 2), 1)))
    weights = np.zeros((10, 5))
    weights[:5, 1], weights[5:, 2] = 1.0, 1.0
    rest = np.tile(np.eye(4), (5, 1, 1))
    rest[:, 0, 3] = [0, 1, 2, 4, 9]
    names = ('root', 'hip', 'knee', 'tip', 'ik_foot')
    parents = np.array([-1, 0, 1, 2, -1])
    return replace(
        Rig('strip', vertices, faces, names, parents, rest, SparseMatrix.from_dense(weights), unit='m'),
        **changes,
    )


def test_the_root_is_the_first_joint_that_moves_skin_and_the_rest_hangs_below_it():
    data, report = build_model(made_rig())
    assert data.joint_names == ('hip', 'root', 'knee', 'tip', 'ik_foot')
    assert data.parents.tolist() == [-1, 0, 0, 2, 0]
    assert data.joint_limits.any((1, 2)).tolist() == [True, False, True, False, False]
    assert report.unfitted == {
        'above the root': ('root',), 'ends of bones': ('tip',), 'helpers that move no skin': ('ik_foot',)
    }  # fmt: skip
    assert report.joined == ('ik_foot',)


def test_a_joint_with_a_keypoint_is_fitted():
    data, _ = build_model(made_rig(sites={'toe': Site('tip', np.array([0.1, 0, 0]))}))
    assert data.joint_limits[data.joint_names.index('tip')].any()
    assert data.landmarks['toe'].bone == 'tip'


def test_loops_are_refused():
    with pytest.raises(ValueError, match='below itself'):
        body_tree(np.array([2, 0, 1]), np.ones(3))


def test_weights_are_cleaned_and_all_of_it_is_told():
    rig = made_rig()
    dense = rig.weights.to_dense()
    dense[0] = 0
    dense[1, 1], dense[2, 1], dense[3, 2] = 0.5, 3.0, -0.2
    degenerate = np.concatenate((rig.faces, [[0, 0, 1]]))
    data, report = build_model(replace(rig, weights=SparseMatrix.from_dense(dense), faces=degenerate))
    np.testing.assert_allclose(data.weights.to_dense().sum(1), 1)
    assert len(data.faces) == len(rig.faces)
    assert report.cleaned == {
        'negative or not finite weights dropped': 1,
        'vertices whose weights did not sum to one': 2,
        'vertices without weights, hung on the nearest joint': 1,
        'triangles without area left out': 1,
    }
    # The vertex at the origin is nearest to the hip of the two joints that move skin.
    assert data.weights.to_dense()[0, data.joint_names.index('hip')] == 1
    assert any('1 triangles without area' in line for line in report_lines(report))


@pytest.mark.parametrize('normal', [[0, 1, 0], [0, 0, 1], [0.6, 0.8, 0]])
def test_a_mirror_across_any_axis_pairs_joints_by_place(normal):
    rng, normal = np.random.default_rng(0), np.array(normal, float)
    half = rng.random((200, 3)) @ np.diag([3, 2, 1.0])
    half = half - np.minimum(half @ normal, 0)[:, None] * normal
    vertices = np.concatenate((half, half - 2 * (half @ normal)[:, None] * normal))
    paw = 1.5 * normal + [0.3, 0.1, 0.2]
    joints = np.array([np.zeros(3), paw, paw - 2 * (paw @ normal) * normal])
    result = find_symmetry(vertices, ('body', 'one', 'other'), joints)
    assert result.mirror.share == 1.0
    assert abs(result.mirror.normal @ normal) == pytest.approx(1, abs=1e-6)
    assert result.pairs == (('one', 'other'),)


@pytest.mark.parametrize(
    'ends', ['{}.L {}.R', 'Left{} Right{}', '{}_l {}_r', 'mixamorig:Left{} mixamorig:Right{}']
)
def test_names_say_what_is_left(ends):
    left, right = (end.format('Arm') for end in ends.split())
    vertices = np.random.default_rng(0).random((50, 3))
    result = find_symmetry(vertices, (right, 'Spine', left), np.array([[1.0, 0, 0], [0, 0, 0], [-1, 0, 0]]))
    assert result.pairs == ((left, right),)


@pytest.mark.parametrize(
    ('size', 'unit', 'word'), [(4.0, 'm', None), (4000.0, 'm', 'mm'), (0.002, 'mm', 'm')]
)
def test_a_size_that_no_animal_has_is_said_aloud(size, unit, word):
    rig = made_rig()
    scaled = np.diag([size / 4] * 3 + [1]) @ rig.rest @ np.diag([4 / size] * 3 + [1])
    data, report = build_model(replace(rig, vertices=size / 4 * rig.vertices, rest=scaled), unit=unit)
    assert data.unit == unit
    assert [f'--unit {word}' in s for s in report.suspected] == ([True] if word else [])


@pytest.mark.parametrize('factor', [1000.0, 0.001])
def test_joints_of_another_unit_than_the_mesh_are_suspected(factor):
    weights = np.zeros((10, 5))
    weights[:5, 1], weights[5:8, 2], weights[8:, 3] = 1.0, 1.0, 1.0
    rig = made_rig(weights=SparseMatrix.from_dense(weights))
    assert not any('do not fit the mesh' in s for s in build_model(rig)[1].suspected)
    apart = rig.rest.copy()
    apart[:, :3, 3] *= factor
    assert any('do not fit the mesh' in s for s in build_model(replace(rig, rest=apart))[1].suspected)


def test_a_skin_without_weights_is_suspected():
    rig = made_rig()
    bare = replace(rig.weights, values=0 * rig.weights.values)
    count = len(rig.vertices)
    assert any(
        f'{count} of {count} vertices' in s for s in build_model(replace(rig, weights=bare))[1].suspected
    )


def test_limits_of_a_table_are_those_of_its_joints(tmp_path):
    table = tmp_path / 'limits.csv'
    table.write_text('joint,axis,min_deg,max_deg\nknee,y,-10,90\n', encoding='utf-8')
    data, report = build_model(made_rig(), limits=table)
    knee = data.joint_names.index('knee')
    np.testing.assert_allclose(np.degrees(data.joint_limits[knee]), [[-90, 90], [-10, 90], [-90, 90]])
    assert report.limits.startswith('by limits.csv: 1 by a user, 4 default')
    origin = dict(zip(data.joint_names, data.joint_limits_from))
    assert (origin['knee'], origin[data.joint_names[0]]) == ('user', 'default')
    table.write_text('joint,axis,min_deg,max_deg\nkneee,y,-10,90\n', encoding='utf-8')
    with pytest.raises(KeyError, match='knee'):
        build_model(made_rig(), limits=table)


def test_the_nearest_rotation_is_that_of_the_decomposition():
    rng = np.random.default_rng(0)
    linear = rng.standard_normal((50, 3, 3)) + 2 * np.eye(3)
    linear[0] = np.diag([1.0, 1.0, -1.0])
    result = nearest_rotations(linear)
    np.testing.assert_allclose(result @ result.transpose(0, 2, 1), np.tile(np.eye(3), (50, 1, 1)), atol=1e-12)
    u, _, vt = np.linalg.svd(linear)
    u[..., -1] *= np.linalg.det(u @ vt)[:, None]
    np.testing.assert_allclose(
        np.einsum('nab,nab->n', result, linear), np.einsum('nab,nab->n', u @ vt, linear)
    )


def test_a_size_that_no_animal_of_the_rigs_name_has_is_suspected():
    assert 'no fox is longer than 1.8 m' in suspected_unit(3.586, 'm', 'red_Fox')
    assert suspected_unit(1.1, 'm', 'fox') == suspected_unit(3.586, 'm', 'foxglove') == ''
    assert '--unit cm' in suspected_unit(120.0, 'm', 'fox')
