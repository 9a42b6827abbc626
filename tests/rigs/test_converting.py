"""Formats of body models, from each to each: the same body, and word of what a format cannot hold."""

import pickle
from collections import defaultdict
from dataclasses import fields, replace

import numpy as np
import pytest
import smplx
import torch

from smilfit.body_models import (
    SMIL,
    Landmark,
    PartSize,
    SparseMatrix,
    load_body_model_data,
    save_body_model,
)
from smilfit.body_models.files.model_arrays import read_pickle_bytes
from smilfit.body_models.files.smal_file import lost_in_smal, write_smal_file
from smilfit.cli.models import main as model
from smilfit.files.pickles.writer import pickle_bytes
from smilfit.rigs.converting import body_difference, convert_model, read_model
from smilfit.rigs.read_rig import read_rig
from tests.animals import random_params, small_animal, static_animal
from tests.body_models.human_files import SMPL_PARENTS

VALUES = {
    'column order': np.arange(6.0).reshape(2, 3).T,
    'plain': [1, 2**40, -(2**31) - 1, 'épaule', None, True, False, 1.5],
    'empty': np.zeros(0),
    'no dimension': np.array(3),
    'truth': np.array([[True, False]]),
    'other order of bytes': np.arange(3, dtype='>i4'),
    'single': np.linspace(0, 1, 4, dtype=np.float32),
}


def same(a, b) -> bool:
    if isinstance(a, np.ndarray):
        return a.shape == b.shape and a.dtype == b.dtype.newbyteorder('=') and np.array_equal(a, b)
    return a == b


@pytest.mark.parametrize('read', [pickle.loads, lambda data: read_pickle_bytes(data, 'here')])
def test_what_is_pickled_here_is_read_by_pickle_and_by_our_reader(read):
    back = read(pickle_bytes(VALUES))
    assert list(back) == list(VALUES)
    assert all(same(back[key], value) for key, value in VALUES.items())


@pytest.mark.parametrize('value', [np.array([None]), {1, 2}, object(), b'bytes'])
def test_what_is_not_plain_is_not_pickled(value):
    with pytest.raises(TypeError, match='pickle'):
        pickle_bytes([value])


def test_smplx_runs_a_pickle_of_ours(tmp_path):
    """A made model of SMPL's tree, without pose shapes: its vertices there are ours."""
    rng = np.random.default_rng(0)
    count = len(SMPL_PARENTS)
    data = replace(
        static_animal(n_vertices=60, n_joints=6),
        joint_names=tuple(f'joint_{j}' for j in range(count)),
        parents=np.array(SMPL_PARENTS),
        weights=SparseMatrix.from_dense(rng.dirichlet(np.ones(count), 60)),
        joint_regressor=SparseMatrix.from_dense(rng.dirichlet(np.ones(60), count)),
        joint_limits=None, joint_symmetry=(), joint_groups={}, keypoint_sets={},
        pose_prior_mean=None, pose_prior_precision=None,
    )  # fmt: skip
    data = replace(data, joints=data.joint_regressor @ data.v_template)
    assert lost_in_smal(data)
    write_smal_file(data, tmp_path / 'SMPL_NEUTRAL.pkl')
    # Its own keypoints on the skin are vertices of a larger mesh.
    options = {'num_betas': 3, 'batch_size': 2, 'vertex_ids': defaultdict(int)}
    theirs = smplx.SMPL(str(tmp_path), dtype=torch.float64, **options)
    params = random_params(data)
    with torch.no_grad():
        wanted = SMIL(data).double()(replace(params, scale=torch.ones(2).double()), ('vertices',)).vertices
        result = theirs(
            betas=params.betas,
            global_orient=params.global_orient,
            body_pose=params.body_pose.flatten(1),
            transl=params.transl,
        )
    assert torch.allclose(result.vertices, wanted, atol=1e-9)


def everything():
    """Make a body with all that a body model can have, whose rest joints are the regressed ones."""
    data = small_animal()
    return replace(
        data,
        landmarks={'mark': Landmark('joint_1', 'joint_1', (0.1, 0.0, 0.2), 0.1)},
        part_sizes={'end': PartSize(('joint_4', 'joint_5'))},
        expressiondirs=0.1 * np.random.default_rng(3).normal(size=(40, 3, 2)),
        joint_scale_mode='inherited',
    )


@pytest.mark.parametrize('ending', ['.smil.json', '.pkl', '.npz'])
def test_what_does_not_come_back_was_told(ending, tmp_path):
    data = everything()
    done = convert_model(save_body_model(data, tmp_path / 'small.smil.json'), tmp_path / f'new{ending}')
    back = read_model(tmp_path / f'new{ending}')
    for field in fields(data):
        if field.name == 'name':
            continue
        one, other = (getattr(body, field.name) for body in (data, back))
        # The hash of a body that has this from one or from the other, but for texts that no hash is made of.
        hashes = {replace(static_animal(), **{field.name: x}).content_hash() for x in (one, other)}
        if len(hashes) > 1 or (isinstance(one, str) and one != other):
            words = {
                'keypoint_sets': 'keypoints', 'keypoint_groups': 'groups', 'joint_groups': 'groups',
                'joint_symmetry': 'pairs', 'expressiondirs': 'expression', 'part_sizes': 'parts',
                'pose_prior_mean': 'pose prior', 'pose_prior_precision': 'pose prior', 'up_axis': 'axes',
                'forward_axis': 'axes', 'joint_scale_mode': 'inherit',
            }.get(field.name, field.name)  # fmt: skip
            assert any(words in notes for notes in done.lost), (field.name, done.lost)
    assert (not done.lost) == (ending == '.smil.json')


@pytest.mark.parametrize('make', [small_animal, static_animal])
def test_every_format_after_every_other_is_the_same_body(make, tmp_path):
    data = replace(make(), posedirs=None)
    at = save_body_model(data, tmp_path / 'start.smil.json')
    # Every pair of formats once, one after another; glTF holds single precision.
    endings = (
        '.pkl',
        '.npz',
        '.glb',
        '.pkl',
        '.smil.json',
        '.glb',
        '.npz',
        '.pkl',
        '.glb',
        '.smil.json',
        '.npz',
    )
    for step, ending in enumerate((*endings, '.smil.json')):
        assert convert_model(at, tmp_path / f'{step}{ending}').difference < 1e-6
        at = tmp_path / f'{step}{ending}'
    assert body_difference(data, read_model(at)) < 1e-6


def test_a_direction_of_shape_that_moves_joints_alone_comes_back(tmp_path):
    """It moves no vertex: such as one of joint scales, which no morph target of a glTF can be."""
    data = replace(static_animal(), posedirs=None)
    still = data.shapedirs.copy()
    still[..., 0] = 0
    at = save_body_model(replace(data, shapedirs=still), tmp_path / 'a.smil.json')
    assert convert_model(at, tmp_path / 'a.glb').difference < 1e-6
    assert np.allclose(read_model(tmp_path / 'a.glb').shapedirs, still, atol=1e-7)


def test_a_gltf_keeps_all_but_pose_shapes(tmp_path, capsys):
    data = everything()
    done = convert_model(save_body_model(data, tmp_path / 'a.smil.json'), tmp_path / 'a.glb')
    assert done.lost[0].startswith('the pose directions')
    assert done.difference > 1e-6
    back = replace(read_model(tmp_path / 'a.glb'), posedirs=data.posedirs)
    assert body_difference(data, back) < 1e-6
    for name in ('keypoint_sets', 'landmarks', 'part_sizes', 'joint_symmetry', 'unit', 'licence', 'up_axis'):
        assert getattr(back, name) == getattr(data, name)
    # Other programs see it in metres, y up.
    rig = read_rig(tmp_path / 'a.glb')
    assert np.allclose(rig.vertices, data.v_template[:, [1, 2, 0]] / 1000, atol=1e-6)
    assert list(rig.morphs) == ['beta_0', 'beta_1', 'beta_2', 'expression_0', 'expression_1']
    # A file of another program is imported first.
    strange = (tmp_path / 'a.glb').read_bytes().replace(b'smilfit_body_model', b'another_body_model')
    (tmp_path / 'b.glb').write_bytes(strange)
    assert model(['convert', str(tmp_path / 'b.glb'), str(tmp_path / 'b.pkl')]) == 1
    assert 'smilfit model import' in capsys.readouterr().err


@pytest.mark.parametrize('name', ['quadruped', 'insect'])
@pytest.mark.parametrize('ending', ['.pkl', '.glb'])
def test_shipped_models_stay_themselves(name, ending, tmp_path):
    assert convert_model(name, tmp_path / f'new{ending}').difference < 1e-6


@pytest.mark.parametrize('file', ['SMILy_STICK.pkl', 'SMILy_Mouse_static_joints.pkl'])
def test_smilify_models_stay_themselves(file, real_data, tmp_path):
    source = real_data / 'models' / file
    at = source
    for ending in ('.smil.json', '.glb', '.npz', '.pkl'):
        assert convert_model(at, tmp_path / f'new{ending}').difference < 1e-6
        at = tmp_path / f'new{ending}'
    assert body_difference(load_body_model_data(source), read_model(at)) < 1e-6


def test_limits_along_joints_own_axes_are_not_written_as_others(tmp_path):
    turned = np.tile(np.eye(3)[[1, 2, 0]], (6, 1, 1))
    data = replace(small_animal(), joint_axes=turned, posedirs=None, faces=np.zeros((0, 3), int))
    source = save_body_model(data, tmp_path / 'a.smil.json')
    for ending in ('.pkl', '.npz'):
        assert any('own axes' in words for words in convert_model(source, tmp_path / f'a{ending}').lost)
        assert read_model(tmp_path / f'a{ending}').joint_limits is None
    with pytest.raises(ValueError, match='must have faces'):
        convert_model(source, tmp_path / 'a.glb')
    assert not (tmp_path / 'a.glb').exists()


def test_other_bodies_are_found_to_differ():
    data = small_animal()
    assert body_difference(data, data) == 0
    moved = replace(data, v_template=data.v_template + [[0.1, 0, 0]])
    size = np.ptp(data.v_template, axis=0).max()
    assert body_difference(data, moved) > 0.05 / size
    assert body_difference(data, small_animal(n_vertices=41)) == float('inf')


def test_the_command_tells_what_is_lost_and_overwrites_nothing(tmp_path, capsys):
    assert model(['convert', 'insect', str(tmp_path / 'insect.pkl')]) == 0
    said = capsys.readouterr().out
    assert 'not held by .pkl: the unit (body length)' in said
    assert 'read back' in said
    before = (tmp_path / 'insect.pkl').read_bytes()
    assert model(['convert', 'quadruped', str(tmp_path / 'insect.pkl')]) == 1
    assert 'must not be there yet' in capsys.readouterr().err
    assert (tmp_path / 'insect.pkl').read_bytes() == before
    assert model(['convert', 'quadruped', str(tmp_path / 'animal.stl')]) == 1
    assert '.smil.json, .pkl' in capsys.readouterr().err


def test_the_page_of_numbers_says_what_a_model_has(tmp_path, capsys):
    save_body_model(replace(small_animal(), unit='cm'), tmp_path / 'small.smil.json')
    assert model(['info', str(tmp_path / 'small.smil.json')]) == 0
    said = capsys.readouterr().out
    for text in ('40 vertices, 38 faces', ' mm long', 'CC0-1.0', '1 pairs of joints', 'clicks'):
        assert text in said
    assert '    joint_2: ' in said
