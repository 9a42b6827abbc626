# Small enough for two CPU cores: a light backbone without batch normalisation, few epochs.
_base_ = ['multiview_resnet.py']

model = dict(
    # Patches of 16 px: those of 32 px are few in a small crop.
    backbone=dict(name='convnext_atto', out_index=2),
    fusion=dict(dim=128, n_layers=1, n_heads=4),
    head=dict(dim=128, n_layers=2, n_heads=4),
    camera_head=None,
)
train_dataloader = dict(batch_size=8, num_workers=1)
val_dataloader = dict(num_workers=0)
test_dataloader = dict(num_workers=0)

train_cfg = dict(max_epochs=8, val_interval=4)
optim_wrapper = dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=20.0))
custom_hooks = [
    dict(type='LossCurriculumHook', schedule={0: dict(keypoints2d=2e-4), 3: dict(keypoints2d=1e-3)})
]
