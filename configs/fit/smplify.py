# A person (SMPL, metres) fitted to 3D keypoints: joints, or any convention that the model knows, such as COCO.
# Weights are one over a variance: keypoints lie within 5 mm, and beyond 10 cm they count less and less; angles are
# within 2 rad, shape coefficients within 2 of the mean. Exact joints are met within 1 mm; noise is hardly followed.
type = 'SMPLify'
use_one_betas_per_video = True
optimizer = dict(type='LevenbergMarquardt', gnc_schedule=())

# Where tools mean other points than the model's joints.
ignore_keypoints = [
    'neck_openpose',
    'right_hip_openpose',
    'left_hip_openpose',
    'right_hip_extra',
    'left_hip_extra',
]

handlers = [
    dict(
        type='Keypoint3dMSEHandler',
        handler_key='keypoints3d_mse',
        mse_loss=dict(type='KeypointMSELoss', loss_weight=4e4, reduction='sum', sigma=0.1),
    ),
    dict(
        type='BodyPosePriorHandler',
        handler_key='pose_reg',
        prior_loss=dict(type='PoseRegLoss', loss_weight=0.25, reduction='sum'),
    ),
    dict(
        type='BetasPriorHandler',
        handler_key='shape_prior',
        prior_loss=dict(type='ShapePriorLoss', loss_weight=0.25, reduction='sum'),
    ),
]

stages = [
    # Outliers are found while the loss is wide.
    dict(
        name='place',
        optimizer=dict(type='LevenbergMarquardt', gnc_schedule=(4.0,)),
        n_iter=10,
        ftol=1e-2,
        fit_body_pose=False,
        fit_betas=False,
        keypoints3d_mse_weight=4e4,
    ),
    # Strong priors first: a limb that starts on the wrong side is not twisted to its place.
    dict(
        name='pose',
        optimizer=dict(type='LevenbergMarquardt', gnc_schedule=(4.0, 2.0)),
        n_iter=20,
        ftol=1e-3,
        keypoints3d_mse_weight=4e4,
        pose_reg_weight=40.0,
        shape_prior_weight=40.0,
    ),
    dict(
        name='refine',
        n_iter=40,
        ftol=1e-5,
        keypoints3d_mse_weight=4e4,
        pose_reg_weight=0.25,
        shape_prior_weight=0.25,
    ),
]
