# Multi-view samples of one dataset file. Set the three data_path, or `data_path` before inheriting:
# --cfg-options train_dataloader.dataset.data_path=out.h5 changes the training set only.
data_path = 'out.h5'
split = dict(split_by='time_block', ratios=(0.85, 0.05, 0.1), block_size=100, gap=2)

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='MultiViewDataset',
        data_path=data_path,
        split='train',
        transforms=[
            dict(type='PhotometricJitter', brightness=0.2, contrast=0.2, noise=0.02, blur_px=1.0),
            dict(type='CropJitter', shift=0.05, scale=0.1, rotation_deg=0.0),
            dict(type='ViewDropout', probability=0.1, min_views=2),
        ],
        **split,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='MultiViewDataset', data_path=data_path, split='val', test_mode=True, **split),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='MultiViewDataset', data_path=data_path, split='test', test_mode=True, **split),
)
