"""SMILify's loss weights as ours: the same terms, in our units and means."""

import math
from collections.abc import Mapping
from typing import Any

from smilfit.models.regressors import NOMINAL_PX
from smilfit.registry import reject_unknown

# SMILify's means are over coordinates, ours over points; its pictures are 1 wide, ours NOMINAL_PX; its angles of
# cameras are degrees, ours rad.
FACTORS: Mapping[str, tuple[str, float]] = {
    'keypoint_2d': ('keypoints2d', 1 / (2 * NOMINAL_PX**2)),
    'keypoint_3d': ('keypoints3d', 1 / 3),
    'global_rot': ('global_orient', 1.0),
    'joint_rot': ('body_pose', 1.0),
    'betas': ('betas', 1.0),
    'trans': ('transl', 1 / 3),
    'fov': ('camera_fov', math.degrees(1.0) ** 2),
    'cam_rot': ('camera_rotation', 1 / 9),
    'cam_trans': ('camera_position', 1 / 3),
    'joint_angle_regularization': ('joint_angles', 1.0),
    'limb_scale_regularization': ('limb_scales', 1 / 3),
    'limb_trans_regularization': ('limb_offsets', 1 / 3),
    'silhouette': ('silhouette', 1.0),
    'triangulation_consistency': ('triangulation_consistency', 1 / 3),
    'ief_intermediate': ('intermediate', 1.0),
}
NOT_HERE = {
    'log_beta_scales': 'dataset files hold no true sizes of joints',
    'betas_trans': 'dataset files hold no true sizes of joints',
}
TRIANGULATION = 'triangulation_consistency'
ONE_VIEW = 'one view triangulates nothing'
FAR_POINTS = 'points that cameras put far away count too; SMILify passes over those beyond 50 units'
# As SMILify has them where a config leaves them out.
BASE = {
    'global_rot': 0.0, 'joint_rot': 0.001, 'betas': 0.0005, 'trans': 0.0005, 'fov': 0.001, 'cam_rot': 0.01,
    'cam_trans': 0.01, 'log_beta_scales': 0.0005, 'betas_trans': 0.0005, 'keypoint_2d': 0.1, 'keypoint_3d': 0.25,
    'silhouette': 0.0, 'joint_angle_regularization': 0.001, 'limb_scale_regularization': 0.01,
    'limb_trans_regularization': 1,
}  # fmt: skip


def converted_weights(
    where: str,
    weights: Mapping[str, float],
    with_sizes: bool,
    with_silhouette: bool,
    with_triangulation: bool,
) -> dict[str, float]:
    """Bring weights to our keys and units.

    Args:
        where: begins messages.
        weights: SMILify's.
        with_sizes: whether the network predicts sizes of joints; else their regularisers are left out.
        with_silhouette: whether outlines are ever compared; else their weight, 0, is left out.
        with_triangulation: whether what cameras triangulate ever is, likewise.

    Raises:
        UnknownNameError: a loss that SMILify does not have.
    """
    reject_unknown(where, 'loss', weights, (*FACTORS, *NOT_HERE))
    there = {'silhouette': with_silhouette, TRIANGULATION: with_triangulation}
    found = {}
    for key, weight in weights.items():
        left_out = (key.startswith('limb_') and not with_sizes) or not there.get(key, True)
        if key in FACTORS and not left_out:
            name, factor = FACTORS[key]
            found[name] = float(f'{weight * factor:.6g}')
    return found


def handlers(with_sizes: bool, with_silhouette: bool, with_triangulation: bool) -> list[dict[str, Any]]:
    """Give the handlers whose losses have these keys."""
    plain = {'type': 'KeypointMSELoss', 'sigma': None}
    found = [
        {'type': 'Keypoint2dHandler', 'handler_key': 'keypoints2d', 'mse_loss': dict(plain)},
        {'type': 'Keypoint3dHandler', 'handler_key': 'keypoints3d', 'mse_loss': dict(plain)},
        _prior('BodyPosePriorHandler', 'joint_angles', 'PoseRegLoss'),
    ]
    if with_sizes:
        found += [
            _prior('JointScalePriorHandler', 'limb_scales', 'JointScalePriorLoss'),
            {
                **_prior('JointOffsetPriorHandler', 'limb_offsets', 'JointOffsetPriorLoss'),
                'of': 'joint_offsets',
            },
        ]
    if with_silhouette:
        loss = {'type': 'SilhouetteL1Loss'}
        found.append({'type': 'SilhouetteHandler', 'handler_key': 'silhouette', 'loss': loss})
    if with_triangulation:
        found.append({'type': 'TriangulationConsistencyHandler', 'handler_key': TRIANGULATION})
    return found


def _prior(kind: str, key: str, loss: str) -> dict[str, Any]:
    return {'type': kind, 'handler_key': key, 'prior_loss': {'type': loss}}
