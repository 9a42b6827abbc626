# Fit a body to points in space that another tool placed, without images (tools/preprocess.py points3d).
#
# One shape, one scale, one size of every part (the same left and right) and one place of every label on the animal
# for the session; a pose for every frame. Lengths are shares of the animal's size (L), and weights of the points are
# of squared shares, so that they hold whatever the animal and its unit.
_base_ = ['./multiview_keypoints_lm.py']

# Sides that a tracker mistook for each other in all cameras are not told by motion alone.
unswap = None

handlers = [
    dict(
        type='Keypoint3dHandler',
        handler_key='keypoints3d_mse',
        # A residual of 5 % of the animal's size counts half of its square, one of a quarter next to nothing.
        mse_loss=dict(type='KeypointMSELoss', sigma='0.05L', reduction='mean'),
    ),
    *_base_.handlers[1:],
]

# As multiview_keypoints_lm.py, of an animal 300 px long: 300 squared.
stages = [
    {k.replace('2d', '3d'): 9e4 if k == 'keypoints2d_mse_weight' else v for k, v in stage.items()}
    for stage in _base_.stages
]
