# Heat maps of keypoints in every view, points in space by consensus, the body by a lifter. Sizes that follow from the
# keypoints and the body are filled in; the body is the one that the dataset names.
model = dict(
    type='KeypointRegressor',
    backbone=dict(type='SmallUNet'),
    heatmap_head=dict(type='KeypointHeatmapHead', stride=2),
    boxes=dict(type='OwnBoxes'),
    consensus=dict(type='MeetInSpace'),
    # Learns from poses within the body's joint limits; poses=dict(type='GivenPoses', ...) takes those of fits.
    lifter=dict(type='PointLifter', sampler=dict(type='PoseSampler')),
    augment=dict(type='CropAugment', side=128, whole=0.2),
)
