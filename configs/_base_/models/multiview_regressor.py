# Shared backbone, attention over all views' patches, iterative decoder. Sizes that follow from the backbone and
# the body (in_dim, context_dim, n_joints, n_betas) are filled in; the body is the one that the dataset names.
model = dict(
    type='MultiViewRegressor',
    backbone=dict(type='TimmBackbone', name='resnet50', checkpoint=None, pretrained=False, norm_eval=False),
    fusion=dict(type='CrossViewFusion', dim=256, n_layers=2, n_heads=8),
    head=dict(type='TransformerDecoderHead', dim=256, n_layers=4, n_heads=8, n_iters=3),
    orientation_head=dict(type='OrientationHead', dim=256),
    # Lengths are in scene units (the animal's size); 2D distances in px of a crop brought to 256 px.
    handlers=[
        dict(
            type='Keypoint2dHandler',
            handler_key='keypoints2d',
            mse_loss=dict(type='KeypointMSELoss', sigma=100.0),
        ),
        dict(
            type='Keypoint3dHandler',
            handler_key='keypoints3d',
            # Triangulated points can be wrong, but an animal turned round must still be worth turning.
            mse_loss=dict(type='KeypointMSELoss', sigma=3.0),
        ),
        dict(type='BodyPosePriorHandler', handler_key='pose_prior', prior_loss=dict(type='PoseRegLoss')),
        dict(type='BetasPriorHandler', handler_key='shape_prior', prior_loss=dict(type='ShapePriorLoss')),
    ],
    # The five parameters count where a sample has true or fitted ones.
    loss_weights=dict(
        keypoints2d=1e-3,
        keypoints3d=5.0,
        pose_prior=1e-2,
        shape_prior=1e-3,
        global_orient=1.0,
        view_orientation=1.0,
        body_pose=1.0,
        betas=0.01,
        transl=1.0,
        scale=1.0,
    ),
    intermediate_weight=0.3,
)
