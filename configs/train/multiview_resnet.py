# A multi-view regressor on a dataset file of tools/preprocess.py:
#   python tools/train.py configs/train/multiview_resnet.py --cfg-options train_dataloader.dataset.data_path=out.h5
# Validation and test follow the training set's file unless they name their own.
# With weights at hand: model.backbone.checkpoint=resnet50.pth (and model.backbone.norm_eval=True), or
# model.backbone.pretrained=True to let timm download its own. Pretrained layers should move slower than new ones:
#   optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))))
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/multiview.py',
    '../_base_/schedules/adamw_cosine.py',
    '../_base_/models/multiview_regressor.py',
]

model = dict(
    camera_head=dict(type='CameraHead'),
    loss_weights=dict(camera=10.0),
)

train_dataloader = dict(drop_last=True)
val_evaluator = [dict(type='MultiViewPoseMetric')]
test_evaluator = [dict(type='MultiViewPoseMetric')]

# First find the animal, then its pose in the images.
custom_hooks = [
    dict(
        type='LossCurriculumHook',
        schedule={0: dict(keypoints2d=2e-4), 10: dict(keypoints2d=1e-3), 50: dict(keypoints3d=10.0)},
    )
]
