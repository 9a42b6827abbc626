# The second training: the base network on the labelled frames of videos, without what time says.
#   python tools/preprocess.py sleap RECORDINGS videos.h5 --body-model quadruped --min-views 1
#   python tools/train.py configs/temporal/parent.py --cfg-options load_from=work_dirs/base/epoch_100.pth \
#       train_dataloader.dataset.data_path=videos.h5
_base_ = ['./base.py']

model = dict(
    handlers=[
        dict(
            type='Keypoint2dHandler',
            handler_key='keypoints2d',
            mse_loss=dict(type='KeypointL1Loss'),
        ),
        *_base_.model.handlers[1:],
    ],
    loss_weights=dict(keypoints2d=2e-2),
)
train_cfg = dict(max_epochs=40, val_interval=10)
# Masks come when keypoints have found the animal; from then on less is said by what is usual.
custom_hooks = [
    dict(
        type='LossCurriculumHook',
        schedule={10: dict(silhouette=1.0, pose_prior=2.5e-2, shape_prior=1e-3)},
    )
]
