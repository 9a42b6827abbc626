# A single-view regressor on a set of annotated images, a dataset file of tools/preprocess.py:
#   python tools/preprocess.py coco animals.json out.h5 --body-model animal.smil.json
#   python tools/train.py configs/train/single_view_images.py --cfg-options train_dataloader.dataset.data_path=out.h5
# Keypoints and masks of the images are all the truth there is: no 3D. Without masks set
# model.loss_weights.silhouette=0 and empty custom_hooks. Pretrained layers are worth most here: see
# multiview_resnet.py. One image does not tell size from distance: the animal begins at the body model's size.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/multiview.py',
    '../_base_/schedules/adamw_cosine.py',
    '../_base_/models/multiview_regressor.py',
]

model = dict(
    # Silhouettes at a quarter of the crops' pixels: the outline says the same, and rendering costs less.
    mask_side=112,
    # Silhouettes in the place of keypoints in space.
    handlers=[
        _base_.model.handlers[0],
        dict(type='SilhouetteHandler', handler_key='silhouette', loss=dict(type='SilhouetteIoULoss')),
        *_base_.model.handlers[2:],
    ],
    loss_weights=dict(
        _delete_=True,
        keypoints2d=1e-3,
        silhouette=0.0,
        # Nothing else says what one view does not show; JointLimitHandler is more where the model has limits.
        pose_prior=5e-2,
        shape_prior=1e-2,
    ),
)

_views = dict(views=1)
train_dataloader = dict(
    batch_size=16,
    drop_last=True,
    dataset=dict(
        transforms=[
            dict(type='PhotometricJitter', brightness=0.2, contrast=0.2, noise=0.02, blur_px=1.0),
            dict(type='CropJitter', shift=0.1, scale=0.2, rotation_deg=15.0),
        ],
        **_views,
    ),
)
val_dataloader = dict(dataset=_views)
test_dataloader = dict(dataset=_views)
val_evaluator = [dict(type='MultiViewPoseMetric')]
test_evaluator = [dict(type='MultiViewPoseMetric')]

# First the keypoints find the animal; an outline far from its mask would say little.
custom_hooks = [
    dict(
        type='LossCurriculumHook',
        schedule={0: dict(keypoints2d=2e-4), 5: dict(keypoints2d=1e-3), 10: dict(silhouette=1.0)},
    )
]
