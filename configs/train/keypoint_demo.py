# The demo's: few sessions, one of them held out whole, minutes on two CPU cores.
_base_ = ['keypoint_unet.py']

train_dataloader = dict(
    num_workers=1,
    dataset=dict(split_by='session', ratios=(0.8, 0.0, 0.2)),
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
)
test_dataloader = dict(num_workers=0)
# All but the tested session are learnt from: what training is judged by is its loss.
val_dataloader = None
val_cfg = None
val_evaluator = None
train_cfg = dict(max_epochs=3)
default_hooks = dict(checkpoint=dict(save_best=None, rule=None))
