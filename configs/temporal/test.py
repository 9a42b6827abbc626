# The third training, on one video of which some frames are labelled: keypoints of the labelled frames, steps of the
# keypoints between the others, and masks where there are any.
#   python tools/preprocess.py sleap RECORDING video.h5 --body-model quadruped --min-views 1 \
#       --crop-mode default --unlabelled 190
#   python tools/train.py configs/temporal/test.py --cfg-options load_from=work_dirs/parent/epoch_40.pth \
#       train_dataloader.dataset.data_path=video.h5
_base_ = ['./parent.py']

model = dict(
    handlers=[
        *_base_.model.handlers,
        dict(type='Keypoint2dStepHandler', handler_key='keypoints2d_steps'),
    ],
    loss_weights=dict(keypoints2d_steps=5e-3),
)
# Frames in their order, cut alike: steps between them are those of the animal.
train_dataloader = dict(
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        split='all',
        transforms=[dict(type='PhotometricJitter', brightness=0.1, contrast=0.1, noise=0.02, blur_px=0.5)],
    ),
)
val_dataloader = dict(dataset=dict(split='all'))
test_dataloader = dict(dataset=dict(split='all'))
