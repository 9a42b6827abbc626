"""SMPL and SMPL-X against the smplx package, on made-up files of the true layout and size."""

import logging
import pickle

import numpy as np
import pytest
import scipy.sparse
import smplx
import torch

from smilfit.body_models import SMPL, SMPLX, BodyModelData, load_convention
from smilfit.body_models.files.smplx_file import face_landmarks, split_directions
from smilfit.body_models.human_models import load_rig
from smilfit.handlers import Keypoint3dMSEInput
from smilfit.registry import build_body_model
from smilfit.structures import BodyParams
from tests.body_models.human_files import smpl_arrays, smplx_arrays

B = 3
FINGERS = ('thumb', 'index', 'middle', 'ring', 'pinky')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """One file of every kind: both formats, short and long shape spaces, sparse and dense regressors."""
    root = tmp_path_factory.mktemp('body_models')
    (root / 'smplx').mkdir()
    (root / 'smpl').mkdir()
    np.savez(root / 'smplx' / 'SMPLX_NEUTRAL.npz', **smplx_arrays(0, n_directions=400))
    (root / 'smplx' / 'SMPLX_FEMALE.pkl').write_bytes(pickle.dumps(smplx_arrays(1)))
    np.savez(root / 'smpl' / 'SMPL_MALE.npz', **smpl_arrays(2))
    for gender, arrays in (('FEMALE', smpl_arrays(3)), ('MALE', smpl_arrays(2))):
        arrays['J_regressor'] = scipy.sparse.csc_matrix(arrays['J_regressor'])
        target = root / ('smpl' if gender == 'FEMALE' else 'reference')
        target.mkdir(exist_ok=True)
        (target / f'SMPL_{gender}.pkl').write_bytes(pickle.dumps(arrays))
    return root


def draw(*shape, size=0.4):
    return size * torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize(
    ('gender', 'reference'), [('male', 'reference/SMPL_MALE.pkl'), ('female', 'smpl/SMPL_FEMALE.pkl')]
)
def test_smpl_is_smplx_packages_smpl(folder, gender, reference):
    body = SMPL(folder, gender.upper(), num_betas=7, keypoint_convention='smpl_45').double()
    theirs = smplx.SMPL(str(folder / reference), num_betas=7, batch_size=B, dtype=torch.float64)
    betas, pose, root, transl = draw(B, 7), draw(B, 23, 3), draw(B, 3), draw(B, 3)
    want = theirs(betas=betas, body_pose=pose.flatten(1), global_orient=root, transl=transl)
    params = BodyParams(root, pose, betas, transl, torch.ones(B).double())
    names = load_convention('smpl_45').names
    assert tuple(body.data.keypoint_sets['smpl_45']) == names
    got = body(params, ('vertices', *names))
    assert (got.vertices - want.vertices).abs().max() < 1e-5
    assert (got.keypoints - want.joints).abs().max() < 1e-5


def smplx_parameters(hands):
    return dict(
        global_orient=draw(B, 3), body_pose=draw(B, 63), jaw_pose=draw(B, 3), leye_pose=draw(B, 3),
        reye_pose=draw(B, 3), left_hand_pose=draw(B, hands), right_hand_pose=draw(B, hands), betas=draw(B, 10),
        expression=draw(B, 10), transl=draw(B, 3),
    )  # fmt: skip


@pytest.mark.parametrize(
    ('gender', 'use_pca', 'comps', 'flat'),
    [
        ('neutral', True, 6, False),
        ('neutral', False, 6, True),
        ('female', False, 45, False),
        ('female', True, 12, True),
    ],
)
def test_smplx_is_smplx_packages_smplx(folder, gender, use_pca, comps, flat):
    options = dict(gender=gender, use_pca=use_pca, num_pca_comps=comps, flat_hand_mean=flat)
    body = build_body_model(
        dict(
            type='SMPLX', model_path=folder, num_betas=10, keypoint_convention='smplx', logger=None, **options
        )
    ).double()
    end = 'npz' if gender == 'neutral' else 'pkl'
    theirs = smplx.SMPLX(str(folder / 'smplx'), batch_size=B, ext=end, dtype=torch.float64, **options)
    given = smplx_parameters(comps if use_pca else 45)
    names = load_convention('smplx_127').names
    assert tuple(body.data.keypoint_sets['smplx']) == names
    for parameters in (given, {}):
        want = theirs(**parameters)
        params = body.params(**parameters) if parameters else body.zero_params(B)
        got = body(params, ('vertices', *names))
        assert (got.vertices - want.vertices).abs().max() < 1e-5
        assert (got.keypoints - want.joints).abs().max() < 1e-5
        # The same without the mesh: only the vertices that keypoints need.
        assert torch.allclose(body(params, names).keypoints, got.keypoints, atol=1e-9)
    single = body.params(**given).to(torch.float32)
    want = theirs(**given).vertices
    assert (body.float()(single, ('vertices',)).vertices - want).abs().max() < 1e-5
    body.double()
    back = body.parts(body.params(**given))
    for name, value in given.items():
        assert torch.allclose(back[name].flatten(1), value, atol=1e-6), name
    assert (back['scale'] == 1).all()


@pytest.fixture(scope='module')
def body(folder):
    return SMPLX(folder / 'smplx' / 'SMPLX_FEMALE.pkl', num_betas=4, num_expression_coeffs=3).double()


def test_smplx_names(body):
    data = body.data
    assert data.joint_names == load_convention('smplx').names[:55]
    assert (data.n_betas, data.n_expression) == (4, 3)
    for side in ('left', 'right'):
        hand = data.joint_groups[f'{side}_hand']
        assert hand == data.pose_spaces[f'{side}_hand'].joints
        assert [data.joint_names[data.parents[data.joint_names.index(n)]] for n in hand[::3]] == 5 * [
            f'{side}_wrist'
        ]
        assert data.keypoint_groups[f'{side}_hand'] == tuple(f'{side}_{f}' for f in FINGERS)
    for group in (
        'shoulder',
        'hip',
        'foot',
        'spine',
        'torso',
        'hinge',
        'hand',
        'head',
        'face',
        'jaw',
        'leye',
        'reye',
    ):
        assert data.joint_groups[group], group
    assert len(data.keypoint_groups['face']) == 5 + 51
    assert data.joint_limits[data.joint_names.index('left_knee'), 0].tolist() == [-0.05, 2.7]
    # The right hand's limits mirror the left hand's: y and z of a rotation change their signs.
    left, right = (data.joint_limits[[data.joint_names.index(f'{s}_index2')]] for s in ('left', 'right'))
    assert np.allclose(left[0, 0], right[0, 0])
    assert np.allclose(left[0, 1:], -right[0, 1:, ::-1])


def test_hands_are_given_one_way_or_the_other(body):
    angles = draw(B, 15, 3)
    params = body.params(left_hand_pose=angles)
    assert torch.allclose(body.parts(params, use_pca=False)['left_hand_pose'], angles, atol=1e-12)
    with pytest.raises(ValueError, match=r'left hand must lie within .* Ask for axis-angles'):
        body.parts(params)
    rotations = params.rotations()
    matrices = params.replace(global_orient=rotations[:, 0], body_pose=rotations[:, 1:])
    assert torch.allclose(body.parts(matrices, use_pca=False)['left_hand_pose'], angles, atol=1e-9)
    coefficients = draw(2, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: body.params(right_hand_pose=c).body_pose, (coefficients,))


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (dict(left_hand_pose=torch.zeros(1, 7)), r'left_hand_pose must have 6 PCA coefficients'),
        (dict(body_pose=torch.zeros(1, 23, 3)), r'body_pose must be axis-angles \(B, 21, 3\)'),
        (dict(betas=torch.zeros(2, 4), transl=torch.zeros(3, 3)), 'as many rows, or one'),
    ],
)
def test_wrong_smplx_parameters_are_named(body, given, message):
    with pytest.raises(ValueError, match=message):
        body.params(**{name: value.double() for name, value in given.items()})


def test_what_a_file_lacks_is_reported(folder, caplog, tmp_path):
    with caplog.at_level(logging.INFO, 'smilfit'):
        body = SMPLX(folder, 'female', num_betas=12, use_face_contour=True)
    assert body.n_betas == 10
    assert 'num_betas is 12, but the file has 10' in caplog.text
    assert '17 contour points of the face are not computed' in caplog.text
    assert 'joint2num' not in caplog.text
    arrays = smplx_arrays()
    del arrays['hands_meanl']
    np.savez(tmp_path / 'SMPLX_NEUTRAL.npz', **arrays)
    with pytest.raises(
        ValueError, match=r"SMPLX_NEUTRAL.npz: an SMPL-X file must have the key 'hands_meanl'"
    ):
        SMPLX(tmp_path)
    np.savez(tmp_path / 'SMPLX_NEUTRAL.npz', **arrays | {'hands_meanl': np.array([None])})
    with pytest.raises(ValueError, match=r'hands_meanl must be an array of numbers.*Nothing was run'):
        SMPLX(tmp_path)
    with pytest.raises(FileNotFoundError, match=r'SMPLX_MALE\.npz.*smpl-x\.is\.tue\.mpg\.de'):
        SMPLX(tmp_path, 'male')


def test_wrong_arguments_are_named(folder):
    with pytest.raises(ValueError, match='must have 55 joints|must have the key'):
        SMPLX(folder / 'smpl' / 'SMPL_FEMALE.pkl')
    with pytest.raises(ValueError, match='SMPL: batch_size must be positive'):
        SMPL(folder, 'female', batch_size=0)
    with pytest.raises(KeyError, match=r"no keypoint convention 'smpl_54'. Did you mean 'smpl_45'"):
        SMPL(folder, 'female', keypoint_convention='smpl_54')
    with pytest.raises(ValueError, match='type smpl must have 24 joints; got 55'):
        SMPL(folder / 'smplx' / 'SMPLX_FEMALE.pkl')
    with pytest.raises(ValueError, match='num_pca_comps must be 1 to 45; got 46'):
        SMPLX(folder, 'female', num_pca_comps=46)


@pytest.mark.parametrize(('n', 'shape', 'expression'), [(400, 300, 100), (20, 10, 10), (16, 10, 6)])
def test_shape_and_expression_are_kept_apart_by_length(n, shape, expression):
    directions = np.arange(3.0 * n).reshape(1, 3, n)
    first, second = split_directions(directions)
    assert (first.shape[2], second.shape[2]) == (shape, expression)
    assert second[0, 0, 0] == shape


def test_another_number_of_landmarks_is_refused(body):
    with pytest.raises(ValueError, match='must describe 51 landmarks; got 50'):
        face_landmarks(load_rig('smplx'), body.data.faces, np.zeros(50), np.zeros((50, 3)))


def test_the_model_is_whole(body):
    assert isinstance(body.data, BodyModelData)
    assert not body.state_dict()
    single = body.float()
    assert single.params(betas=torch.zeros(1, 4)).body_pose.dtype == torch.float32
    body.double()


def test_inputs_of_other_conventions(folder, body):
    """XRMoCap's configs hand `smpl` keypoints to a model of `smpl_45`; others come as their data sets name them."""
    smpl = SMPL(folder, 'female', keypoint_convention='smpl_45').data
    cases = [
        (smpl, 'smpl', 24, 24),
        (smpl, 'smpl_45', 45, 45),
        (smpl, 'coco', 17, 15),
        (smpl, 'openpose_25', 25, 21),
    ]
    cases += [(smpl, 'smplx', 144, 43), (body.data, 'smplx', 144, 127), (body.data, 'smplx', 127, 127)]
    cases += [(body.data, 'smpl', 24, 22), (body.data, 'human', 152, 127)]
    for data, convention, given, kept in cases:
        result = Keypoint3dMSEInput(torch.randn(1, given, 3), convention).resolve(data)
        assert (len(result.keypoints.names), len(result.unmatched)) == (kept, given - kept), convention
