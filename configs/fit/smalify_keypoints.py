# The fit of smalify.py where images have keypoints and no masks: Levenberg-Marquardt throughout. Without a mask the
# image's frame says how near the body may be. All stages fit all starts.
_base_ = ['./smalify.py']

hypothesis_stages = 3

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
        n_iter=20,
        ftol=1e-4,
        keypoints2d_mse_weight=1 / 16,
        in_image_weight=0.5,
        pose_prior_weight=12.0,
        shape_prior_weight=1.0,
        joint_limit_weight=30.0,
    ),
]
