"""SMAL from its separate files, chumpy inside and not installed."""

import pickle
import sys
import types

import numpy as np
import pytest
import torch

from smilfit.body_models import SMAL, load_body_model, load_body_model_data, read_pickle
from smilfit.body_models.files.model_arrays import as_array
from smilfit.cli.models import main as model
from smilfit.losses import MahalanobisPosePriorLoss, ShapePriorLoss
from smilfit.registry import build_body_model

N_VERTICES, N_JOINTS, N_BETAS = 3889, 35, 41
# A tree like SMAL's: spine, four legs, tail, head.
PARENTS = [
    -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 6, 11, 12, 13, 6, 15,
    1, 17, 18, 19, 1, 21, 22, 23, 1, 25, 26, 27, 28, 29, 30, 16, 16, 16,
]  # fmt: skip


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Write SMAL's four files as their authors do: Python 2 pickles with chumpy arrays."""
    folder, rng = tmp_path_factory.mktemp('smal'), np.random.default_rng(0)
    root, ch = types.ModuleType('chumpy'), types.ModuleType('chumpy.ch')
    ch.Ch = type('Ch', (), {'__module__': 'chumpy.ch', '__qualname__': 'Ch'})

    def wrapped(array):
        made = ch.Ch()
        made.x = array
        return made

    weights = np.zeros((N_VERTICES, N_JOINTS))
    weights[np.arange(N_VERTICES), np.arange(N_VERTICES) % N_JOINTS] = 1
    factor = np.linalg.qr(rng.normal(size=(105, 105)))[0] * rng.uniform(1, 5, 105)
    other = np.arange(N_VERTICES)
    other[100:200], other[2000:2100] = np.arange(2000, 2100), np.arange(100, 200)
    clusters = rng.normal(size=(5, N_BETAS))
    spreads = np.stack([np.diag(rng.uniform(0.1, 2, N_BETAS)) for _ in range(5)])
    contents = {
        'model': {
            'v_template': wrapped(rng.normal(size=(N_VERTICES, 3))),
            'f': rng.integers(0, N_VERTICES, (50, 3)).astype(np.uint32),
            'weights': weights,
            'kintree_table': np.stack([np.array(PARENTS) % 2**32, np.arange(N_JOINTS)]).astype(np.uint32),
            'J_regressor': weights.T / weights.sum(0)[:, None],
            'shapedirs': wrapped(rng.normal(size=(N_VERTICES, 3, N_BETAS))),
        },
        'data': {'cluster_means': list(clusters), 'cluster_cov': list(spreads), 'eigs': np.ones(N_BETAS)},
        'prior': {
            'mean_pose': rng.normal(size=105),
            'pic': wrapped(factor),
            'cov': np.linalg.inv(factor @ factor.T),
        },
        'symmetry': other,
    }
    sys.modules |= {'chumpy': root, 'chumpy.ch': ch}
    for name, content in contents.items():
        (folder / f'{name}.pkl').write_bytes(pickle.dumps(content, protocol=2))
    del sys.modules['chumpy'], sys.modules['chumpy.ch']
    return {name: folder / f'{name}.pkl' for name in contents} | {'contents': contents}


def test_the_files_make_one_model(files):
    body = load_body_model(
        files['model'],
        data_file=files['data'],
        family='dogs',
        pose_prior_file=files['prior'],
        symmetry_file=files['symmetry'],
    )
    data, contents = body.data, files['contents']
    assert isinstance(body, SMAL)
    assert 'chumpy' not in sys.modules
    assert np.array_equal(data.shape_mean, contents['data']['cluster_means'][1])
    assert np.array_equal(data.shape_cov, contents['data']['cluster_cov'][1])
    assert torch.allclose(body.zero_params(2).betas[1].double(), torch.from_numpy(data.shape_mean), atol=1e-6)
    assert data.joint_names[16] == 'Head'
    assert ('LLeg1', 'RLeg1') in data.joint_symmetry
    assert ('LEar', 'REar') in data.joint_symmetry
    assert {'torso', 'legs', 'tail'} <= set(data.joint_groups)
    assert data.keypoint_sets['smal']['nose'] == {1863: 1.0}
    assert data.keypoint_sets['smal']['tail_mid'] == 'Tail4'
    assert body.data.symmetry_plane_vertices.tolist() == [
        *range(100),
        *range(200, 2000),
        *range(2100, N_VERTICES),
    ]
    nose = body(body.zero_params(), ('nose', 'vertices'))
    assert torch.equal(nose.keypoints[:, 0], nose.vertices[:, 1863])


def test_the_files_become_one_that_can_be_read_and_edited(files, tmp_path, capsys):
    target = tmp_path / 'dog.smil.json'
    beside = {'--data': 'data', '--pose-prior': 'prior', '--symmetry': 'symmetry'}
    options = [word for option, key in beside.items() for word in (option, str(files[key]))]
    assert model(['convert', str(files['model']), str(target), '--family', 'dogs', *options]) == 0
    assert 'differ by at most' in capsys.readouterr().out
    names = ('data_file', 'pose_prior_file', 'symmetry_file')
    beside = dict(zip(names, (files['data'], files['prior'], files['symmetry'])))
    whole = load_body_model(files['model'], family='dogs', **beside).data
    result = load_body_model_data(target)
    for name in (
        'shape_mean',
        'shape_cov',
        'pose_prior_mean',
        'pose_prior_precision',
        'symmetry_plane_vertices',
    ):
        np.testing.assert_allclose(getattr(result, name), getattr(whole, name), err_msg=name)
    assert (result.joint_names, result.joint_symmetry) == (whole.joint_names, whole.joint_symmetry)
    assert model(['convert', str(files['model']), str(tmp_path / 'no.smil.json'), '--family', 'dogs']) == 1
    assert 'must be given together' in capsys.readouterr().err


def test_its_priors_are_those_of_the_files(files):
    body = build_body_model(
        dict(
            type='SMAL', model_path=str(files['model']), num_betas=20, family=1,
            data_file=str(files['data']), pose_prior_file=str(files['prior']),
        )
    )  # fmt: skip
    pose, shape = MahalanobisPosePriorLoss(reduction='sum'), ShapePriorLoss(reduction='sum')
    pose.bind_body(body.data)
    shape.bind_body(body.data)
    prior = files['contents']['prior']
    mean = torch.from_numpy(prior['mean_pose'])[3:]
    away = mean + 0.1 * torch.randn(102).double()
    exact = (away - mean) @ torch.linalg.inv(torch.from_numpy(prior['cov'])[3:, 3:]) @ (away - mean)
    assert pose(mean.reshape(1, 34, 3)) < 1e-6
    assert torch.isclose(pose(away.reshape(1, 34, 3)), exact, rtol=0.02)
    assert body.n_betas == 20
    assert shape(body.zero_params().betas) < 1e-6
    sd = torch.from_numpy(files['contents']['data']['cluster_cov'][1]).diagonal().sqrt()[:20].float()
    assert torch.isclose(shape(body.zero_params().betas + 2 * sd) / 80, torch.tensor(1.0), rtol=0.01)


def test_the_model_of_2017_has_no_ears(files, tmp_path):
    raw = dict(files['contents']['model'])
    weights = raw['weights'].copy()
    weights[:, 16] += weights[:, 33:].sum(1)
    raw |= {
        'v_template': raw['v_template'].x,
        'shapedirs': raw['shapedirs'].x,
        'weights': weights[:, :33],
        'kintree_table': raw['kintree_table'][:, :33],
        'J_regressor': raw['J_regressor'][:33],
    }
    path = tmp_path / 'old.pkl'
    path.write_bytes(pickle.dumps(raw))
    data = SMAL(model_path=path).data
    assert data.joint_names[-1] == 'Mouth'
    assert data.joint_groups['head'] == ('Neck', 'Head', 'Mouth')
    with pytest.raises(ValueError, match='the pose prior must have'):
        SMAL(model_path=path, pose_prior_file=files['prior'])


@pytest.mark.parametrize(
    ('arguments', 'kind', 'message'),
    [
        ({'family': 'dogs'}, ValueError, 'must be given together'),
        ({'data_file': 'data', 'family': 'dog'}, KeyError, "Did you mean 'dogs'"),
        ({'data_file': 'data', 'family': 7}, ValueError, 'must hold the family 7'),
        ({'data_file': 'prior', 'family': 0}, ValueError, 'must hold cluster_means, cluster_cov'),
        ({'data_file': 'nowhere', 'family': 0}, FileNotFoundError, 'must be there'),
        ({'symmetry_file': 'nowhere'}, FileNotFoundError, 'must be there'),
        ({'pose_prior_file': 'data'}, ValueError, 'must hold mean_pose'),
        ({'num_betas': 3}, ValueError, 'num_betas needs model_path'),
    ],
)
def test_what_does_not_fit_is_named(files, arguments, kind, message):
    given = {k: files.get(v, v) if k.endswith('file') else v for k, v in arguments.items()}
    with pytest.raises(kind, match=message):
        SMAL(SMAL(model_path=files['model']).data, **given)


def test_a_symmetry_that_is_none_is_refused(files, tmp_path):
    path = tmp_path / 'sym.pkl'
    path.write_bytes(pickle.dumps(np.zeros(N_VERTICES, int)))
    with pytest.raises(ValueError, match='each once'):
        load_body_model(files['model'], symmetry_file=path)


@pytest.mark.real
def test_a_real_prior_fits_the_model(files, real_data):
    path = real_data / 'models' / 'unity_pose_prior_with_cov_35parts.pkl'
    data = load_body_model(files['model'], pose_prior_file=path).data
    mean = as_array(read_pickle(path)['mean_pose'], 'mean_pose')
    assert np.array_equal(data.pose_prior_mean, mean[3:])
    assert np.linalg.eigvalsh(data.pose_prior_precision).min() > 0


def test_the_shape_prior_of_dogs_is_that_of_the_file(files, tmp_path):
    """WLDO's file: 20 coefficients, 6 scales of limbs, one number that nobody uses."""
    rng = np.random.default_rng(1)
    mean, factor = rng.normal(size=27), rng.normal(size=(27, 27))
    path = tmp_path / 'unity_betas.npz'
    np.savez_compressed(path, mean=mean, cov=factor @ factor.T, models=rng.normal(size=(13, 27)))
    body = SMAL(model_path=files['model'], num_betas=20, shape_prior_file=path)
    assert np.array_equal(body.data.shape_mean, mean[:20])
    assert np.allclose(body.data.shape_cov, (factor @ factor.T)[:20, :20])
    loss = ShapePriorLoss(reduction='sum')
    loss.bind_body(body.data)
    assert loss(torch.from_numpy(mean[None, :20]).float()) < 1e-6
    with pytest.raises(ValueError, match='Load the model with num_betas=20'):
        SMAL(model_path=files['model'], shape_prior_file=path)
    with pytest.raises(ValueError, match='either a family or shape_prior_file'):
        SMAL(model_path=files['model'], shape_prior_file=path, data_file=files['data'], family='dogs')
    np.savez(path, mean=mean)
    with pytest.raises(ValueError, match='must hold the numbers mean'):
        SMAL(model_path=files['model'], num_betas=20, shape_prior_file=path)
