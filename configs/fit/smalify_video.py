# Fit a body to single-view videos: as smalify.py, with one shape and focal length a video and steady motion.
#
# A video's landmarks are mostly keypoints alone: poses are held near rest until the animal's right side is found.
# Where the landmarks are the model's joints to a px or two, lower pose_prior_weight.
_base_ = ['./smalify.py']

use_one_betas_per_video = True
# Long videos are fitted in windows, each from the end of the last one; before them the shape is found, from frames
# of the whole video.
window = 40
overlap = 4

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
        pose_prior_weight=30.0,
        shape_prior_weight=1.0,
        joint_limit_weight=30.0,
    ),
    dict(
        name='shape',
        n_iter=15,
        ftol=1e-3,
        keypoints2d_mse_weight=1 / 16,
        in_image_weight=0.5,
        mask_distance_weight=0.6,
        pose_prior_weight=30.0,
        shape_prior_weight=1.0,
        joint_limit_weight=30.0,
        smooth_motion_weight=230.0,
    ),
    dict(
        name='silhouette',
        n_iter=90,
        ftol=1e-5,
        optimizer=dict(type='Adam', lr=0.01),
        keypoints2d_mse_weight=1 / 16,
        in_image_weight=0.5,
        silhouette_weight=5000.0,
        pose_prior_weight=15.0,
        shape_prior_weight=1.0,
        joint_limit_weight=30.0,
        smooth_motion_weight=230.0,
    ),
]
