"""SMILify's numbers as our parameters and cameras, and ours as its cameras.

Its cameras are PyTorch3D's: row vectors, `x_cam = x_world R + T`, x to the left and y up, a vertical field of view
in degrees, and the principal point in the picture's middle.
"""

from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.body_models.driven_joints import MIN_JOINT_SCALE
from smilfit.models.regressors.smilify.network import SmilifyOutput
from smilfit.models.regressors.smilify.views import ViewCameras
from smilfit.structures import BodyParams, Cameras

Placement = Literal['root_scaled', 'root_by_ten', 'as_posed']
# Offsets of joints have their second axis turned round, and those by directions are made smaller.
_OFFSET_SIGNS = (1.0, -1.0, 1.0)
_OFFSET_FACTOR = 0.01


class RigidMotion(NamedTuple):
    """`x_world = x @ A^T + b`, from the frame that a network speaks in to the world of the cameras."""

    A: Float[Tensor, 'B 3 3']
    b: Float[Tensor, 'B 3']

    @classmethod
    def identity(cls, like: Float[Tensor, 'B 3']) -> 'RigidMotion':
        """Make one that moves nothing."""
        return cls(torch.eye(3).to(like).expand(len(like), 3, 3), torch.zeros_like(like))

    @classmethod
    def from_camera(cls, R: Float[Tensor, 'B 3 3'], t: Float[Tensor, 'B 3']) -> 'RigidMotion':
        """Make the one from PyTorch3D's axes of a camera of ours."""
        A = R.mT @ _flip(R)
        return cls(A, -(R.mT @ t.unsqueeze(-1)).squeeze(-1))

    def after(self, R: Float[Tensor, 'B 3 3'], T: Float[Tensor, 'B 3']) -> 'RigidMotion':
        """Go through PyTorch3D's `x R + T` first."""
        return RigidMotion(self.A @ R.mT, self.b + (self.A @ T.unsqueeze(-1)).squeeze(-1))


def body_parameters(
    output: SmilifyOutput, body: SMIL, placement: str, by_directions: bool, motion: RigidMotion
) -> BodyParams:
    """Convert a step's numbers; rotations are matrices.

    Args:
        output: the numbers.
        body: the body, of `joint_scale_mode='inherited'`.
        placement: what SMILify does with posed joints: their root goes to `trans` and all is scaled by the predicted
            scale, or by ten; or `trans` is added to them as they are.
        by_directions: joint scales and offsets are the body model's directions times weights: the output's, or the
            betas where it has none. Without directions they rest.
        motion: where the world of the cameras is.
    """
    scales, offsets = _joint_sizes(output, body, by_directions)
    scale = torch.ones_like(output.trans[:, 0])
    if placement == 'root_by_ten':
        scale = 10 * scale
    elif placement == 'root_scaled' and output.log_mesh_scale is not None:
        scale = output.log_mesh_scale.exp()
    params = BodyParams(
        global_orient=output.rotations[:, 0],
        body_pose=output.rotations[:, 1:],
        betas=output.betas,
        transl=output.trans,
        scale=scale,
        log_joint_scales=scales,
        joint_offsets=offsets,
    )
    if placement != 'as_posed':
        params = params.replace(transl=output.trans - scale.unsqueeze(1) * _root(body, params))
    return _moved(params, body, motion)


def _joint_sizes(
    output: SmilifyOutput, body: SMIL, by_directions: bool
) -> tuple[Tensor | None, Tensor | None]:
    if by_directions:
        scales, offsets = (
            _directed(body.data.scaledirs, output.scales, output.betas),
            _directed(body.data.transdirs, output.offsets, output.betas),
        )
        scales = None if scales is None else (1 + scales).clamp_min(MIN_JOINT_SCALE).log()
        offsets = None if offsets is None else _OFFSET_FACTOR * offsets
    elif output.scales is None or output.offsets is None:
        return None, None
    else:
        scales, offsets = output.scales.unflatten(1, (-1, 3)), output.offsets.unflatten(1, (-1, 3))
    if offsets is not None:
        offsets = _without_root(offsets * offsets.new_tensor(_OFFSET_SIGNS))
    # The root's own scale and offset are ignored there.
    return (None if scales is None else _without_root(scales)), offsets


def _directed(directions: object, weights: Tensor | None, betas: Tensor) -> Tensor | None:
    if directions is None:
        return None
    weights = betas if weights is None else weights
    return torch.einsum('bs,sjc->bjc', weights, torch.as_tensor(directions).to(betas))


def _without_root(values: Float[Tensor, 'B J 3']) -> Float[Tensor, 'B J 3']:
    return torch.cat((torch.zeros_like(values[:, :1]), values[:, 1:]), 1)


def _root(body: SMIL, params: BodyParams) -> Float[Tensor, 'B 3']:
    """Give where SMILify sees the posed root, model unit: a joint that has a regressor is read off the posed skin."""
    at_origin = params.replace(transl=torch.zeros_like(params.transl), scale=torch.ones_like(params.scale))
    if body.data.joint_regressor is None:
        return body(at_origin, need=('joints',)).joints[:, 0]
    return regressed_joints(body, at_origin)[:, 0]


def regressed_joints(body: SMIL, params: BodyParams) -> Float[Tensor, 'B J 3']:
    """Read the joints off the posed skin by the model's regressor, as SMILify does."""
    vertices = body(params, need=('vertices',)).vertices
    rows = torch.as_tensor(body.data.joint_regressor.to_dense()).to(vertices)
    return rows @ vertices


def _moved(params: BodyParams, body: SMIL, motion: RigidMotion) -> BodyParams:
    """Move posed bodies: they turn about their roots, so the roots' places turn too."""
    root = body.rest_joints(params.betas)[:, :1].expand(params.batch_size, 1, 3).mT
    turned = (motion.A @ root - root).squeeze(-1)
    placed = (motion.A @ params.transl.unsqueeze(-1)).squeeze(-1) + motion.b
    return params.replace(
        global_orient=motion.A @ params.global_orient, transl=placed + params.scale.unsqueeze(1) * turned
    )


def to_view_cameras(cameras: Cameras, motion: RigidMotion) -> ViewCameras:
    """Give our cameras as PyTorch3D's, in the network's frame; what is beside the middle of the picture is lost."""
    R, t = cameras.R @ motion.A.unsqueeze(1), cameras.t + (cameras.R @ motion.b[:, None, :, None]).squeeze(-1)
    fov = 2 * torch.atan2(cameras.size[..., 1], 2 * cameras.K[..., 1, 1])
    flip = _flip(R)
    return ViewCameras(fov.rad2deg(), R.mT @ flip, (flip @ t.unsqueeze(-1)).squeeze(-1))


def from_view_cameras(
    predicted: ViewCameras, given: Cameras, motion: RigidMotion, keep_lens: bool
) -> Cameras:
    """Give PyTorch3D's cameras of the network's frame as ours, in the world.

    Args:
        predicted: the cameras.
        given: those of the crops, for sizes.
        motion: from the network's frame to the world.
        keep_lens: the given principal points, aspect ratios and lenses stay; focal lengths change as fields of view
            do; else pixels are square and the principal point is the middle.
    """
    flip = _flip(predicted.R)
    R = flip @ predicted.R.mT @ motion.A.mT.unsqueeze(1)
    t = (flip @ predicted.T.unsqueeze(-1)).squeeze(-1) - (R @ motion.b[:, None, :, None]).squeeze(-1)
    return replace(lens_of(predicted.fov, given, keep_lens), R=R, t=t)


def lens_of(fov: Float[Tensor, 'B C'], given: Cameras, keep_lens: bool) -> Cameras:
    """Give cameras of these vertical fields of view (deg); see `from_view_cameras`."""
    width, height = given.size.unbind(-1)
    # An angle that no camera has must not make a camera that no number describes.
    focal = height / (2 * (0.5 * fov.clamp(0.1, 179.0)).deg2rad().tan())
    zero, one = torch.zeros_like(focal), torch.ones_like(focal)
    if keep_lens:
        ratio = focal / given.K[..., 1, 1]
        stretch = torch.stack((ratio, ratio, one), -1).unsqueeze(-1)
        return replace(given, K=torch.cat((given.K[..., :2] * stretch, given.K[..., 2:]), -1))
    rows = ((focal, zero, (width - 1) / 2), (zero, focal, (height - 1) / 2), (zero, zero, one))
    K = torch.stack([torch.stack(row, -1) for row in rows], -2)
    return replace(given, K=K, dist=None, fold=None)


def _flip(like: Tensor) -> Float[Tensor, '3 3']:
    """Turn x and y round, between PyTorch3D's axes of a camera and OpenCV's."""
    return torch.diag(torch.tensor([-1.0, -1.0, 1.0])).to(like)
