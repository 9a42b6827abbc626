# Multi-view samples of one dataset file of tools/preprocess.py. Validation and test follow the training set's
# file and its way of splitting where they name none of their own:
#   --cfg-options train_dataloader.dataset.data_path=out.h5 train_dataloader.dataset.split_by=session

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(
        type='MultiViewDataset',
        split='train',
        data_path=None,
        split_by='time_block',
        ratios=(0.8, 0.1, 0.1),
        block_size=100,
        gap=2,
        transforms=[
            dict(type='PhotometricJitter', brightness=0.2, contrast=0.2, noise=0.02, blur_px=1.0),
            dict(type='CropJitter', shift=0.05, scale=0.1, rotation_deg=0.0),
            dict(type='ViewDropout', probability=0.1, min_views=2),
        ],
    ),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(type='MultiViewDataset', split='val', data_path=None, test_mode=True),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(type='MultiViewDataset', split='test', data_path=None, test_mode=True),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
