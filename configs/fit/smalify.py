# Fit a body to single images, image sets or videos: keypoints, masks or both, one view of each.
#
# Weights are statistical: all terms are sums over a frame, keypoints are weighed by 1 / (4 px)^2 of a 224 px crop
# (what annotators differ by, and what landmarks are beside the model's), turns by 1 / rad^2, shapes by the model
# file's own spread, of the nearest kind of animal where it knows several. Scale stays 1 and depth is free: one view
# shows both as one. Where the focal length is a guess, docs/fitting.md has a stage for it. Without masks take
# smalify_keypoints.py, without keypoints smalify_masks.py.
_base_ = ['../_base_/handlers/one_view.py']

type = 'SMALify'
# Of each kind of animal that the model's mixture of shapes knows.
n_hypotheses = 4
# The first two stages fit all starts, each with a shape of its own; each frame goes on from its best.
hypothesis_stages = 2
mask_side = 128
# Images fitted at once: a fit that is stopped goes on after the last window.
window = 32
# Of images without masks, or without keypoints, the others are fitted to.
optional_handlers = ['keypoints2d_mse', 'mask_distance', 'silhouette']
# When a fit is reported as one that may be turned wrongly: losses are in units of noise.
doubt = dict(margin=4.0, sign_margin=6.0)
optimizer = dict(type='LevenbergMarquardt', gnc_schedule=(4.0,))

stages = [
    dict(
        name='place',
        n_iter=15,
        ftol=1e-3,
        fit_body_pose=False,
        fit_betas=False,
        keypoints2d_mse_weight=1 / 16,
    ),
    dict(
        name='pose',
        n_iter=20,
        ftol=1e-3,
        keypoints2d_mse_weight=1 / 16,
        pose_prior_weight=16.0,
        shape_prior_weight=1.0,
        joint_limit_weight=30.0,
    ),
    dict(
        name='shape',
        n_iter=15,
        ftol=1e-3,
        keypoints2d_mse_weight=1 / 16,
        pose_prior_weight=12.0,
        shape_prior_weight=1.0,
        joint_limit_weight=30.0,
        mask_distance_weight=0.6,
    ),
    dict(
        name='silhouette',
        n_iter=90,
        ftol=1e-5,
        optimizer=dict(type='Adam', lr=0.01),
        keypoints2d_mse_weight=1 / 16,
        pose_prior_weight=6.0,
        shape_prior_weight=1.0,
        joint_limit_weight=30.0,
        silhouette_weight=5000.0,
    ),
]
