"""What SMILify takes where a JSON config says nothing."""

# First epoch: learning rate.
LR_SCHEDULE = {
    0: 5e-5, 10: 3e-5, 20: 2e-5, 60: 1e-5, 100: 1e-5, 150: 2e-6, 200: 2e-6, 250: 1e-6, 300: 1e-5, 350: 1e-6,
    400: 1e-5, 475: 1e-6, 490: 5e-7, 500: 5e-6, 550: 1e-6, 718: 1e-5,
}  # fmt: skip
_NAMES = (
    'keypoint_2d', 'keypoint_3d', 'joint_angle_regularization', 'limb_scale_regularization',
    'limb_trans_regularization', 'fov', 'cam_rot', 'cam_trans',
)  # fmt: skip
# First epoch: the weights in the order of the names; None is not said.
_STAGES = {
    1: (None, None, 0.01, 0.1, 1),
    10: (0.1, None, 0.005, 0.05, 1),
    25: (0.2, None, 0.0025, 0.02, 1),
    35: (None, 1, 0.001, 0.01, 1),
    45: (None, 1, 1e-4, 0.005, 1),
    50: (None, 2, 5e-5, 0.001, 0.5),
    100: (0.2, 2, 1e-5, 1e-7, 0.1),
    300: (0.2, 2, 1e-5, 1e-7, 0.1, 1e-7, 1e-8, 1e-8),
    400: (0.4, 2, 1e-4, 1e-5, 0.1, 1e-7, 1e-8, 1e-8),
    460: (0.2, 2, 1e-5, 0.001, 0.1, 1e-7, 1e-8, 1e-8),
    490: (0.2, 2, 1e-6, 1e-4, 0.1, 1e-7, 1e-8, 1e-8),
    500: (0.2, 20, 1e-7, 1e-5, 0.1, 1e-6, 1e-7, 1e-7),
    560: (0.2, 20, 1e-7, 0.001, 1.0, 1e-6, 1e-7, 1e-7),
    575: (0.2, 20, 1e-7, 0.0025, 1.0, 1e-6, 1e-7, 1e-7),
}
CURRICULUM = {
    epoch: {name: weight for name, weight in zip(_NAMES, row) if weight is not None}
    for epoch, row in _STAGES.items()
}


def head_width(backbone: str) -> int:
    """Give the channels of the head, which SMILify takes from the backbone's name."""
    if backbone.startswith('vit'):
        return 768 if 'base' in backbone else 1024
    if backbone.startswith('resnet'):
        return 2048
    return 256 if backbone == 'unet_mobilenet_v3' else 512
