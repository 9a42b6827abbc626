# A multi-view regressor on a frozen backbone, which sees every training image once. Weights as in
# multiview_resnet.py; without any, frozen layers say little.
#   python tools/train.py configs/train/multiview_frozen.py --cfg-options train_dataloader.dataset.data_path=out.h5
_base_ = ['multiview_resnet.py', '../_base_/feature_cache.py']

model = dict(backbone=dict(frozen=True, cache=_base_.feature_cache))
# Views may be left out; what changes images would make others of them in every epoch.
train_dataloader = dict(dataset=dict(transforms=[dict(type='ViewDropout', probability=0.1, min_views=2)]))
