# Single images of a dataset file of tools/preprocess.py to train on, whole samples to validate and test. Validation
# and test follow the training set's file where they name none of their own:
#   --cfg-options train_dataloader.dataset.data_path=out.h5
_split = dict(data_path=None, split_by='session', ratios=(0.8, 0.1, 0.1))

train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    dataset=dict(type='PictureDataset', split='train', **_split),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(type='MultiViewDataset', split='val', test_mode=True, **_split),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(type='MultiViewDataset', split='test', test_mode=True, **_split),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
