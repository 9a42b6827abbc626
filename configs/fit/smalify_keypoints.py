# The fit of smalify.py where images have keypoints and no masks: Levenberg-Marquardt throughout. Without a mask the
# image's frame says how near the body may be.
_base_ = ['./smalify.py']

stages = [
    dict(
        name='place',
        n_iter=15,
        ftol=1e-3,
        fit_body_pose=False,
        fit_betas=False,
        keypoints2d_mse_weight=1.0,
        in_image_weight=10.0,
    ),
    dict(
        name='pose',
        n_iter=20,
        ftol=1e-3,
        fit_betas=False,
        keypoints2d_mse_weight=1.0,
        in_image_weight=10.0,
        pose_prior_weight=1000.0,
    ),
    dict(
        name='shape',
        n_iter=20,
        ftol=1e-4,
        keypoints2d_mse_weight=1.0,
        in_image_weight=10.0,
        pose_prior_weight=500.0,
        shape_prior_weight=0.5,
    ),
]
