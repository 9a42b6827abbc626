# Fit a body to single images, image sets or videos: keypoints, masks or both, one view of each.
#
# All weights hold in px of a 224 px crop. Scale stays 1 and depth is free: one view shows both as one. Where the
# focal length is a guess, docs/images_fit.md has a stage for it. Without masks take smalify_keypoints.py, without
# keypoints smalify_masks.py.
type = 'SMALify'
n_hypotheses = 4
# The first two stages fit all starts, each frame goes on from its best.
hypothesis_stages = 2
mask_side = 128
# Images fitted at once: a fit that is stopped goes on after the last window.
window = 32
# Of images without masks, or without keypoints, the others are fitted to.
optional_handlers = ['keypoints2d_mse', 'mask_distance', 'silhouette']
optimizer = dict(type='LevenbergMarquardt', gnc_schedule=(4.0,))

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
    # For configs that build on this one; without a weight they cost nothing.
    dict(type='InImageHandler'),
    dict(type='SmoothMotionHandler', prior_loss=dict(type='SmoothPointsLoss', order=2)),
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
        pose_prior_weight=500.0,
        shape_prior_weight=0.5,
        mask_distance_weight=0.5,
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
    ),
]
