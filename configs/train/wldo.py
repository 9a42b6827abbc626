# Single images of several kinds of animals, as WLDO (Biggs et al. 2020): shape, sizes of parts and focal length from
# keypoints and masks, under a prior of kinds that is learned from the predictions after every epoch. For any body
# model with a shape space, such as the shipped quadruped; docs/training.md, "Shapes of several kinds".
#   python tools/preprocess.py coco animals.json out.h5 --body-model quadruped
#   python tools/train.py configs/train/wldo.py --cfg-options train_dataloader.dataset.data_path=out.h5
_base_ = ['single_view_images.py']

model = dict(
    # A size of each part, such as legs, head and tail, beside the shape space.
    head=dict(part_sizes=True),
    camera_head=dict(type='FocalHead', dim=128),
    handlers=[
        *_base_.model.handlers[:3],
        # The nearest kind's Gaussian. A model without kinds has one: ShapeMixtureEMHook.kinds makes more.
        dict(
            type='BetasPriorHandler',
            handler_key='shape_prior',
            prior_loss=dict(type='ShapeMixturePriorLoss'),
        ),
        dict(
            type='PartSizePriorHandler',
            handler_key='part_size_prior',
            prior_loss=dict(type='PartSizePriorLoss'),
        ),
    ],
    loss_weights=dict(
        part_size_prior=2e-3,
        # On squared logarithms of factors on focal lengths: one of 1.35 costs as much as a part's standard deviation.
        camera=2e-2,
    ),
)

# The kinds are learned when keypoints and masks have taught the network what animals look like.
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='ShapeMixtureEMHook', begin=20, interval=1),
]
