# Fit a body to points in space that another tool placed, without images (tools/preprocess.py points3d).
#
# One shape, one scale, one size of every part (the same left and right) and one place of every label on the animal
# for the session; a pose for every frame. Lengths are shares of the animal's size (L), and weights of the points are
# of squared shares, so that they hold whatever the animal and its unit.
_base_ = ['./multiview_keypoints_lm.py']

# Sides that a tracker mistook for each other in all cameras are not told by motion alone.
unswap = None

# What a model states of its joints holds to a degree or so; default limits are a guess.
limits = dict(type='JointLimitLoss', required=False, default_factor=1e-3)
handlers = [
    dict(
        type='Keypoint3dHandler',
        handler_key='keypoints3d_mse',
        # A residual of 5 % of the animal's size counts half of its square, one of a quarter next to nothing.
        mse_loss=dict(type='KeypointMSELoss', sigma='0.05L', reduction='mean'),
    ),
    *(dict(h, prior_loss=limits) if h['handler_key'] == 'joint_limit' else h for h in _base_.handlers[1:]),
]

# Those of multiview_keypoints_lm.py, with these weights: of points as of an animal 300 px long, 300 squared.
weights = dict(keypoints2d_mse_weight=9e4, joint_limit_weight=1e5)
stages = [{k.replace('2d', '3d'): weights.get(k, v) for k, v in stage.items()} for stage in _base_.stages]
del limits, weights
