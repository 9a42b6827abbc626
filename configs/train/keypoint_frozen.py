# Heat maps on a frozen ViT: only the deconvolutions and the heads learn, and the ViT sees every crop once. With
# weights at hand: model.backbone.checkpoint=vit_base_patch16_224.pth; model.backbone.pretrained=True lets timm
# download its own.
#   python tools/train.py configs/train/keypoint_frozen.py --cfg-options train_dataloader.dataset.data_path=out.h5
_base_ = ['keypoint_unet.py', '../_base_/feature_cache.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='ViTPyramid',
        name='vit_base_patch16_224',
        checkpoint=None,
        pretrained=False,
        frozen=True,
        cache=_base_.feature_cache,
    ),
    # Four versions of an image: whole and around the animal, plain and mirrored. Others would never come again.
    augment=dict(
        side=224,
        zoom=0.0,
        shift=0.0,
        rotation_deg=0.0,
        mirror=0.5,
        whole=0.3,
        noise=dict(type='ImageNoise', brightness=0.0, contrast=0.0, noise=0.0, blur=0.0, erase=0.0),
    ),
)
train_dataloader = dict(batch_size=32, sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
