"""Files whose values have another kind or shape than their keys need are refused with file and key."""

import json
import pickle

import h5py
import numpy as np
import pytest

from smilfit.body_models import SMPLX, load_body_model_data, save_body_model
from smilfit.body_models.files.smal_parts import read_pose_prior, with_smal_parts
from smilfit.io.pose_tables import read_pandas_table
from smilfit.losses.max_mixture import read_pose_mixture
from smilfit.losses.pose_prior import read_pose_gaussian
from tests.animals import small_animal
from tests.body_models.human_files import smplx_arrays


def pickled(folder, value, name='a.pkl'):
    path = folder / name
    path.write_bytes(pickle.dumps(value, protocol=2))
    return path


PRIOR = {'mean_pose': np.zeros(6), 'cov': np.eye(6)}
MIXTURE = {'means': np.zeros((2, 6)), 'covars': np.stack([np.eye(6)] * 2), 'weights': np.array([0.5, 0.5])}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(cov=np.eye(5)), r'cov must have shape \(6, 6\).*got \(5, 5\)'),
        (dict(cov=np.zeros(6)), r'cov must have shape \(6, 6\)'),
        (dict(cov=[['a']]), "cov: must be numbers; got a list with 'a'"),
        (dict(cov={'a': 1}), 'cov: must be numbers; got dict of 1'),
        (dict(cov=np.full((6, 6), np.nan)), 'mean_pose and cov must be finite'),
        (dict(mean_pose='abc'), "mean_pose: must be numbers; got 'abc'"),
        (dict(mean_pose=None), 'mean_pose: must be numbers; got None'),
    ],
)
def test_pose_priors(tmp_path, change, message):
    path = pickled(tmp_path, PRIOR | change)
    for read in (read_pose_prior, read_pose_gaussian):
        with pytest.raises(ValueError, match=rf'a\.pkl: {message}'):
            read(path)


@pytest.mark.parametrize('value', [[1], {1: 2, 'a': 3}, 'text', {'mean_pose': np.zeros(3)}])
def test_what_is_no_prior_and_no_mixture(tmp_path, value):
    path = pickled(tmp_path, value)
    with pytest.raises(ValueError, match=r'a\.pkl: a pose prior must hold'):
        read_pose_prior(path)
    with pytest.raises(ValueError, match=r'a\.pkl: a mixture must be a dict'):
        read_pose_mixture(path)
    with pytest.raises(ValueError, match=r'a\.pkl: must hold cluster_means'):
        with_smal_parts(small_animal(), data_file=path, family=0)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(covars=np.eye(6)), r'PoseMixture: means \(M, D\)'),
        (dict(means=np.zeros(6)), r'PoseMixture: means \(M, D\)'),
        (dict(weights=[['a']]), "weights: must be numbers; got a list with 'a'"),
        (dict(means=[np.zeros(6), np.zeros(5)]), 'means: must be numbers in rows of equal length'),
    ],
)
def test_mixtures(tmp_path, change, message):
    with pytest.raises(ValueError, match=rf'a\.pkl: {message}'):
        read_pose_mixture(pickled(tmp_path, MIXTURE | change))


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        (np.arange(40) + 0.5, 'must be whole numbers; got 0.5'),
        ({'a': 1}, 'must be numbers; got dict of 1'),
        (list('ab'), "must be numbers; got a list with 'a'"),
        (-np.arange(40), 'each once'),
    ],
)
def test_symmetry_files(tmp_path, value, message):
    with pytest.raises(ValueError, match=rf'a\.pkl.*{message}'):
        with_smal_parts(small_animal(), symmetry_file=pickled(tmp_path, value))


def test_priors_that_cannot_be_inverted_are_named(tmp_path):
    data = small_animal()
    size = 3 * (data.n_joints - 1)
    path = pickled(tmp_path, {'mean_pose': np.zeros(size), 'cov': -1e-4 * np.eye(size)})
    with pytest.raises(ValueError, match=r'a\.pkl: the covariance must be invertible'):
        with_smal_parts(data, pose_prior_file=path)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(lmk_faces_idx=np.full(51, 10**6)), 'lmk_faces_idx must be 0 to'),
        (dict(lmk_faces_idx=np.full(51, -1)), 'lmk_faces_idx must be 0 to'),
        (dict(lmk_faces_idx=np.full(51, 0.5)), 'lmk_faces_idx: must be whole numbers'),
        (dict(lmk_bary_coords=np.zeros(51)), 'lmk_bary_coords must have 2 dimensions'),
        (dict(hands_componentsl=np.zeros(45)), 'hands_componentsl must have 2 dimensions'),
        (dict(hands_meanr='abc'), "hands_meanr: must be numbers; got 'abc'"),
        (dict(shapedirs=np.zeros((10475, 3))), 'shapedirs must have 3 dimensions'),
    ],
)
def test_smplx_files(tmp_path, change, message):
    path = pickled(tmp_path, smplx_arrays() | change, 'SMPLX_NEUTRAL.pkl')
    with pytest.raises(ValueError, match=rf'SMPLX_NEUTRAL\.pkl.*{message}'):
        SMPLX(path)


def test_a_model_of_numbered_joints_says_so(tmp_path, caplog):
    arrays = {
        'v_template': np.eye(4, 3), 'f': np.array([[0, 1, 2]]), 'weights': np.eye(4, 2) + np.eye(4, 2, -2),
        'kintree_table': np.array([[2**64 - 1, 0], [0, 1]], np.uint64), 'J': np.zeros((2, 3)), 'J_names': ['one'],
    }  # fmt: skip
    data = load_body_model_data(pickled(tmp_path, arrays))
    assert data.joint_names == ('joint_0', 'joint_1')
    assert data.parents.tolist() == [-1, 0]
    assert 'J_names has 1 names for 2 joints' in caplog.text
    named = load_body_model_data(pickled(tmp_path, arrays | {'J_names': np.array([b'root', b'tip'])}))
    assert named.joint_names == ('root', 'tip')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda d: d['faces'][0].__setitem__(0, 0.5), 'faces must be whole numbers; got 0.5'),
        (lambda d: d['faces'][0].__setitem__(0, 1e30), r'faces must be whole numbers; got 1e\+30'),
        (lambda d: d['faces'][0].__setitem__(0, 'a'), 'faces must hold numbers; got a'),
        (
            lambda d: d['symmetry'].update(plane_vertices=[0.5]),
            'symmetry.plane_vertices must be whole numbers',
        ),
        (
            lambda d: d['symmetry'].update(plane_vertices=[10**6]),
            'symmetry_plane_vertices must index vertices 0 to 39',
        ),
        (
            lambda d: d['skin_weights'].update(joint_1={'vertices': [0.5], 'weights': [1]}),
            'skin_weights.joint_1.vertices must be whole numbers',
        ),
        (
            lambda d: d['joint_regressor'].update(joint_1={'vertices': [0.5], 'weights': [1]}),
            'joint_regressor.joint_1.vertices must be whole numbers',
        ),
        (
            lambda d: d['keypoint_sets'].update(s={'n': {'vertices': [1.5], 'weights': [1]}}),
            'keypoint_sets.s.n.vertices must be whole numbers',
        ),
        (lambda d: d['joints'].__setitem__(1, 'a'), r'joints\[1\] must be an object; got a'),
        (lambda d: d.update(symmetry=[1]), 'symmetry must be an object; got list of 1'),
    ],
)
def test_json_models(tmp_path, change, message):
    path = save_body_model(small_animal(), tmp_path / 'a.smil.json')
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=rf'a\.smil\.json: {message}'):
        load_body_model_data(path)


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        (pickle.dumps([(1, [('a', 1.5)])], 0), 'a column label must be text; got tuple of 2'),
        (pickle.dumps({'a': 1}, 0), 'as pandas writes it'),
        (pickle.dumps(5, 0), 'as pandas writes it'),
        (5, 'column labels must be bytes'),
        ('\u4e00', 'column labels must be bytes'),
    ],
)
def test_column_labels(tmp_path, labels, message):
    path = tmp_path / 'a.h5'
    with h5py.File(path, 'w') as file:
        group = file.create_group('df')
        group.attrs['pandas_type'] = np.bytes_(b'frame_table')
        group.attrs['non_index_axes'] = np.bytes_(labels) if isinstance(labels, bytes) else labels
        group.create_dataset('table', data=np.zeros(2, [('index', 'i8'), ('values_block_0', 'f8', (2,))]))
    with pytest.raises(ValueError, match=rf'a\.h5: .*{message}'):
        read_pandas_table(path)
