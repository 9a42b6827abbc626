# Single images of a dataset file of tools/preprocess.py to train on, whole samples to validate and test. Validation
# and test follow the training set's file and its way of splitting where they name none of their own:
#   --cfg-options train_dataloader.dataset.data_path=out.h5 train_dataloader.dataset.split_by=time_block
# 'auto' holds whole sessions out where there are 5 or more, else blocks of time.
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    dataset=dict(
        type='PictureDataset', split='train', data_path=None, split_by='auto', ratios=(0.8, 0.1, 0.1)
    ),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(type='MultiViewDataset', split='val', data_path=None, test_mode=True),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
test_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(type='MultiViewDataset', split='test', data_path=None, test_mode=True),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
