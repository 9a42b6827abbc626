# The fit of smalify.py where images have masks and no keypoints. A mask tells the place and little of the pose:
# more starts, and a pose prior of the animal's own (MahalanobisPosePriorLoss) where there is one. It tells little of
# the kind of animal, too: all starts have the mean shape.
_base_ = ['./smalify.py']

n_hypotheses = 8
start_kinds = False
# A mask's distances are no noise: what other starts cost says little.
doubt = None

stages = [
    dict(
        name='place',
        n_iter=15,
        ftol=1e-3,
        fit_body_pose=False,
        fit_betas=False,
        mask_distance_weight=1.2,
    ),
    dict(
        name='pose',
        n_iter=20,
        ftol=1e-3,
        mask_distance_weight=1.2,
        pose_prior_weight=16.0,
        shape_prior_weight=1.0,
        joint_limit_weight=30.0,
    ),
    dict(
        name='shape',
        n_iter=15,
        ftol=1e-3,
        mask_distance_weight=1.2,
        pose_prior_weight=8.0,
        shape_prior_weight=1.0,
        joint_limit_weight=30.0,
    ),
    dict(
        name='silhouette',
        n_iter=90,
        ftol=1e-5,
        optimizer=dict(type='Adam', lr=0.01),
        mask_distance_weight=1.2,
        pose_prior_weight=6.0,
        shape_prior_weight=1.0,
        joint_limit_weight=30.0,
        silhouette_weight=5000.0,
    ),
]
