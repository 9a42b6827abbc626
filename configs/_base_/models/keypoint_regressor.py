# Heat maps of keypoints in every view, points in space by consensus, the body by a lifter. Sizes that follow from the
# keypoints and the body are filled in; the body is the one that the dataset names.
model = dict(
    type='KeypointRegressor',
    # Weights that come with the package know animals before walls; checkpoint=None draws random ones.
    backbone=dict(type='SmallUNet', checkpoint='animals'),
    heatmap_head=dict(type='KeypointHeatmapHead', stride=2),
    boxes=dict(type='OwnBoxes'),
    # All keypoints choose their place together: as far apart as in poses within the body's joint limits.
    consensus=dict(type='MeetInSpace', n_modes=3, distances=dict(n_candidates=6)),
    # Learns from poses within the body's joint limits; poses=dict(type='GivenPoses', ...) takes those of fits.
    # Labels on real animals lie beside the model's joints, and animals have longer legs than models: where the model
    # leaves that open, the lifter finds it too.
    lifter=dict(
        type='PointLifter',
        sampler=dict(type='PoseSampler'),
        further=('part_sizes', 'landmark_offsets'),
    ),
    augment=dict(type='CropAugment', side=128, whole=0.2),
    # In bfloat16 where the device is fast with it.
    half_precision=None,
)

# What `--refine` adds to predictions: a few steps of Levenberg-Marquardt from the lifted body on what the heat maps
# say, within the joint limits. All of it is what the fused kernel takes; poses of the user's own as prior,
# SampledPosePriorLoss or MahalanobisPosePriorLoss, take five times as long.
refinement = dict(
    type='Refinement',
    registrant=dict(
        type='SMPLify',
        handlers=[
            dict(
                type='Keypoint2dHandler',
                handler_key='seen',
                mse_loss=dict(type='KeypointMSELoss', sigma=3.0, reduction='sum'),
            ),
            dict(
                type='BodyPosePriorHandler',
                handler_key='pose',
                prior_loss=dict(type='PoseRegLoss', reduction='sum'),
            ),
            dict(
                type='JointLimitHandler',
                handler_key='limits',
                prior_loss=dict(type='JointLimitLoss', reduction='sum', required=False),
            ),
            dict(
                type='BetasPriorHandler',
                handler_key='shape',
                prior_loss=dict(type='ShapePriorLoss', reduction='sum'),
            ),
        ],
        optimizer=dict(type='LevenbergMarquardt', covariance=True),
        stages=[
            dict(
                name='refine',
                n_iter=20,
                ftol=1e-3,
                fit_scale=True,
                seen_weight=1.0,
                pose_weight=5.0,
                limits_weight=30.0,
                shape_weight=0.5,
            )
        ],
    ),
)
