"""The config of XRMoCap's guide builds and runs as it stands, files aside."""

import copy
import pickle

import numpy as np
import pytest
import torch

from smilfit.registry import build_handler, build_registrant
from tests.animals import random_params
from tests.losses.test_losses import write_mixture


def seed_config(prior_folder, stages=None):
    """The example of XRMoCap's guide, line for line, but for the files."""
    return dict(
        type='SMPLify',
        verbose=True,
        info_level='step',
        logger=None,
        n_epochs=1,
        use_one_betas_per_video=True,
        ignore_keypoints=[
            'neck_openpose', 'right_hip_openpose', 'left_hip_openpose', 'right_hip_extra', 'left_hip_extra',
        ],
        optimizer=dict(type='LBFGS', max_iter=20, lr=1.0, line_search_fn='strong_wolfe'),
        handlers=seed_handlers(prior_folder),
        stages=stages or seed_stages(),
    )  # fmt: skip


def seed_handlers(prior_folder):
    logger = None
    return [
        dict(
            handler_key='keypoints3d_mse',
            type='Keypoint3dMSEHandler',
            mse_loss=dict(type='KeypointMSELoss', loss_weight=10.0, reduction='sum', sigma=100),
            logger=logger),
        dict(
            handler_key='shape_prior',
            type='BetasPriorHandler',
            prior_loss=dict(type='ShapePriorLoss', loss_weight=5e-3, reduction='mean'),
            logger=logger),
        dict(
            handler_key='joint_prior',
            type='BodyPosePriorHandler',
            prior_loss=dict(
                type='JointPriorLoss',
                loss_weight=20.0,
                reduction='sum',
                smooth_spine=True,
                smooth_spine_loss_weight=20,
                use_full_body=True),
            logger=logger),
        dict(
            handler_key='pose_prior',
            type='BodyPosePriorHandler',
            prior_loss=dict(
                type='MaxMixturePriorLoss',
                prior_folder=prior_folder,
                num_gaussians=8,
                loss_weight=4.78**2,
                reduction='sum'),
            logger=logger),
        dict(
            handler_key='keypoints3d_limb_len',
            type='Keypoint3dLimbLenHandler',
            loss=dict(type='LimbLengthLoss', convention='smpl', loss_weight=1.0, reduction='mean'),
            logger=logger),
    ]  # fmt: skip


def seed_stages():
    return [
        # stage 0
        dict(
            n_iter=10,
            ftol=1e-4,
            fit_global_orient=False,
            fit_transl=False,
            fit_body_pose=False,
            fit_betas=True,
            keypoints3d_mse_weight=0.0,  # not in use
            keypoints3d_limb_len_weight=1.0,
            shape_prior_weight=5e-3,
            joint_prior_weight=0.0,
            pose_prior_weight=0.0),
        # stage 1
        dict(
            n_iter=30,
            ftol=1e-4,
            fit_global_orient=True,
            fit_transl=True,
            fit_body_pose=True,
            fit_betas=False,
            keypoints3d_mse_weight=10.0,
            keypoints3d_mse_reduction='sum',
            keypoints3d_limb_len_weight=0.0,
            shape_prior_weight=0.0,
            joint_prior_weight=1e-4,
            pose_prior_weight=1e-4,
            body_weight=1.0,
            use_shoulder_hip_only=False),
    ]  # fmt: skip


def human_shaped(folder):
    """Write an SMPL-shaped file: 24 joints, 10 betas, few vertices."""
    rng = np.random.default_rng(0)
    parents = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]
    vertices = rng.normal(size=(120, 3))
    weights = np.zeros((120, 24))
    weights[np.arange(120), np.arange(120) % 24] = 1
    regressor = weights.T / weights.sum(0)[:, None]
    raw = {
        'v_template': vertices,
        'f': np.array([[0, 1, 2]]),
        'weights': weights,
        'kintree_table': np.stack([parents, np.arange(24)]),
        'J_regressor': regressor,
        'shapedirs': 0.1 * rng.normal(size=(120, 3, 10)),
        'posedirs': np.zeros((120, 3, 207)),
    }
    (folder / 'SMPL_NEUTRAL.pkl').write_bytes(pickle.dumps(raw))
    return folder


@pytest.mark.parametrize('second', [False, True], ids=['as it stands', 'LevenbergMarquardt'])
def test_the_config_of_xrmocaps_guide_builds_and_runs(tmp_path, second):
    write_mixture(tmp_path, 69, n=8)
    config = seed_config(tmp_path)
    if second:
        config['optimizer'] = dict(type='LevenbergMarquardt')
    config['body_model'] = dict(
        type='SMPL',
        gender='neutral',
        num_betas=10,
        keypoint_convention='smpl',
        model_path=human_shaped(tmp_path),
        batch_size=1,
        logger=None,
    )
    before = copy.deepcopy(config)
    smplify = build_registrant(config)
    assert config == before
    body = smplify.body
    truth = random_params(body.data, 3, angle=0.1).to(torch.float32).replace(scale=torch.ones(3))
    truth = truth.replace(betas=truth.betas[:1].expand(3, -1))
    xyz = body(truth).joints
    inputs = [
        build_handler(
            dict(
                type=name,
                keypoints3d=xyz,
                keypoints3d_conf=torch.ones(3, 24),
                keypoints3d_convention='smpl',
                handler_key=key,
            )
        )
        for name, key in (
            ('Keypoint3dMSEInput', 'keypoints3d_mse'),
            ('Keypoint3dLimbLenInput', 'keypoints3d_limb_len'),
        )
    ]
    assert inputs[0].get_batch_size() == 3
    result = smplify(input_list=inputs)
    assert result.history[1]['loss_end'] < result.history[1]['loss_start']
    assert result.params.betas.shape == (3, 10)
    assert result.params.scale.eq(1).all()
    # The mixture of this test is nobody's: with the weight that the guide gives it, it hardly counts.
    assert (body(result.params).joints - xyz).norm(dim=-1).mean() < 0.05
