# The fit of smalify.py where images have keypoints and no masks: Levenberg-Marquardt throughout. Without a mask the
# image's frame says how near the body may be. All stages fit all starts.
_base_ = ['./smalify.py']

hypothesis_stages = 3

place, pose, _, _ = _base_.stages
shape = dict(pose, name='shape', ftol=1e-4, in_image_weight=0.5, pose_prior_weight=12.0)
stages = [place, pose, shape]
del place, pose, shape, _
