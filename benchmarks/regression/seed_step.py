"""A plain twin of a training step of SMILify's multi-view regressor: its layers, its loss formulas, its detours.

The layers are those of `SmilifyNetwork`, which a test holds against SMILify's own weights: a ViT over all views,
attention between the views' vectors, a camera head a view, a decoder whose one query reads the patches of all views
in three steps of feedback. The losses are written here from its source: all vertices are posed, rotations go from
matrices to axis-angle and back, projections are clamped to the image, and every step of the feedback has keypoint
losses of its own.
"""

from collections.abc import Mapping

import roma
import torch
from torch import Tensor, nn

from smilfit.body_models import SMIL
from smilfit.networks.scene_frame import cameras_of
from smilfit.smilify import SmilifyNetwork
from smilfit.smilify.network import SmilifyOutput
from smilfit.smilify.regressor import RigidMotion, from_view_cameras, to_view_cameras
from smilfit.structures import BodyParams, Cameras

# Its defaults; the shipped recipe's for steps of the feedback.
_WEIGHTS = {
    'keypoints2d': 0.1, 'keypoints3d': 0.25, 'joint_rot': 0.001, 'betas': 5e-4, 'trans': 5e-4, 'fov': 0.001,
    'cam_rot': 0.01, 'cam_trans': 0.01, 'angles': 0.001, 'scales': 0.01, 'offsets': 1.0, 'feedback': 0.1,
}  # fmt: skip


class SeedStep(nn.Module):
    """Images and truth to one loss.

    Args:
        body: of `joint_scale_mode='inherited'`.
        n_views: cameras that the network knows.
        backbone: frozen.
        dim: channels of the decoder.
    """

    def __init__(self, body: SMIL, n_views: int, backbone: str, dim: int) -> None:
        super().__init__()
        self.body, self.n_views = body, n_views
        self.network = SmilifyNetwork(
            body.n_joints, body.n_betas, backbone, n_cameras=n_views, mesh_scale=True, dim=dim
        )
        self.network.backbone.requires_grad_(False)

    def forward(self, inputs: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> Tensor:
        """Compute the weighted sum of all losses."""
        cameras, mask = cameras_of(inputs), inputs['view_mask']
        world = RigidMotion.identity(cameras.t[:, 0])
        given = to_view_cameras(cameras, world)
        index = torch.arange(self.n_views).expand(mask.shape)
        steps, predicted = self.network(inputs['image'], index, mask, given)
        seen = from_view_cameras(predicted, cameras, world, True)
        params = [self._body_parameters(step) for step in steps]
        last, known = steps[-1], truth['params']
        points = [self.body(p, need=('vertices', 'joints')).joints for p in params]
        found = {
            **keypoint_losses(points[-1], seen, truth),
            'joint_rot': _rotation_error(params[-1], known),
            'betas': (last.betas - known['betas']).square().mean(),
            'trans': (last.trans - known['transl']).square().mean(),
            'fov': (predicted.fov - given.fov).square().mean(),
            'cam_rot': (predicted.R - given.R).square().mean(),
            'cam_trans': (predicted.T - given.T).square().mean(),
            'angles': params[-1].body_pose.square().mean(),
            'scales': last.scales.square().mean(),
            'offsets': last.offsets.square().mean(),
        }
        total = sum(_WEIGHTS[name] * value for name, value in found.items())
        for i, earlier in enumerate(points[:-1], start=1):
            share = _WEIGHTS['feedback'] * i / len(steps)
            total = total + share * sum(keypoint_losses(earlier, seen, truth).values())
        return total

    def _body_parameters(self, step: SmilifyOutput) -> BodyParams:
        """Go through axis-angle, as its body model's arguments do."""
        pose = roma.rotmat_to_rotvec(step.rotations)
        return BodyParams(
            global_orient=pose[:, 0],
            body_pose=pose[:, 1:],
            betas=step.betas,
            transl=step.trans,
            scale=step.log_mesh_scale.exp(),
            log_joint_scales=step.scales.unflatten(1, (-1, 3)),
            joint_offsets=step.offsets.unflatten(1, (-1, 3)),
        )


def keypoint_losses(points: Tensor, cameras: Cameras, truth: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Compare joints with the truth in images, clamped to them, and in space."""
    px, _, _ = cameras.project(points)
    size = cameras.size.unsqueeze(2)
    weight = truth['confidence2d'].unsqueeze(-1)
    apart = (px / size).clamp(0, 1) - truth['keypoints2d'] / size
    known = truth['confidence3d'].unsqueeze(-1)
    off = points - truth['keypoints3d']
    return {
        'keypoints2d': (weight * apart.square()).sum() / (2 * weight.sum()),
        'keypoints3d': (known * off.square()).sum() / (3 * known.sum()),
    }


def _rotation_error(params: BodyParams, known: Mapping[str, Tensor]) -> Tensor:
    apart = roma.rotvec_to_rotmat(params.body_pose) - roma.rotvec_to_rotmat(known['body_pose'])
    return apart.flatten(2).norm(dim=-1).mean()
