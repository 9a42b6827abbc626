# Fit a body to single-view videos: as smalify.py, with one shape and focal length a video and steady motion.
_base_ = ['./smalify.py']

use_one_betas_per_video = True
# Long videos are fitted in windows, each from the end of the last one; before them the shape is found, from frames
# of the whole video.
window = 64
overlap = 8

handlers = [
    dict(
        type='Keypoint2dHandler',
        handler_key='keypoints2d_mse',
        # A residual of 20 px counts half of its square, one of 100 px next to nothing.
        mse_loss=dict(type='KeypointMSELoss', sigma=20.0),
    ),
    dict(
        type='SilhouetteDistanceHandler',
        handler_key='mask_distance',
        loss=dict(type='PointDistanceLoss', sigma=20.0),
    ),
    dict(type='SilhouetteHandler', loss=dict(type='SilhouetteL2Loss')),
    dict(type='BodyPosePriorHandler', handler_key='pose_prior', prior_loss=dict(type='PoseRegLoss')),
    dict(type='BetasPriorHandler', handler_key='shape_prior', prior_loss=dict(type='ShapePriorLoss')),
    dict(type='FocalPriorHandler'),
    dict(
        type='SmoothMotionHandler',
        handler_key='smooth_motion',
        prior_loss=dict(type='SmoothPointsLoss', order=2),
    ),
]

stages = [
    dict(
        name='place', n_iter=15, ftol=1e-3, fit_body_pose=False, fit_betas=False, keypoints2d_mse_weight=1.0
    ),
    dict(
        name='pose',
        n_iter=20,
        ftol=1e-3,
        fit_betas=False,
        keypoints2d_mse_weight=1.0,
        pose_prior_weight=1000.0,
    ),
    dict(
        name='shape',
        n_iter=15,
        ftol=1e-3,
        keypoints2d_mse_weight=1.0,
        mask_distance_weight=0.5,
        pose_prior_weight=500.0,
        shape_prior_weight=0.5,
        smooth_motion_weight=5e3,
    ),
    dict(
        name='silhouette',
        n_iter=90,
        ftol=1e-5,
        optimizer=dict(type='Adam', lr=0.01),
        keypoints2d_mse_weight=1.0,
        silhouette_weight=4000.0,
        pose_prior_weight=200.0,
        shape_prior_weight=0.5,
        smooth_motion_weight=5e3,
    ),
]
