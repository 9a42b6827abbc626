"""SMPL-X in XRMoCap's stages: each key moves its own joints, whatever the solver, and the truth is found."""

import numpy as np
import pytest
import torch

from smilfit.body_models import SMPLX
from smilfit.registrants.stage import POSE_PARTS
from smilfit.registry import build_handler, build_registrant
from smilfit.structures import Keypoints3d
from tests.body_models.human_files import model_arrays, smplx_arrays, smplx_parents

LBFGS = dict(type='LBFGS', max_iter=20, lr=1.0, line_search_fn='strong_wolfe')
LM = dict(type='LevenbergMarquardt')
SOLVERS = pytest.mark.parametrize('optimizer', [LBFGS, LM], ids=['LBFGS', 'LevenbergMarquardt'])
KEYS = ('global_orient', 'transl', 'body_pose', *POSE_PARTS, 'betas', 'expression')
MSE = dict(
    type='Keypoint3dMSEHandler',
    handler_key='keypoints3d_mse',
    mse_loss=dict(type='KeypointMSELoss', loss_weight=10.0, reduction='sum', sigma=100),
)
B = 3


@pytest.fixture(scope='module')
def body(tmp_path_factory):
    """SMPL-X's joints, hands, face and files on few vertices."""
    arrays = smplx_arrays_of(150)
    path = tmp_path_factory.mktemp('smplx') / 'SMPLX_NEUTRAL.npz'
    np.savez(path, **arrays)
    return SMPLX(path, num_betas=4, num_expression_coeffs=3, use_pca=False).double()


def smplx_arrays_of(n_vertices):
    arrays = model_arrays(n_vertices, smplx_parents(), 20, 0)
    face = {k: v for k, v in smplx_arrays().items() if k not in arrays}
    rng = np.random.default_rng(7)
    face['lmk_faces_idx'] = rng.integers(0, len(arrays['f']), 51)
    return arrays | {k: v for k, v in face.items() if v.dtype != object and not k.startswith('dynamic')}


def truth_of(body, seed=1):
    g = torch.Generator().manual_seed(seed)

    def draw(*shape, size=0.15):
        return size * torch.randn(shape, generator=g).double()

    return body.params(
        global_orient=draw(B, 3),
        body_pose=draw(B, 21, 3),
        jaw_pose=draw(B, 3),
        leye_pose=draw(B, 3),
        reye_pose=draw(B, 3),
        left_hand_pose=draw(B, 15, 3),
        right_hand_pose=draw(B, 15, 3),
        betas=draw(1, 4, size=1.0).expand(B, -1).clone(),
        expression=draw(B, 3, size=1.0),
        transl=draw(B, 3, size=1.0),
    )


def seen(body, params):
    names = body.keypoint_names
    xyz = body(params, names).keypoints
    return Keypoints3d(xyz, torch.ones(xyz.shape[:2]).double(), names)


def fitter(body, stages, optimizer, **kwargs):
    return build_registrant(
        dict(
            type='SMPLifyX', body_model=body, handlers=[MSE], stages=stages, optimizer=optimizer,
            use_one_betas_per_video=True,
        )
        | kwargs
    )  # fmt: skip


def values(body, params):
    """The parameters by XRMoCap's names."""
    parts = body.parts(params)
    return {key: parts[key] for key in KEYS}


@SOLVERS
@pytest.mark.parametrize('key', KEYS)
def test_a_key_moves_its_own_joints_and_no_others(body, key, optimizer):
    truth = truth_of(body)
    stage = {f'fit_{name}': name == key for name in KEYS}
    stage |= dict(n_iter=3, ftol=1e-9, keypoints3d_mse_weight=1.0)
    start = truth_of(body, seed=2)
    result = fitter(body, [stage], optimizer)([seen(body, truth)], start)
    before, after = values(body, start), values(body, result.params)
    for name in KEYS:
        change = (after[name] - before[name]).reshape(B, -1).abs().amax(1)
        if name == key:
            assert (change > 1e-3).all(), name
        else:
            assert (change < 1e-9).all(), name
    assert result.history[0]['loss_end'] < result.history[0]['loss_start']
    rows = after['betas'] - after['betas'][:1]
    assert rows.abs().max() == 0


@SOLVERS
def test_the_truth_in_three_stages(body, optimizer):
    """Limbs tell the shape, then the place is found, then all: hands, face and an expression a frame."""
    limbs = dict(
        type='Keypoint3dLimbLenHandler', handler_key='keypoints3d_limb_len',
        loss=dict(type='LimbLengthLoss', convention='smplx', loss_weight=1.0, reduction='mean'),
    )  # fmt: skip
    faces = dict(
        fit_left_hand_pose=False, fit_right_hand_pose=False, fit_jaw_pose=False, fit_leye_pose=False,
        fit_reye_pose=False, fit_expression=False,
    )  # fmt: skip
    still = dict(fit_global_orient=False, fit_transl=False, fit_body_pose=False)
    stages = [
        dict(n_iter=15, **faces, **still, fit_betas=True, keypoints3d_limb_len_weight=1.0),
        dict(n_iter=10, **faces, fit_body_pose=False, fit_betas=False, keypoints3d_mse_weight=1.0),
        dict(n_iter=25, ftol=1e-7, keypoints3d_mse_weight=10.0, **dict.fromkeys(faces, True)),
    ]  # fmt: skip
    truth = truth_of(body)
    points = seen(body, truth)
    joints = Keypoints3d(points.xyz, points.confidence, points.names).select(body.joint_names)
    given = [
        build_handler(dict(type=kind, keypoints3d=xyz, handler_key=key))
        for kind, key, xyz in (
            ('Keypoint3dMSEInput', 'keypoints3d_mse', points),
            ('Keypoint3dLimbLenInput', 'keypoints3d_limb_len', joints),
        )
    ]
    result = fitter(body, stages, optimizer, handlers=[MSE, limbs])(given)
    error = (body(result.params, points.names).keypoints - points.xyz).norm(dim=-1)
    assert error.max() < 1e-2
    assert (result.params.expression - truth.expression).abs().max() < 0.1
    assert (result.params.expression[0] - result.params.expression[1]).abs().max() > 0.1
    assert (result.params.betas - truth.betas).abs().max() < 0.1
    assert torch.equal(result.params.betas[0], result.params.betas[1])


def test_parts_of_a_body_without_them(body):
    """`fit_body_pose` of SMPLify is the whole pose; only SMPLifyX knows parts."""
    with pytest.raises(KeyError, match="unknown stage key 'fit_jaw_pose'"):
        fitter(body, [dict(fit_jaw_pose=True)], LM, type='SMPLify')
    with pytest.raises(
        KeyError, match="unknown stage key 'fit_left_hand'. Did you mean 'fit_left_hand_pose'"
    ):
        fitter(body, [dict(fit_left_hand=True)], LM)
