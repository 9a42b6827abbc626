# The fit of multiview_keypoints_lm.py, with the shape from masks of a few frames in all views: how fat an animal is
# keypoints cannot say. Masks are found by GrabCut beside the fitted body; tools/fit.py --masks takes others.
_base_ = ['./multiview_keypoints_lm.py']
type = 'MaskSMPLify'
segmenter = dict(type='GrabCutSegmenter')
n_mask_frames = 16
side_px = 160

handlers = [
    *_base_.handlers,
    dict(
        type='SilhouetteDistanceHandler',
        handler_key='mask_distance',
        loss=dict(type='PointDistanceLoss', sigma=20.0),
    ),
    dict(type='SilhouetteHandler', loss=dict(type='SilhouetteL2Loss')),
]

# What is found, and the priors, are those of the last stage by keypoints, but the shape is free to follow
# the masks; frames far apart have no motion.
found = {
    k: v for k, v in _base_.stages[-1].items() if k not in ('name', 'n_iter', 'ftol', 'smooth_motion_weight')
}
mask_stages = [
    # Distances in the image reach far: they find size and shape.
    dict(
        found,
        name='masks, far',
        n_iter=12,
        ftol=1e-3,
        fit_scale=True,
        shape_prior_weight=0.1,
        mask_distance_weight=0.5,
    ),
    # The rendered outline finds the rest.
    dict(
        found,
        name='masks, near',
        n_iter=40,
        ftol=1e-5,
        optimizer=dict(type='Adam', lr=0.02),
        # Of first order: heavier limits would be all that it follows.
        joint_limit_weight=100.0,
        fit_scale=True,
        shape_prior_weight=0.1,
        silhouette_weight=4000.0,
    ),
]
del found
# Joints stay as masks have corrected them, and keypoints place each frame. With fit_body_pose=True they bend it too:
# px fall, and silhouettes fill less of the masks, as far as landmarks are not where the model has them.
pose_stages = [
    dict(
        name='poses of the shape',
        n_iter=10,
        ftol=1e-3,
        fit_body_pose=False,
        keypoints2d_mse_weight=1.0,
        smooth_motion_weight=5e3,
    ),
]
