# Fit a body to the 2D keypoints of a calibrated multi-camera session.
#
# One shape, one scale, one size of every part (the same left and right) and one place of every label on the animal
# for the session; a pose for every frame. All data terms are in px, and lengths of the body in shares of it, so the
# weights hold whatever unit the cameras are calibrated in. The start is found in closed form from triangulated
# keypoints.
type = 'SMPLify'
use_one_betas_per_video = True
verbose = True
info_level = 'stage'
ignore_keypoints = []
optimizer = dict(type='LBFGS', max_iter=20, lr=1.0, line_search_fn='strong_wolfe')

handlers = [
    dict(
        type='Keypoint2dHandler',
        handler_key='keypoints2d_mse',
        # A residual of 10 px counts half of its square, one of 50 px next to nothing.
        mse_loss=dict(type='KeypointMSELoss', sigma=10.0, reduction='mean'),
    ),
    dict(type='BodyPosePriorHandler', handler_key='pose_reg', prior_loss=dict(type='PoseRegLoss')),
    dict(type='BetasPriorHandler', handler_key='shape_prior', prior_loss=dict(type='ShapePriorLoss')),
    dict(
        type='JointLimitHandler',
        handler_key='joint_limit',
        prior_loss=dict(type='JointLimitLoss', required=False),
    ),
    dict(type='LandmarkOffsetPriorHandler', handler_key='landmark_prior'),
    dict(type='PartSizePriorHandler', handler_key='part_size_prior'),
    dict(
        type='SmoothMotionHandler',
        handler_key='smooth_motion',
        # What moves by more than a twentieth of the body a frame squared does so itself: jumps are not smoothed away.
        prior_loss=dict(type='SmoothPointsLoss', order=2, sigma=0.05),
    ),
]

stages = [
    dict(
        name='place',
        n_iter=10,
        fit_body_pose=False,
        fit_betas=False,
        fit_scale=True,
        keypoints2d_mse_weight=1.0,
    ),
    # Where labels lie on the animal and how large its parts are, while poses are held near rest. Posing first would
    # fold what is too long.
    dict(
        name='skeleton',
        n_iter=25,
        fit_scale=True,
        fit_landmark_offsets=True,
        fit_part_sizes=True,
        keypoints2d_mse_weight=1.0,
        pose_reg_weight=100.0,
        shape_prior_weight=2.0,
        joint_limit_weight=100.0,
        landmark_prior_weight=0.1,
        part_size_prior_weight=0.3,
    ),
    dict(
        name='pose',
        n_iter=25,
        fit_scale=True,
        fit_landmark_offsets=True,
        fit_part_sizes=True,
        keypoints2d_mse_weight=1.0,
        pose_reg_weight=5.0,
        shape_prior_weight=2.0,
        joint_limit_weight=100.0,
        landmark_prior_weight=0.05,
        part_size_prior_weight=0.3,
        smooth_motion_weight=5e3,
    ),
]
