# A multi-view regressor that sees limbs: heat maps on its own backbone say where keypoints are, the decoder begins at
# the body that they are lifted to. Heading and place come in closed form: no parameters are needed to learn them.
#   python tools/train.py configs/train/multiview_limbs.py --cfg-options train_dataloader.dataset.data_path=out.h5
# A pretrained pyramid instead of the small U-Net:
#   model.backbone=dict(type='TimmPyramid', name='resnet50', pretrained=True)
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/multiview.py',
    '../_base_/schedules/adamw_cosine.py',
    '../_base_/models/multiview_regressor.py',
]

model = dict(
    backbone=dict(_delete_=True, type='SmallUNet', checkpoint='animals'),
    # Patches of 16 px.
    token_map=2,
    fusion=dict(dim=128, n_layers=1, n_heads=4),
    head=dict(dim=128, n_layers=2, n_heads=4),
    orientation_head=None,
    limbs=dict(
        type='Limbs',
        heatmap_head=dict(type='KeypointHeatmapHead', stride=2),
        consensus=dict(type='MeetInSpace', n_modes=3, distances=dict(n_candidates=6)),
        lifter=dict(type='PointLifter'),
    ),
    loss_weights=dict(view_orientation=0.0, heatmap=1.0, lifter=1.0),
)
# An epoch is 150 steps, whatever the size of the set: many steps on few images, as in keypoint_unet.py.
train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    drop_last=True,
    sampler=dict(_delete_=True, type='MixedSampler', samples_per_epoch=300),
)
train_cfg = dict(max_epochs=14, val_interval=5)
optim_wrapper = dict(
    optimizer=dict(lr=1.5e-3, weight_decay=0.02),
    paramwise_cfg=dict(custom_keys=dict(lifter=dict(lr_mult=0.5, decay_mult=0.05))),
    clip_grad=dict(max_norm=20.0),
)
val_evaluator = [dict(type='MultiViewPoseMetric')]
test_evaluator = [dict(type='MultiViewPoseMetric')]
# First find the keypoints; a body that is not near them yet teaches little.
custom_hooks = [
    dict(type='LossCurriculumHook', schedule={0: dict(keypoints2d=2e-4), 3: dict(keypoints2d=1e-3)})
]
