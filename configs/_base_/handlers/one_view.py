# The terms of fits to single views. All are sums over a frame: see fit/smalify.py for their weights.
handlers = [
    dict(
        type='Keypoint2dHandler',
        handler_key='keypoints2d_mse',
        # A residual of 20 px counts half of its square, one of 100 px next to nothing.
        mse_loss=dict(type='KeypointMSELoss', sigma=20.0, reduction='sum'),
    ),
    dict(
        type='SilhouetteDistanceHandler',
        handler_key='mask_distance',
        loss=dict(type='PointDistanceLoss', sigma=20.0, reduction='sum', frame_means=True),
    ),
    dict(type='SilhouetteHandler', loss=dict(type='SilhouetteL2Loss', reduction='sum')),
    dict(
        type='BodyPosePriorHandler',
        handler_key='pose_prior',
        prior_loss=dict(type='PoseRegLoss', reduction='sum'),
    ),
    dict(
        type='BetasPriorHandler',
        handler_key='shape_prior',
        prior_loss=dict(type='ShapeMixturePriorLoss', reduction='sum'),
    ),
    # Models without limits get told ones by their tree.
    dict(
        type='JointLimitHandler',
        handler_key='joint_limit',
        prior_loss=dict(type='JointLimitLoss', reduction='sum', required=False),
    ),
    dict(type='FocalPriorHandler', prior_loss=dict(type='FocalPriorLoss', reduction='sum')),
    # For configs that build on this one; without a weight they cost nothing.
    dict(type='InImageHandler', loss=dict(type='PointDistanceLoss', reduction='sum')),
    dict(type='SmoothMotionHandler', prior_loss=dict(type='SmoothPointsLoss', order=2, reduction='sum')),
]
