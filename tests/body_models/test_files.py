"""Model files: round trips, foreign pickles without foreign packages, and every way to be wrong."""

import json
import pickle
import sys
import types
from dataclasses import fields, replace

import jsonschema
import numpy as np
import pytest
import scipy.sparse

from smilfit.body_models import (
    SMIL,
    SMPL,
    SparseMatrix,
    UnsafePickleError,
    check_body_model,
    load_body_model_data,
    read_pickle,
    save_body_model,
)
from smilfit.body_models.files.model_arrays import as_array
from smilfit.body_models.files.smil_json import SCHEMA
from smilfit.registry import build_body_model
from tests.animals import marked_animal, small_animal, static_animal


def same(a, b):
    for f in fields(a):
        x, y = getattr(a, f.name), getattr(b, f.name)
        if isinstance(x, SparseMatrix):
            assert np.array_equal(x.to_dense(), y.to_dense()), f.name
        elif isinstance(x, np.ndarray):
            assert np.array_equal(x, y), f.name
        else:
            assert x == y, f.name


def as_smil_pickle(data, path, **changes):
    """Write a model in the layout of SMILify's exporter."""
    raw = {
        'v_template': data.v_template,
        'f': data.faces.astype(np.int32),
        'weights': data.weights.to_dense(),
        'kintree_table': np.stack([data.parents, np.arange(data.n_joints)]).astype(np.int32),
        'J': data.joints,
        'J_regressor': np.zeros((data.n_joints, data.n_vertices))
        if data.static_joints
        else data.joint_regressor.to_dense(),
        'J_names': list(data.joint_names),
        'shapedirs': data.shapedirs,
        'posedirs': np.zeros(0),
        'scaledirs': [],
        'transdirs': [],
        'static_joint_locs': data.static_joints,
        'bs_style': 'lbs',
    } | changes
    path.write_bytes(pickle.dumps({k: v for k, v in raw.items() if v is not None}, protocol=5))
    return path


@pytest.mark.parametrize('make', [small_animal, static_animal, marked_animal])
def test_json_round_trip_is_exact(make, tmp_path):
    data = make()
    path = save_body_model(data, tmp_path / 'a.smil.json')
    back = load_body_model_data(path)
    same(data, back)
    assert back.content_hash() == data.content_hash()
    jsonschema.validate(json.loads(path.read_text()), json.loads(SCHEMA.read_text()))


@pytest.mark.real
@pytest.mark.parametrize('file', ['SMILy_STICK.pkl', 'SMILy_Mouse_static_joints.pkl'])
def test_real_models_survive_json(real_data, file, tmp_path):
    data = load_body_model_data(real_data / 'models' / file)
    back = load_body_model_data(save_body_model(data, tmp_path / 'm.smil.json'))
    same(data, back)
    assert back.content_hash() == data.content_hash()
    assert data.static_joints == ('Mouse' in file)
    assert (data.scaledirs is None) == ('Mouse' in file)
    assert data.posedirs is None


@pytest.mark.real
def test_real_prior_with_chumpy_reads_without_chumpy(real_data):
    raw = read_pickle(real_data / 'models' / 'unity_pose_prior_with_cov_35parts.pkl')
    arrays = {k: as_array(v, k) for k, v in raw.items() if not isinstance(v, set)}
    assert as_array(raw['pic'], 'pic').ndim == 2
    assert all(np.isfinite(a).all() for a in arrays.values() if a.dtype.kind == 'f')
    assert 'chumpy' not in sys.modules


@pytest.mark.real
def test_stale_joints_are_named(real_data, caplog):
    load_body_model_data(real_data / 'models' / 'SMILy_STICK.pkl')
    assert 'stored joints are up to 0.214' in caplog.text


def test_the_hash_knows_geometry_and_names_but_not_texts(tmp_path):
    data = small_animal()
    moved = data.v_template.copy()
    moved[0, 0] += 1e-3
    assert replace(data, name='other', licence='mine').content_hash() == data.content_hash()
    assert replace(data, v_template=moved).content_hash() != data.content_hash()
    renamed = (*data.joint_names[:-1], 'new')
    assert replace(data, joint_names=renamed, joint_groups={}).content_hash() != data.content_hash()


@pytest.mark.parametrize('make', [small_animal, static_animal])
def test_smil_pickle(make, tmp_path):
    data = make()
    back = load_body_model_data(as_smil_pickle(data, tmp_path / 'a.pkl'))
    assert back.static_joints == data.static_joints
    assert np.allclose(back.joints, data.joints)
    assert np.array_equal(back.shapedirs, data.shapedirs)
    assert back.scaledirs is None
    assert back.posedirs is None


def test_smil_pickle_extras(tmp_path):
    data = small_animal()
    path = as_smil_pickle(
        data,
        tmp_path / 'a.pkl',
        scaledirs=data.scaledirs,
        transdirs=data.transdirs,
        shape_cov=data.shape_cov,
        shape_mean_betas=data.shape_mean,
        joint_limits=data.joint_limits,
        kintree_table=np.stack([data.parents, np.arange(data.n_joints)]).astype(np.uint32),
    )
    back = load_body_model_data(path)
    assert back.parents.tolist() == data.parents.tolist()
    for name in ('scaledirs', 'transdirs', 'shape_cov', 'shape_mean', 'joint_limits'):
        assert np.array_equal(getattr(back, name), getattr(data, name)), name


def test_model_without_shape_keys_is_written_as_two_dimensions(tmp_path):
    data = small_animal()
    path = as_smil_pickle(data, tmp_path / 'a.pkl', shapedirs=np.zeros((data.n_vertices, 3)))
    assert load_body_model_data(path).n_betas == 0


def chumpy_like(monkeypatch):
    """Make modules that look like chumpy's while pickling."""
    root, ch = types.ModuleType('chumpy'), types.ModuleType('chumpy.ch')
    ch.Ch = type('Ch', (), {'__module__': 'chumpy.ch', '__qualname__': 'Ch'})
    monkeypatch.setitem(sys.modules, 'chumpy', root)
    monkeypatch.setitem(sys.modules, 'chumpy.ch', ch)
    return ch.Ch


@pytest.mark.parametrize('protocol', [0, 2, 5])
@pytest.mark.parametrize('sparse', ['csc_matrix', 'csr_matrix', 'coo_matrix'])
def test_smpl_pickle_with_scipy_and_chumpy_inside(tmp_path, monkeypatch, protocol, sparse):
    data = small_animal(n_joints=6)
    wrapped = chumpy_like(monkeypatch)()
    wrapped.x = data.shapedirs
    raw = {
        'v_template': data.v_template,
        'f': data.faces,
        'weights': data.weights.to_dense(),
        'kintree_table': np.stack([data.parents, np.arange(6)]),
        'J_regressor': getattr(scipy.sparse, sparse)(data.joint_regressor.to_dense()),
        'shapedirs': wrapped,
        'posedirs': data.posedirs.T.reshape(data.n_vertices, 3, -1),
    }
    path = tmp_path / 'smpl.pkl'
    path.write_bytes(pickle.dumps(raw, protocol=protocol))
    monkeypatch.undo()
    back = load_body_model_data(path)
    assert np.allclose(back.joint_regressor.to_dense(), data.joint_regressor.to_dense())
    assert np.array_equal(back.shapedirs, data.shapedirs)
    assert np.allclose(back.posedirs, data.posedirs)
    assert 'chumpy' not in sys.modules


def test_smpl_folder_by_gender(tmp_path):
    data = small_animal(n_joints=6, n_vertices=40)
    joints, names = 24, np.arange(24)
    weights = np.zeros((40, joints))
    weights[np.arange(40), np.arange(40) % joints] = 1
    regressor = np.zeros((joints, 40))
    regressor[names, names] = 1
    (tmp_path / 'smpl').mkdir()
    np.savez(
        tmp_path / 'smpl' / 'SMPL_FEMALE.npz',
        v_template=data.v_template,
        f=data.faces,
        weights=weights,
        kintree_table=np.stack([np.maximum(names - 1, 0) * (names > 0) - (names == 0), names]),
        J_regressor=regressor,
        shapedirs=np.zeros((40, 3, 300)) + 0.1,
    )
    body = build_body_model(
        dict(type='SMPL', gender='female', num_betas=10, keypoint_convention='smpl', model_path=tmp_path)
    )
    assert body.n_betas == 10
    assert body.joint_names[4] == 'left_knee'
    with pytest.raises(FileNotFoundError, match=r'SMPL_NEUTRAL\.pkl'):
        SMPL(tmp_path)
    with pytest.raises(ValueError, match='gender must be one of'):
        SMPL(tmp_path, gender='none')


class Evil:
    def __reduce__(self):
        return (print, ('code ran',))


@pytest.mark.parametrize('payload', [Evil(), {'v_template': [Evil()]}, np.array([Evil()], dtype=object)])
def test_a_pickle_that_wants_to_run_code_is_refused(tmp_path, payload, capsys):
    path = tmp_path / 'evil.pkl'
    path.write_bytes(pickle.dumps(payload))
    with pytest.raises(UnsafePickleError, match=r'evil.pkl.*print'):
        load_body_model_data(path)
    assert 'code ran' not in capsys.readouterr().out


def test_object_arrays_and_wrong_stand_ins_are_refused(tmp_path):
    path = tmp_path / 'objects.pkl'
    path.write_bytes(pickle.dumps({'v_template': np.array([{}, None], dtype=object)}))
    with pytest.raises(UnsafePickleError, match='array of Python objects'):
        read_pickle(path)


def test_a_pickle_cut_short_is_named(tmp_path):
    path = as_smil_pickle(small_animal(), tmp_path / 'a.pkl')
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match='must be a whole pickle'):
        load_body_model_data(path)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(v_template=None), "must have the key 'v_template'"),
        (dict(weights=np.zeros((40, 6))), 'must sum to 1'),
        (dict(shapedirs=np.zeros((39, 3, 2))), 'shapedirs must have shape'),
        (dict(v_template=np.full((40, 3), np.nan)), 'v_template must be finite'),
        (dict(f=np.array([[0, 1, 40]])), 'faces must index vertices 0 to 39'),
        (dict(J=None, J_regressor=None), 'static joints must be stored'),
        (dict(kintree_table=np.array([[-1, 3, 1, 1, 3, 0]])), 'an earlier joint'),
        (dict(J_names=['a'] * 6), 'joint names must differ'),
    ],
)
def test_broken_pickles_are_named(tmp_path, change, message):
    path = as_smil_pickle(small_animal(), tmp_path / 'a.pkl', **change)
    with pytest.raises(ValueError, match=message):
        load_body_model_data(path)


def edit(path, **changes):
    document = json.loads(path.read_text())
    document.update(changes)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(format='gltf'), "'smil'"),
        (dict(format_version=99), 'newer smilfit'),
        (dict(vertexes=[]), "unknown key 'vertexes'. Did you mean 'vertices'"),
        (dict(skin_weights={'jiont_1': {'vertices': [], 'weights': []}}), "Did you mean 'joint_1'"),
        (dict(joint_scale_mode='global'), 'joint_scale_mode must be one of'),
        (dict(up_axis='z'), 'up_axis must be one of'),
        (dict(keypoint_sets={'s': {'n': 'joint_9'}}), "names a joint 'joint_9' that is not there"),
        (dict(keypoint_sets={'s': {'joint_1': {'vertices': [1], 'weights': [1]}}}), "has a joint's name"),
        (dict(keypoint_sets={'s': {'n': {'vertices': [1, 2], 'weights': [1, 1]}}}), 'weights that sum to 1'),
        (dict(joint_groups={'g': ['nobody']}), "joint_groups.g names a joint 'nobody'"),
    ],
)
def test_broken_json_is_named(tmp_path, changes, message):
    path = save_body_model(small_animal(), tmp_path / 'a.smil.json')
    edit(path, **changes)
    with pytest.raises((ValueError, KeyError), match=message):
        load_body_model_data(path)


def test_json_that_is_no_json_names_the_line(tmp_path):
    path = save_body_model(small_animal(), tmp_path / 'a.smil.json')
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace(':', ';')
    path.write_text('\n'.join(lines))
    with pytest.raises(ValueError, match='at line 4'):
        load_body_model_data(path)


def test_limits_the_wrong_way_round_are_named():
    data = small_animal()
    with pytest.raises(ValueError, match=r'least <= greatest; got joint_0'):
        check_body_model(replace(data, joint_limits=data.joint_limits[..., ::-1].copy()), 'here')


def test_two_sets_that_disagree_need_the_set_name():
    data = replace(small_animal(), keypoint_sets={'a': {'x': 'joint_1'}, 'b': {'x': 'joint_2'}})
    body = SMIL(data)
    out = body(body.zero_params(1), need=('a/x', 'b/x', 'joints'))
    assert np.allclose(out.keypoints[0], out.joints[0, [1, 2]])
    with pytest.raises(KeyError, match='Known: a/x, b/x'):
        body(body.zero_params(1), need=('x',))


def test_wrong_endings(tmp_path):
    (tmp_path / 'a.fbx').touch()
    with pytest.raises(ValueError, match=r"must end in .smil.json, .pkl or .npz; got '.fbx'"):
        load_body_model_data(tmp_path / 'a.fbx')
    with pytest.raises(ValueError, match='written as'):
        save_body_model(small_animal(), tmp_path / 'a.json')
    with pytest.raises(FileNotFoundError, match='not there'):
        load_body_model_data(tmp_path / 'none.pkl')
