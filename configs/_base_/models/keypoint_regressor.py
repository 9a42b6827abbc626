# Heat maps of keypoints in every view, points in space by consensus, the body by a lifter. Sizes that follow from the
# keypoints and the body are filled in; the body is the one that the dataset names.
model = dict(
    type='KeypointRegressor',
    backbone=dict(type='SmallUNet'),
    heatmap_head=dict(type='KeypointHeatmapHead', stride=2),
    boxes=dict(type='OwnBoxes'),
    # All keypoints choose their place together: as far apart as in poses within the body's joint limits.
    consensus=dict(type='MeetInSpace', n_modes=3, distances=dict(n_candidates=6)),
    # Learns from poses within the body's joint limits; poses=dict(type='GivenPoses', ...) takes those of fits.
    lifter=dict(type='PointLifter', sampler=dict(type='PoseSampler')),
    augment=dict(type='CropAugment', side=128, whole=0.2),
    # In bfloat16 where the device is fast with it.
    half_precision=None,
)

# What `--refine` adds to predictions: a few steps of Levenberg-Marquardt from the lifted body on what the heat maps
# say, with the poses that the lifter learnt from as prior.
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
                prior_loss=dict(type='SampledPosePriorLoss', reduction='sum'),
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
                n_iter=8,
                ftol=1e-3,
                fit_scale=True,
                seen_weight=1.0,
                pose_weight=0.3,
                shape_weight=0.5,
            )
        ],
    ),
)
