# Fit a body to single pictures, picture sets or videos: keypoints, masks or both, one view of each.
#
# All weights hold in px of a 224 px crop. Scale stays 1 and depth is free: one view shows both as one. Add
# fit_focal=True to the last stages where the focal length is a guess.
type = 'SMALify'
n_hypotheses = 4
hypothesis_stages = 2
optimizer = dict(type='LevenbergMarquardt', graduation=(4.0,))

handlers = [
    dict(type='Keypoint2dHandler', handler_key='keypoints2d_mse', mse_loss=dict(type='KeypointMSELoss', sigma=20.0)),
    dict(type='SilhouetteDistanceHandler', handler_key='mask_distance', loss=dict(type='PointDistanceLoss', sigma=20.0)),
    dict(type='BodyPosePriorHandler', handler_key='pose_prior', prior_loss=dict(type='PoseRegLoss')),
    dict(type='BetasPriorHandler', handler_key='shape_prior', prior_loss=dict(type='ShapePriorLoss')),
]

stages = [
    dict(name='place', n_iter=15, ftol=1e-3, fit_body_pose=False, fit_betas=False, keypoints2d_mse_weight=1.0),
    dict(name='pose', n_iter=20, ftol=1e-3, fit_betas=False, keypoints2d_mse_weight=1.0, pose_prior_weight=100.0),
    dict(
        name='shape', n_iter=20, ftol=1e-3,
        keypoints2d_mse_weight=1.0, pose_prior_weight=40.0, shape_prior_weight=0.5,
    ),
    dict(
        name='silhouette', n_iter=20, ftol=1e-3,
        keypoints2d_mse_weight=1.0, mask_distance_weight=0.5, pose_prior_weight=20.0, shape_prior_weight=0.5,
    ),
]
