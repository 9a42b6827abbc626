"""Arrays of other labs become rigs, whatever their names."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from smilfit.body_models import SMIL
from smilfit.rigs import build_model, read_rig
from tests.animals import small_animal


def arrays():
    data = small_animal()
    return {
        'vertices': data.v_template, 'faces_vert': data.faces, 'parents': data.parents,
        'skinning_weights': data.weights.to_dense().T, 't_pose_joints': data.joints,
        'J_regressor': data.joint_regressor.to_dense(), 'colours': np.zeros(3),
    }  # fmt: skip


def test_other_names_and_ways_round_are_the_same_rig(tmp_path):
    data, given = small_animal(), arrays()
    with (tmp_path / 'a.pkl').open('wb') as file:
        pickle.dump(given, file)
    kintree = np.stack((np.where(data.parents < 0, 2**32 - 1, data.parents), np.arange(data.n_joints)))
    other = {
        'Verts': data.v_template, 'f': data.faces + 1, 'kintree_table': kintree.astype(np.uint32),
        'lbs_weights': data.weights.to_dense(), 'J': data.joints, 'bone_names': np.array(data.joint_names),
    }  # fmt: skip
    np.savez(tmp_path / 'b.npz', **other)
    first, second = (build_model(read_rig(tmp_path / name))[0] for name in ('a.pkl', 'b.npz'))
    assert second.joint_names == data.joint_names
    assert (first.static_joints, second.static_joints) == (False, True)
    names = ('posedirs', 'shapedirs', 'shape_mean', 'shape_cov', 'scaledirs', 'transdirs', 'expressiondirs')
    bare = replace(data, **dict.fromkeys(names))
    body, truth = SMIL(first).double(), SMIL(bare).double()
    pose = 0.3 * np.random.default_rng(0).normal(size=(1, 5, 3))
    posed = [
        b(b.zero_params(1).replace(body_pose=b.v_template.new_tensor(pose)), ('vertices',)).vertices
        for b in (body, SMIL(second).double(), truth)
    ]
    np.testing.assert_allclose(posed[0], posed[2], atol=1e-9)
    np.testing.assert_allclose(posed[1], posed[2], atol=1e-9)


def test_names_that_several_joints_have_differ_and_quads_are_triangles(tmp_path):
    given = arrays()
    n_joints = len(given['parents'])
    quads = np.array([[0, 1, 2, 3], [4, 5, 6, 7]])
    np.savez(tmp_path / 'a.npz', **given | {'faces_vert': quads, 'joint_names': np.array(['leg'] * n_joints)})
    rig = read_rig(tmp_path / 'a.npz')
    assert rig.joint_names[:3] == ('leg', 'leg.2', 'leg.3')
    assert sorted(map(sorted, rig.faces.tolist())) == [[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]]
    assert sum('renamed' in note or 'two triangles' in note for note in rig.notes) == 2


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'parents': None}, 'got J_regressor, colours, .*Missing: parents .such as parents, kintree_table'),
        ({'J_regressor': None, 't_pose_joints': None}, 'joints or joint_regressor .such as t_pose_joints'),
        ({'faces_vert': np.array([[0, 1, 400]])}, 'must name vertices 0 to 39'),
        ({'skinning_weights': np.ones((7, 3))}, r'skinning_weights must have the shape \(40, 6\)'),
        ({'vertices': np.full((40, 3), np.nan)}, 'vertices must be finite'),
        (
            {'parents': np.array([1, 2, 0, 2, 3, 0])},
            r'a.pkl: parents: joints must form trees; got joint \d, below itself',
        ),
    ],
)
def test_what_is_wrong_is_listed(change, words, tmp_path):
    given = {k: v for k, v in (arrays() | change).items() if v is not None}
    with (tmp_path / 'a.pkl').open('wb') as file:
        pickle.dump(given, file)
    with pytest.raises(ValueError, match=words):
        build_model(read_rig(tmp_path / 'a.pkl'))


def test_the_pig_is_read(real_data):
    data, report = build_model(read_rig(real_data / 'rigs' / 'pig' / 'PIG_full.pkl'), unit='m')
    assert (data.n_joints, data.n_vertices, len(data.joint_symmetry)) == (62, 11239, 20)
    assert not report.suspected
