# Heat maps by a small U-Net, trained from scratch, of images of a dataset file of tools/preprocess.py:
#   python tools/train.py configs/train/keypoint_unet.py --cfg-options train_dataloader.dataset.data_path=out.h5
# Whole images (--crop-mode default) let it learn to find the animal; crops of labels are taken as whole images too.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/images.py',
    '../_base_/schedules/adamw_cosine.py',
    '../_base_/models/keypoint_regressor.py',
]

train_dataloader = dict(drop_last=True)
train_cfg = dict(max_epochs=10, val_interval=5)
optim_wrapper = dict(
    optimizer=dict(lr=2.5e-3, weight_decay=0.02),
    clip_grad=None,
)
val_evaluator = [dict(type='MultiViewPoseMetric')]
test_evaluator = [dict(type='MultiViewPoseMetric')]
