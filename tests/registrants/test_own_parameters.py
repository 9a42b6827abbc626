"""A parameter of a user's own: one row of the table and its use in a body; all else knows it by the table."""

import importlib
import pickle
import sys
from dataclasses import replace

import pytest
import torch

from smilfit.files import BadFileError
from smilfit.handlers import Keypoint3dHandler
from smilfit.io.truth import read_true_params, write_truth
from smilfit.registrants import SMPLify, Stage
from smilfit.registry import BODY_MODELS, build_body_model
from smilfit.solvers import LevenbergMarquardt
from smilfit.structures import PARAMETERS, BodyParams, FitResult, Keypoints3d
from tests.animals import random_params, small_animal

MODULE = 'tests.registrants.own_parameters'
B = 4


@pytest.fixture
def body():
    """Import the user's file, as `custom_imports` would; afterwards nobody knows it."""
    before = dict(PARAMETERS)
    importlib.import_module(MODULE)
    # Its hook is measured alone: the skin's vertex 5 is the keypoint `tail`.
    data = replace(small_animal(n_joints=8), posedirs=None)
    yield build_body_model(dict(type='SoftAnimal', data=data)).double()
    PARAMETERS.clear()
    PARAMETERS.update(before)
    BODY_MODELS.module_dict.pop('SoftAnimal')
    BODY_MODELS.module_dict.pop('BulgingAnimal')
    sys.modules.pop(MODULE)


@pytest.fixture
def clip(body):
    """A clip of one shape and one displaced vertex, with limbs that change from frame to frame."""
    truth = random_params(body.data, B, angle=0.2)
    deformed = torch.zeros(B, 40, 3).double()
    deformed[:, 5] = torch.tensor([0.3, -0.2, 0.1]).double()
    length = 1 + 0.3 * torch.linspace(-1, 1, 2 * B).double().reshape(B, 2)
    truth = truth.replace(deform_verts=deformed, limb_length=length)
    truth = truth.replace(betas=truth.betas[:1].expand(B, -1).clone(), scale=torch.ones(B).double())
    names = (*body.joint_names, 'nose', 'tail')
    return truth, Keypoints3d(body(truth, names).keypoints, torch.ones(B, len(names)).double(), names)


def fit(body, points, start, shared=True, **stage):
    rest = dict(fit_global_orient=False, fit_transl=False, fit_body_pose=False, fit_betas=False)
    stage = rest | dict(n_iter=60, ftol=1e-12, keypoints3d_mse_weight=1.0) | stage
    fitter = SMPLify(body, [stage], [Keypoint3dHandler()], use_one_betas_per_video=shared)
    return fitter([points], init_params=start)


def plain(truth):
    return truth.replace(deform_verts=None, limb_length=None)


def test_it_is_fitted_shared_and_kept(body, clip, tmp_path):
    truth, points = clip
    result = fit(body, points, plain(truth), fit_deform_verts=True, fit_limb_length=True)
    matches = result.params
    assert torch.allclose(matches.deform_verts[:, 5], truth.deform_verts[:, 5], atol=1e-4)
    assert matches.deform_verts.unique(dim=0).shape[0] == 1
    assert torch.allclose(matches.limb_length, truth.limb_length, atol=1e-4)
    # A vertex that no keypoint is made of stays.
    assert not matches.deform_verts[:, 8].any()
    assert result.history[0]['fit'] == ['deform_verts', 'limb_length']
    back = FitResult.load(result.save(tmp_path / 'fit.npz'), body=body)
    assert set(back.params.as_dict()) == set(matches.as_dict())
    assert torch.equal(back.params.limb_length, matches.limb_length)
    assert torch.equal(back.vertices(), result.vertices())
    assert '"version": 2' in (tmp_path / 'fit.json').read_text()
    PARAMETERS.pop('limb_length')
    with pytest.raises(
        BadFileError, match=r"fit.json: parameters must be registered; got 'limb_length'. Import"
    ):
        FitResult.load(tmp_path / 'fit.npz')


def test_it_is_one_a_frame_where_nothing_is_shared(body, clip):
    truth, points = clip
    moved = truth.replace(deform_verts=truth.deform_verts * torch.arange(B).double()[:, None, None])
    points = replace(points, xyz=body(moved, points.names).keypoints)
    result = fit(body, points, moved.replace(deform_verts=None), shared=False, fit_deform_verts=True)
    assert torch.allclose(result.params.deform_verts[:, 5], moved.deform_verts[:, 5], atol=1e-4)
    assert torch.equal(result.params.limb_length, moved.limb_length)


def test_what_no_stage_fits_stays_where_it_began(body, clip):
    truth, points = clip
    result = fit(body, points, truth.as_dict() | {'transl': truth.transl + 0.1}, fit_transl=True)
    assert torch.equal(result.params.deform_verts, truth.deform_verts)
    assert torch.equal(result.start.limb_length, truth.limb_length)
    assert torch.allclose(result.params.transl, truth.transl, atol=1e-4)


def test_frames_that_nobody_saw_have_what_is_shared_alone(body, clip):
    truth, points = clip
    seen = torch.tensor([1.0, 0, 1, 1]).double().unsqueeze(1)
    result = fit(body, replace(points, confidence=points.confidence * seen), truth, fit_deform_verts=True)
    assert result.params.deform_verts.isfinite().all()
    assert result.params.limb_length.isfinite().all(1).tolist() == [True, False, True, True]


@pytest.mark.parametrize(
    ('name', 'change', 'message'),
    [
        ('deform_verts', lambda x: x[:, :9], r'init_params deform_verts must be \(4, 40, 3\); got \(4, 9, 3\)'),
        ('limb_length', lambda x: 0 * x, 'init_params limb_length must be positive; got 0, 0 in row 0'),
        ('limb_length', lambda x: x[:3], 'init_params limb_length must have 1 or 4 rows; got 3'),
    ],
)  # fmt: skip
def test_a_wrong_start_is_reported(body, clip, name, change, message):
    truth, points = clip
    with pytest.raises(ValueError, match=message):
        fit(body, points, truth.as_dict() | {name: change(getattr(truth, name))}, fit_transl=True)


def test_unknown_names_are_reported_with_the_near_ones(body, clip):
    truth, points = clip
    with pytest.raises(KeyError, match=r"stage key 'fit_deform_vert'. Did you mean 'fit_deform_verts'"):
        fit(body, points, truth, fit_deform_vert=True)
    with pytest.raises(KeyError, match=r"parameter 'limb_lengths'. Did you mean 'limb_length'"):
        truth.replace(limb_lengths=truth.limb_length)
    with pytest.raises(AttributeError, match=r"no 'deformed_verts'. Did you mean 'deform_verts'"):
        _ = truth.deformed_verts
    with pytest.raises(ValueError, match=r'small: deform_verts must be \(4, 40, 3\); got \(4, 2, 3\)'):
        body(truth.replace(deform_verts=truth.deform_verts[:, :2]))
    with pytest.raises(ValueError, match=r'limb_length must have 4 rows, as transl has; got \(1, 2\)'):
        truth.replace(limb_length=truth.limb_length[:1])


def test_params_carry_it(clip):
    truth, _ = clip
    assert truth[1:3].limb_length.shape == (2, 2)
    assert truth.to(torch.float32).deform_verts.dtype == torch.float32
    assert torch.equal(pickle.loads(pickle.dumps(truth)).limb_length, truth.limb_length)
    assert replace(truth, scale=2 * truth.scale).limb_length is truth.limb_length
    # What one batch lacks is at rest in it.
    both = BodyParams.cat([plain(truth), truth])
    assert torch.equal(both.limb_length, torch.cat([torch.ones_like(truth.limb_length), truth.limb_length]))
    assert not both.deform_verts[:B].any()


def test_the_truth_of_a_made_session_keeps_it(clip, tmp_path):
    truth, points = clip
    none = points.xyz.numpy()
    write_truth(tmp_path / 'truth.npz', truth, none, none, ['a'], ['a'], 'hash')
    back = read_true_params(tmp_path / 'truth.npz', B)
    assert torch.equal(back.deform_verts, truth.deform_verts)


@pytest.mark.usefixtures('body')
@pytest.mark.parametrize('backend', ['torch', 'auto'])
def test_one_that_is_linear_at_rest_is_fitted_by_second_order(backend):
    body = build_body_model(dict(type='BulgingAnimal', data=small_animal(n_joints=8))).double()
    truth = random_params(body.data, B, angle=0.2)
    bulges = torch.tensor([[0.4, -0.3]]).double().expand(B, -1).clone()
    truth = truth.replace(betas=0 * truth.betas, scale=torch.ones(B).double(), bulges=bulges)
    names = (*body.joint_names, 'nose', 'tail')
    seen = Keypoints3d(body(truth, names).keypoints, torch.ones(B, len(names)).double(), names)
    # Joints' turns would do what bulges do.
    still = dict(fit_body_pose=False, fit_betas=False)
    stage = dict(n_iter=40, ftol=1e-14, fit_bulges=True, keypoints3d_mse_weight=1.0, **still)
    solver = LevenbergMarquardt(backend, covariance=True)
    fitter = SMPLify(body, [stage], [Keypoint3dHandler()], solver, use_one_betas_per_video=True)
    start = truth.replace(bulges=None, global_orient=0 * truth.global_orient)
    result = fitter([seen], init_params=start)
    assert torch.allclose(result.params.bulges, truth.bulges, atol=1e-5)
    assert result.covariance.columns[-2:] == ('bulges[0]', 'bulges[1]')


def test_messages_of_a_stage_without_a_name_can_be_read(body, clip):
    stage = Stage(fit=('deform_verts',), weights={'keypoints3d_mse': 1.0})
    fitter = SMPLify(body, [stage], [Keypoint3dHandler()], optimizer=LevenbergMarquardt())
    with pytest.raises(TypeError, match='LevenbergMarquardt: the stage must be of .*; got deform_verts'):
        fitter([clip[1]])
    with pytest.raises(ValueError, match='^Stage: n_iter and ftol must not be negative'):
        Stage(n_iter=-1)
