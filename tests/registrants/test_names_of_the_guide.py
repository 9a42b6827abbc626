"""Every handler, input, loss and solver of XRMoCap's guide, built from a config, finds the truth."""

import pickle

import numpy as np
import pytest
import torch

from smilfit.body_models import load_convention
from smilfit.registry import build_handler, build_registrant
from smilfit.structures import BodyParams
from tests.animals import ring_of_cameras
from tests.body_models.human_files import smpl_arrays
from tests.registrants.test_xrmocap_config import human_shaped

LBFGS = dict(type='LBFGS', max_iter=20, lr=1.0, line_search_fn='strong_wolfe')
LM = dict(type='LevenbergMarquardt')
SECOND = pytest.mark.parametrize('optimizer', [LBFGS, LM], ids=['LBFGS', 'LevenbergMarquardt'])
MSE = dict(
    type='Keypoint3dMSEHandler',
    handler_key='keypoints3d_mse',
    mse_loss=dict(type='KeypointMSELoss', loss_weight=10.0, reduction='sum', sigma=100),
)
ARM = ('left_elbow', 'left_wrist', 'left_hand')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return human_shaped(tmp_path_factory.mktemp('smpl'))


def fitter(folder, handlers, stages, optimizer=LBFGS, **kwargs):
    body = dict(type='SMPL', model_path=folder, gender='neutral', num_betas=10, keypoint_convention='smpl')
    return build_registrant(
        dict(
            type='SMPLify', body_model=body, handlers=handlers, stages=stages, optimizer=optimizer,
            use_one_betas_per_video=True,
        )
        | kwargs
    )  # fmt: skip


def standing(batch=3, n_betas=10, angle=0.2, seed=0):
    """One person who turns and moves, poses alike in all frames."""
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(shape, generator=g)  # noqa: E731
    return BodyParams(
        global_orient=0.5 * draw(batch, 3),
        body_pose=(angle * draw(1, 23, 3)).expand(batch, -1, -1).clone(),
        betas=draw(1, n_betas).expand(batch, -1).clone(),
        transl=draw(batch, 3),
        scale=torch.ones(batch),
    )


def seen3d(xyz, hidden=(), rows=slice(None), kind='Keypoint3dMSEInput', key='keypoints3d_mse'):
    confidence = torch.ones(xyz.shape[:2])
    names = load_convention('smpl').names
    for name in hidden:
        confidence[rows, names.index(name)] = 0
    return build_handler(
        dict(
            type=kind, keypoints3d=xyz, keypoints3d_conf=confidence, keypoints3d_convention='smpl',
            handler_key=key,
        )
    )  # fmt: skip


def off(fit, result, truth):
    return (fit.body(result.params).joints - fit.body(truth).joints).norm(dim=-1).max()


@pytest.mark.parametrize(
    ('optimizer', 'n_iter'),
    [(LBFGS, 30), (dict(type='Adam', lr=0.03), 400), (LM, 15)],
    ids=['LBFGS', 'Adam', 'LM'],
)
def test_keypoints_3d(folder, optimizer, n_iter):
    stages = [
        dict(n_iter=20, fit_body_pose=False, fit_betas=False, keypoints3d_mse_weight=1.0, optimizer=LBFGS),
        dict(n_iter=n_iter, ftol=1e-9, keypoints3d_mse_weight=10.0, keypoints3d_mse_reduction='sum'),
    ]
    fit = fitter(folder, [MSE], stages, optimizer)
    truth = standing()
    assert off(fit, fit(input_list=[seen3d(fit.body(truth).joints)]), truth) < 1e-2


@SECOND
def test_views_2d(folder, optimizer):
    handler = dict(
        type='MultiviewKeypoint2dMSEHandler',
        handler_key='mview_keypoints2d_mse',
        mse_loss=dict(type='KeypointMSELoss', loss_weight=1.0, reduction='mean', sigma=100),
    )
    rigid = dict(n_iter=10, fit_body_pose=False, fit_betas=False, mview_keypoints2d_mse_weight=1.0)
    stages = [rigid, dict(n_iter=60, ftol=1e-10, mview_keypoints2d_mse_weight=1.0)]
    fit = fitter(folder, [handler], stages, optimizer)
    truth = standing()
    cameras = ring_of_cameras().to(torch.float32)
    xy, _, valid = cameras.project(fit.body(truth).joints)
    xy[1, 2, 5] = torch.nan
    given = dict(
        type='MultiviewKeypoint2dMSEInput', keypoints2d=xy, keypoints2d_convention='smpl', cameras=cameras,
        keypoints2d_conf=valid.float(), handler_key='mview_keypoints2d_mse',
    )  # fmt: skip
    result = fit(input_list=[build_handler(given)])
    assert off(fit, result, truth) < 2e-2
    assert result.report['masked_points'] == {'mview_keypoints2d_mse': 1}


@SECOND
def test_limb_lengths_and_the_shape_prior(folder, optimizer):
    """Lengths tell the shape, whatever the pose; what they do not tell, the prior keeps small."""
    limbs = dict(
        type='Keypoint3dLimbLenHandler', handler_key='keypoints3d_limb_len',
        loss=dict(type='LimbLengthLoss', convention='smpl', loss_weight=1.0, reduction='mean'),
    )  # fmt: skip
    prior = dict(
        type='BetasPriorHandler', handler_key='shape_prior',
        prior_loss=dict(type='ShapePriorLoss', loss_weight=5e-3, reduction='mean'),
    )  # fmt: skip
    only = dict(fit_global_orient=False, fit_transl=False, fit_body_pose=False)
    weights = dict(keypoints3d_limb_len_weight=1.0, shape_prior_weight=1e-7)
    fit = fitter(folder, [limbs, prior], [dict(n_iter=80, ftol=1e-9, **only, **weights)], optimizer)
    truth = standing()
    xyz = fit.body(truth).joints
    result = fit([seen3d(xyz, kind='Keypoint3dLimbLenInput', key='keypoints3d_limb_len')])
    assert (result.params.betas - truth.betas).abs().max() < 0.1
    assert torch.equal(result.params.betas[0], result.params.betas[2])
    strong = fitter(
        folder, [limbs, prior], [dict(n_iter=80, **only, **weights) | dict(shape_prior_weight=1e3)], optimizer
    )
    start = dict(betas=truth.betas)
    result = strong([seen3d(xyz, kind='Keypoint3dLimbLenInput', key='keypoints3d_limb_len')], start)
    assert result.params.betas.abs().max() < 1e-2


def pose_prior(loss, weight):
    handlers = [MSE, dict(type='BodyPosePriorHandler', handler_key='prior', prior_loss=loss)]
    stages = [
        dict(n_iter=30, ftol=1e-7, fit_betas=False, keypoints3d_mse_weight=10.0, prior_weight=weight),
    ]  # fmt: skip
    return handlers, stages


def arm_hidden(folder, loss, weight, optimizer, rows=slice(None), initial=None):
    """Fit with the left arm's end unseen; give fit, result, truth, and the shoulder's place in the pose."""
    fit = fitter(folder, *pose_prior(loss, weight), optimizer, initializer=None)
    truth = standing(5)
    seen = seen3d(fit.body(truth).joints, ARM, rows)
    start = truth.replace(body_pose=truth.body_pose.clone())
    for name in ('left_shoulder', *ARM):
        j = fit.body.joint_names.index(name) - 1
        start.body_pose[rows, j] = torch.tensor([0.3, -0.3, 0.3]) if initial is None else initial
    result = fit([seen], start)
    keep = [i for i, n in enumerate(fit.body.joint_names) if n not in ARM]
    error = (fit.body(result.params).joints - fit.body(truth).joints)[:, keep].norm(dim=-1).max()
    assert error < 0.1
    return fit, result, truth, fit.body.joint_names.index('left_shoulder') - 1


@SECOND
def test_pose_reg_puts_what_nobody_saw_at_rest(folder, optimizer):
    loss = dict(type='PoseRegLoss', loss_weight=1e-3, reduction='mean')
    _, result, _, shoulder = arm_hidden(folder, loss, 1e-2, optimizer)
    assert result.params.body_pose[:, shoulder].abs().max() < 1e-2


@SECOND
def test_the_mixture_puts_it_at_its_nearest_mean(folder, tmp_path, optimizer):
    means = np.stack([np.full(69, 0.25), np.full(69, -2.0)])
    mixture = {'means': means, 'covars': np.stack([0.04 * np.eye(69)] * 2), 'weights': np.array([0.5, 0.5])}
    (tmp_path / 'gmm_02.pkl').write_bytes(pickle.dumps(mixture, protocol=2))
    loss = dict(type='MaxMixturePriorLoss', prior_folder=tmp_path, num_gaussians=2, reduction='sum')
    _, result, _, shoulder = arm_hidden(folder, loss, 1e-4, optimizer)
    assert (result.params.body_pose[:, shoulder] - 0.25).abs().max() < 2e-2


@pytest.mark.parametrize(
    ('arguments', 'optimizer'),
    [
        (dict(loss_func='L1'), LBFGS),
        (dict(loss_func='L2'), LBFGS),
        (dict(loss_func='L2'), LM),
        (dict(loss_func='L2', reduction='sum'), LM),
    ],
)
def test_smoothness_gives_it_its_neighbours_pose(folder, arguments, optimizer):
    loss = dict(type='SmoothJointLoss', loss_weight=1.0, reduction='mean') | arguments
    fit, result, truth, _ = arm_hidden(folder, loss, 1.0, optimizer, rows=slice(2, 3))
    # How a bone turns about itself nobody saw in any frame; where its end is, the neighbours know.
    assert off(fit, result, truth) < 0.1


@SECOND
@pytest.mark.parametrize('full', [False, True])
def test_the_joint_prior_unbends_what_cannot_bend_so(folder, optimizer, full):
    loss = dict(
        type='JointPriorLoss', loss_weight=20.0, reduction='sum', use_full_body=full, smooth_spine=full,
        smooth_spine_loss_weight=20,
    )  # fmt: skip
    initial = torch.tensor([0.0, 1.2, 0.0])
    fit, result, _, _ = arm_hidden(folder, loss, 1e-2, optimizer, initial=initial)
    elbow = fit.body.joint_names.index('left_elbow') - 1
    high = float(fit.body.data.joint_limits[elbow + 1, 1, 1])
    matches = result.params.body_pose[:, elbow]
    assert (matches[:, 1] < 0.5 * (1.2 + high)).all(), matches
    assert high < 0.5


@pytest.mark.parametrize('convention', ['smpl', 'smpl_45', 'coco', 'openpose_25', 'human_data'])
def test_smpl_45_takes_inputs_of_any_convention(published_size, convention):
    stages = [dict(n_iter=30, ftol=1e-9, fit_betas=False, keypoints3d_mse_weight=10.0)]
    config = dict(
        type='SMPLify',
        body_model=published_size,
        handlers=[MSE],
        stages=stages,
        optimizer=LM,
        ignore_keypoints=['neck_openpose', 'right_hip_openpose', 'left_hip_extra'],
    )
    fit = build_registrant(config)
    truth = standing(1).replace(betas=torch.zeros(1, 10))
    names = load_convention(convention).names
    known = fit.body.keypoint_names
    xyz = torch.full((1, len(names), 3), 1e3)
    mine = [k for k, n in enumerate(names) if n in known]
    points = fit.body(truth, [names[k] for k in mine]).keypoints
    xyz[:, mine] = points
    given = dict(
        type='Keypoint3dMSEInput', keypoints3d=xyz, keypoints3d_convention=convention,
        handler_key='keypoints3d_mse',
    )  # fmt: skip
    result = fit([build_handler(given)])
    assert (fit.body(result.params, [names[k] for k in mine]).keypoints - points).norm(dim=-1).max() < 2e-2
    lacking = [n for n in names if n not in known]
    assert result.report.get('unmatched_keypoints', {}).get('keypoints3d_mse', []) == lacking


@pytest.fixture(scope='module')
def published_size(tmp_path_factory):
    folder = tmp_path_factory.mktemp('smpl_45')
    (folder / 'SMPL_NEUTRAL.pkl').write_bytes(pickle.dumps(smpl_arrays()))
    return dict(type='SMPL', model_path=folder, num_betas=10, keypoint_convention='smpl_45')
