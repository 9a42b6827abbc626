# The fit of smalify.py where images have masks and no keypoints. A mask tells the place and little of the pose:
# more starts, and a pose prior of the animal's own (MahalanobisPosePriorLoss) where there is one. It tells little of
# the kind of animal, too: all starts have the mean shape.
_base_ = ['./smalify.py']

n_hypotheses = 8
start_kinds = False
# A mask's distances are no noise: what other starts cost says little.
doubt = None

place, pose, shape, silhouette = (
    {k: v for k, v in stage.items() if k != 'keypoints2d_mse_weight'} | dict(mask_distance_weight=1.2)
    for stage in _base_.stages
)
stages = [place, pose, dict(shape, pose_prior_weight=8.0), silhouette]
del place, pose, shape, silhouette
