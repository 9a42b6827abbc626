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

place, pose, shape, silhouette = _base_.stages
steady = dict(in_image_weight=0.5, smooth_motion_weight=230.0)
stages = [
    place,
    dict(pose, pose_prior_weight=30.0),
    dict(shape, pose_prior_weight=30.0, **steady),
    dict(silhouette, pose_prior_weight=15.0, **steady),
]
del place, pose, shape, silhouette, steady
