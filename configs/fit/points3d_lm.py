# Fit a body to points in space that another tool placed, without images (tools/preprocess.py points3d).
#
# One shape, one scale, one size of every part (the same left and right) and one place of every label on the animal
# for the session; a pose for every frame. Lengths are shares of the animal's size (L), and weights of the points are
# of squared shares, so that they hold whatever the animal and its unit.
_base_ = ['./multiview_keypoints_lm.py']

# Sides that a tracker mistook for each other in all cameras are not told by motion alone.
unswap = None

handlers = [
    dict(
        type='Keypoint3dHandler',
        handler_key='keypoints3d_mse',
        # A residual of 5 % of the animal's size counts half of its square, one of a quarter next to nothing.
        mse_loss=dict(type='KeypointMSELoss', sigma='0.05L', reduction='mean'),
    ),
    dict(type='BodyPosePriorHandler', handler_key='pose_reg', prior_loss=dict(type='PoseRegLoss')),
    dict(type='BetasPriorHandler', handler_key='shape_prior', prior_loss=dict(type='ShapePriorLoss')),
    dict(
        type='JointLimitHandler',
        handler_key='joint_limit',
        # What a model states holds to a degree or so; default limits are a guess.
        prior_loss=dict(type='JointLimitLoss', required=False, default_factor=1e-3),
    ),
    dict(type='LandmarkOffsetPriorHandler', handler_key='landmark_prior'),
    dict(type='PartSizePriorHandler', handler_key='part_size_prior'),
    dict(
        type='SmoothMotionHandler',
        handler_key='smooth_motion',
        prior_loss=dict(type='SmoothPointsLoss', order=2),
    ),
]

# As multiview_keypoints_lm.py, of an animal 300 px long: 300 squared.
stages = [
    dict(
        name='place',
        optimizer=dict(type='LevenbergMarquardt', gnc_schedule=(8.0,)),
        n_iter=10,
        ftol=1e-3,
        fit_body_pose=False,
        fit_betas=False,
        fit_scale=True,
        keypoints3d_mse_weight=9e4,
    ),
    # While poses are held near rest: see multiview_keypoints_lm.py.
    dict(
        name='skeleton',
        optimizer=dict(type='LevenbergMarquardt', gnc_schedule=(8.0,)),
        n_iter=25,
        ftol=1e-3,
        fit_scale=True,
        fit_landmark_offsets=True,
        fit_part_sizes=True,
        keypoints3d_mse_weight=9e4,
        pose_reg_weight=100.0,
        shape_prior_weight=2.0,
        joint_limit_weight=1e5,
        landmark_prior_weight=0.1,
        part_size_prior_weight=0.3,
    ),
    dict(
        name='pose',
        n_iter=25,
        ftol=1e-3,
        fit_scale=True,
        fit_landmark_offsets=True,
        fit_part_sizes=True,
        keypoints3d_mse_weight=9e4,
        pose_reg_weight=5.0,
        shape_prior_weight=2.0,
        joint_limit_weight=1e5,
        landmark_prior_weight=0.05,
        part_size_prior_weight=0.3,
        smooth_motion_weight=5e3,
    ),
]
