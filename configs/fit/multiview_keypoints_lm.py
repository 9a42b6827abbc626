# Fit a body to the 2D keypoints of a calibrated multi-camera session, by Levenberg-Marquardt.
#
# One shape, one scale and one skeleton for the session; a pose for every frame. All data terms are in px, so the
# weights hold whatever unit the cameras are calibrated in. The start is found in closed form from triangulated
# keypoints.
type = 'SMPLify'
use_one_betas_per_video = True
verbose = True
info_level = 'stage'
ignore_keypoints = []
# The first stage finds the place with a wide loss; the later ones start from there.
optimizer = dict(type='LevenbergMarquardt', graduation=())

handlers = [
    dict(
        type='Keypoint2dHandler',
        handler_key='keypoints2d_mse',
        # A residual of 20 px counts half of its square, one of 100 px next to nothing.
        mse_loss=dict(type='KeypointMSELoss', sigma=20.0, reduction='mean'),
    ),
    dict(type='BodyPosePriorHandler', handler_key='pose_reg', prior_loss=dict(type='PoseRegLoss')),
    dict(type='BetasPriorHandler', handler_key='shape_prior', prior_loss=dict(type='ShapePriorLoss')),
    dict(type='JointOffsetPriorHandler', handler_key='joint_offset_prior'),
    dict(
        type='SmoothMotionHandler',
        handler_key='smooth_motion',
        prior_loss=dict(type='SmoothPointsLoss', order=2),
    ),
]

stages = [
    dict(
        name='place',
        optimizer=dict(type='LevenbergMarquardt', graduation=(4.0,)),
        n_iter=10,
        ftol=1e-3,
        fit_body_pose=False,
        fit_betas=False,
        fit_scale=True,
        keypoints2d_mse_weight=1.0,
    ),
    # An annotator's landmark is rarely exactly a joint of the model: the skeleton gives way a little, once for the
    # session, while poses are still held near rest. Posing first would fold what is too long.
    dict(
        name='skeleton',
        n_iter=25,
        ftol=1e-3,
        fit_joint_offsets=True,
        keypoints2d_mse_weight=1.0,
        pose_reg_weight=100.0,
        shape_prior_weight=0.5,
        joint_offset_prior_weight=1e4,
    ),
    dict(
        name='pose',
        n_iter=25,
        ftol=1e-3,
        fit_joint_offsets=True,
        keypoints2d_mse_weight=1.0,
        pose_reg_weight=5.0,
        shape_prior_weight=0.5,
        joint_offset_prior_weight=5e3,
        smooth_motion_weight=5e3,
    ),
]
