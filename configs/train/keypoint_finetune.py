# Trained heat maps, made better by where the views of a moment meet: a loss in space goes through the triangulation
# to every map. Needs a checkpoint of keypoint_unet.py, sessions of several calibrated cameras, and 3D keypoints:
#   python tools/train.py configs/train/keypoint_finetune.py --cfg-options load_from=epoch_23.pth
#       train_dataloader.dataset.data_path=out.h5
_base_ = ['keypoint_unet.py']

model = dict(loss_weights=dict(consensus=1.0))
train_dataloader = dict(
    batch_size=8,
    dataset=dict(type='MultiViewDataset'),
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
)
train_cfg = dict(max_epochs=1, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=2e-4))
param_scheduler = [
    dict(type='CosineAnnealingLR', eta_min_ratio=0.05, begin=0, by_epoch=True, convert_to_iter_based=True)
]
