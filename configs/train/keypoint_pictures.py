# A lifter that sees more than points: it learns from what the network finds in the user's own crops, beside drawn
# bodies, and reads the backbone's coarsest map where each view saw a keypoint. Needs a checkpoint of keypoint_unet.py
# and samples with 3D keypoints; parameters (of fits) count where samples have any:
#   python tools/train.py configs/train/keypoint_pictures.py --cfg-options load_from=epoch_23.pth
#       train_dataloader.dataset.data_path=out.h5
_base_ = ['keypoint_finetune.py']

model = dict(
    feature_map=-1,
    loss_weights=dict(consensus=0.0, seen=1.0),
    # A mirrored picture shows another pose than the one that is to be found.
    augment=dict(mirror=0.0),
)
# What reads pictures has all to learn yet.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(lifter=dict(lr_mult=3.0, decay_mult=0.05))))
