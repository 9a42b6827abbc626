# The fit of multiview_keypoints_lm.py, with the shape from masks of a few frames in all views: how fat an animal is
# keypoints cannot say. Masks are found by GrabCut beside the fitted body; tools/fit.py --masks takes others.
_base_ = ['./multiview_keypoints_lm.py']
type = 'MaskSMPLify'
segmenter = dict(type='GrabCutSegmenter')
n_mask_frames = 16
side_px = 256

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
    dict(
        type='SilhouetteDistanceHandler',
        handler_key='mask_distance',
        loss=dict(type='PointDistanceLoss', sigma=20.0),
    ),
    dict(type='SilhouetteHandler', loss=dict(type='SilhouetteL2Loss')),
]

mask_stages = [
    # Distances in the image reach far: they find size and shape.
    dict(
        name='masks, far',
        n_iter=12,
        ftol=1e-3,
        fit_scale=True,
        fit_joint_offsets=True,
        keypoints2d_mse_weight=1.0,
        mask_distance_weight=0.5,
        pose_reg_weight=10.0,
        shape_prior_weight=0.1,
        joint_offset_prior_weight=2e5,
    ),
    # The rendered outline finds the rest.
    dict(
        name='masks, near',
        n_iter=60,
        ftol=1e-5,
        optimizer=dict(type='Adam', lr=0.01),
        fit_scale=True,
        fit_joint_offsets=True,
        keypoints2d_mse_weight=1.0,
        silhouette_weight=4000.0,
        pose_reg_weight=10.0,
        shape_prior_weight=0.1,
        joint_offset_prior_weight=2e5,
    ),
]
# Joints stay as masks have corrected them, and keypoints place each frame. With fit_body_pose=True they bend it too:
# px fall, and silhouettes fill less of the masks, as far as landmarks are not where the model has them.
pose_stages = [
    dict(
        name='poses of the shape',
        n_iter=10,
        ftol=1e-3,
        fit_body_pose=False,
        keypoints2d_mse_weight=1.0,
        smooth_motion_weight=5e3,
    ),
]
