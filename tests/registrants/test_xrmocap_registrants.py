"""Configs with the terms, stages and arguments of XRMoCap's five registrants build and run, files aside."""

import copy
import logging

import numpy as np
import pytest
import torch

from smilfit.registrants import SMPLify, SMPLifyVerboseHook, SMPLifyX, SMPLifyXD, Stage
from smilfit.registry import UnknownNameError, build_handler, build_registrant
from tests.animals import ring_of_cameras
from tests.losses.test_losses import write_mixture
from tests.registrants.test_smplx_stages import smplx_arrays_of
from tests.registrants.test_xrmocap_config import human_shaped

# Name: registrant, epochs, steps of the three stages, and whether the last weights 2D keypoints and priors as well.
KINDS = {
    'smplify': ('SMPLify', 1, (10, 50, 120), False),
    'smplify_test': ('SMPLify', 2, (2, 2, 2), True),
    'smplifyx': ('SMPLifyX', 1, (10, 50, 120), False),
    'smplifyx_test': ('SMPLifyX', 2, (2, 2, 2), False),
    'smplifyxd_test': ('SMPLifyXD', 2, (2, 2, 2), False),
}
PARTS = ('left_hand_pose', 'right_hand_pose', 'jaw_pose', 'leye_pose', 'reye_pose', 'expression')
B = 2


def term(key, kind, argument, loss, weight, reduction, **options):
    loss = dict(type=loss, loss_weight=weight, reduction=reduction, **options)
    return {'handler_key': key, 'type': kind, argument: loss, 'logger': None}


def terms(kind, folder):
    point, prior = ('KeypointMSELoss', 10.0, 'sum'), ('BodyPosePriorHandler', 'prior_loss')
    limbs = ('LimbLengthLoss', 1.0, 'mean')
    spine = dict(smooth_spine=True, smooth_spine_loss_weight=20, use_full_body=True)
    result = [
        term('keypoints3d_mse', 'Keypoint3dMSEHandler', 'mse_loss', *point, sigma=100),
        term('keypoints2d_mse', 'MultiviewKeypoint2dMSEHandler', 'mse_loss', *point, sigma=100),
        term('shape_prior', 'BetasPriorHandler', 'prior_loss', 'ShapePriorLoss', 5e-3, 'mean'),
        term('joint_prior', *prior, 'JointPriorLoss', 20.0, 'sum', **spine),
        term('smooth_joint', *prior, 'SmoothJointLoss', 1.0, 'mean', loss_func='L2'),
        term('pose_reg', *prior, 'PoseRegLoss', 1e-3, 'mean'),
        term('keypoints3d_limb_len', 'Keypoint3dLimbLenHandler', 'loss', *limbs, convention='smpl'),
    ]  # fmt: skip
    if KINDS[kind][0] == 'SMPLify':
        mixture = dict(prior_folder=str(folder), num_gaussians=8)
        result.append(term('pose_prior', *prior, 'MaxMixturePriorLoss', 4.78**2, 'sum', **mixture))
    return result


def stages(kind):
    registrant, _, steps, everything = KINDS[kind]
    keys = ['keypoints3d_mse', 'keypoints2d_mse', 'keypoints3d_limb_len', 'shape_prior', 'joint_prior']
    keys += ['smooth_joint', 'pose_reg']
    # The last of the five names a term in its stages that is not among its handlers.
    keys += ['pose_prior'] if registrant in ('SMPLify', 'SMPLifyXD') else []
    fits = [('betas',), ('global_orient', 'transl'), ('global_orient', 'transl', 'body_pose', *PARTS[:5])]
    weights = [
        dict(keypoints3d_limb_len=1.0, shape_prior=5e-3),
        dict(keypoints3d_mse=1.0, keypoints2d_mse=1.0),
        dict(keypoints3d_mse=10.0, smooth_joint=1.0, pose_reg=1e-3),
    ]
    if everything:
        weights[2] |= dict(keypoints2d_mse=1.0, joint_prior=1e-4, pose_prior=1e-4)
    names = ['global_orient', 'transl', 'body_pose', 'betas'] + (
        list(PARTS) if registrant != 'SMPLify' else []
    )
    result = [
        dict(n_iter=n, ftol=1e-4)
        | {f'fit_{name}': name in fit for name in names}
        | {f'{key}_weight': weight.get(key, 0.0) for key in keys}
        for n, fit, weight in zip(steps, fits, weights)
    ]
    parts = dict(body_weight=0.0, face_weight=0.0, hand_weight=0.0, shoulder_weight=5.0, hip_weight=5.0)
    result[1] |= dict(**parts, use_shoulder_hip_only=True)
    result[2] |= dict(body_weight=1.0, use_shoulder_hip_only=False)
    if everything:
        result[2]['keypoints3d_mse_reduction'] = 'sum'
    return result


def config(kind, folder):
    registrant, epochs, _, everything = KINDS[kind]
    human = dict(gender='neutral', num_betas=10, model_path=str(folder), batch_size=1, logger=None)
    if registrant == 'SMPLify':
        human |= dict(type='SMPL', keypoint_convention='smpl_45')
    else:
        human |= dict(type='SMPLX', use_face_contour=True, keypoint_convention='smplx', use_pca=False)
    sides = [f'{side}_hip_{tool}' for tool in ('openpose', 'extra') for side in ('right', 'left')]
    return dict(
        type=registrant,
        verbose=True,
        info_level='step' if everything else 'stage',
        logger=None,
        n_epochs=epochs,
        use_one_betas_per_video=True,
        hooks=[dict(type='SMPLifyVerboseHook')],
        body_model=human,
        optimizer=dict(type='LBFGS', max_iter=20, lr=1.0, line_search_fn='strong_wolfe'),
        ignore_keypoints=['neck_openpose', *sides],
        handlers=terms(kind, folder),
        stages=stages(kind),
    )


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = human_shaped(tmp_path_factory.mktemp('humans'))
    write_mixture(path, 69, n=8)
    np.savez(path / 'SMPLX_NEUTRAL.npz', **smplx_arrays_of(150))
    return path


def truth_of(body):
    draw = torch.Generator().manual_seed(0)
    params = body.zero_params(B)
    pose = 0.1 * torch.randn(params.body_pose.shape, generator=draw)
    return params.replace(
        body_pose=params.body_pose + pose, global_orient=0.3 * torch.randn(B, 3, generator=draw)
    )


def given(body, flat=True):
    xyz = body(truth_of(body)).joints[:, :22]
    names = body.joint_names[:22]
    inputs = [
        dict(type='Keypoint3dMSEInput', keypoints3d=xyz, handler_key='keypoints3d_mse'),
        dict(type='Keypoint3dLimbLenInput', keypoints3d=xyz, handler_key='keypoints3d_limb_len'),
    ]
    inputs = [build_handler(i | dict(keypoints3d_convention=names)) for i in inputs]
    if flat:
        cameras = ring_of_cameras(3, 8.0)
        px = cameras.project(xyz.double())[0].float()
        inputs.append(
            build_handler(
                dict(
                    type='MultiviewKeypoint2dMSEInput', keypoints2d=px, keypoints2d_convention=names,
                    cameras=cameras, handler_key='keypoints2d_mse',
                )
            )
        )  # fmt: skip
    return xyz, inputs


@pytest.mark.parametrize('kind', KINDS)
def test_a_registrant_of_xrmocap_builds_and_runs(kind, folder):
    cfg = config(kind, folder)
    before = copy.deepcopy(cfg)
    fitter = build_registrant(cfg)
    assert cfg == before
    assert type(fitter) is {'SMPLify': SMPLify, 'SMPLifyX': SMPLifyX, 'SMPLifyXD': SMPLifyXD}[KINDS[kind][0]]
    xyz, inputs = given(fitter.body)
    result = fitter(input_list=inputs)
    assert [h['epoch'] for h in result.history] == sorted(list(range(KINDS[kind][1])) * 3)
    assert result.params.betas.shape == (B, 10)
    assert all(v.isfinite().all() for v in result.params.as_dict().values())
    with torch.no_grad():
        start, end = (fitter.body(p).joints[:, :22] for p in (result.start, result.params))
    assert (end - xyz).norm(dim=-1).mean() < (start - xyz).norm(dim=-1).mean()


@pytest.mark.parametrize('kind', ['smplify', 'smplifyx'])
def test_without_2d_keypoints_one_weight_must_go(kind, folder):
    cfg = config(kind, folder)
    _, inputs = given(build_registrant(cfg).body, flat=False)
    with pytest.raises(UnknownNameError, match='keypoints2d_mse'):
        build_registrant(cfg)(inputs)
    for stage in cfg['stages']:
        stage['keypoints2d_mse_weight'] = 0.0
        stage['n_iter'] = 2
    assert build_registrant(cfg)(inputs).params.batch_size == B


def test_the_hook_turns_the_log_on(folder, caplog):
    cfg = config('smplify_test', folder) | dict(verbose=False)
    assert build_registrant(cfg).verbose
    assert not build_registrant(cfg | dict(hooks=[])).verbose
    assert not SMPLifyVerboseHook()(Stage(), 1, 0.0)
    cfg['n_epochs'] = 1
    fitter = build_registrant(cfg)
    with caplog.at_level(logging.INFO):
        fitter(given(fitter.body)[1])
    assert 'stage 2, step 1: loss' in caplog.text


def test_displacements_are_refused_where_they_are_asked_for(folder):
    cfg = config('smplifyxd_test', folder)
    for stage in cfg['stages']:
        stage['fit_displacement'] = False
    build_registrant(cfg)
    cfg['stages'][2]['fit_displacement'] = True
    with pytest.raises(ValueError, match='stage 2 must not fit displacements'):
        build_registrant(cfg)


def test_a_weight_of_a_term_that_is_not_there_must_be_0(folder):
    cfg = config('smplifyxd_test', folder)
    cfg['stages'][2]['pose_prior_weight'] = 1e-4
    with pytest.raises(UnknownNameError, match='pose_prior_weight'):
        build_registrant(cfg)
