# Heat maps by a small U-Net that has seen animals before, trained in minutes, of images of a dataset file:
#   python tools/train.py configs/train/keypoint_unet.py --cfg-options train_dataloader.dataset.data_path=out.h5
# Whole images (--crop-mode default) let it learn to find the animal; crops of labels are taken as whole images too.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/images.py',
    '../_base_/schedules/adamw_cosine.py',
    '../_base_/models/keypoint_regressor.py',
]

# An epoch is 150 steps, whatever the size of the set. From scratch, many steps on few images learn more in the same
# time than few steps on many; on a GPU, with more images a step, take as many epochs as before and a larger step:
#   train_dataloader.batch_size=64 optim_wrapper.optimizer.lr=4e-3 model.lifter_samples=128
train_dataloader = dict(
    batch_size=8,
    drop_last=True,
    sampler=dict(_delete_=True, type='MixedSampler', samples_per_epoch=1200),
)
train_cfg = dict(max_epochs=23, val_interval=8)
model = dict(
    lifter_samples=32,
    boxes=dict(margin=1.2),
    # An animal that fills its crop, and light that varies little: what a small network can learn in minutes.
    augment=dict(
        margin=1.2,
        zoom=0.2,
        rotation_deg=20.0,
        whole=0.15,
        noise=dict(type='ImageNoise', blur=0.1, erase=0.05),
    ),
)
optim_wrapper = dict(
    optimizer=dict(lr=2.5e-3, weight_decay=0.02, fused=True),
    paramwise_cfg=dict(custom_keys=dict(lifter=dict(lr_mult=0.4, decay_mult=0.05))),
    clip_grad=None,
)
val_evaluator = [dict(type='MultiViewPoseMetric')]
test_evaluator = [dict(type='MultiViewPoseMetric')]
