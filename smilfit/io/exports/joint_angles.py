"""Angles of joints about named axes, with what is known of them.

A joint's rotation in its parent's frame has two forms: its rotation vector in the axes along which its limits are
stated (x, y, z: those of the model at rest, or the joint's own where the model has any), and about axes of its bone.
With b along the bone at rest, to the mean of the joint's children: `twist` is the turn about b of the swing-twist
decomposition R = S T; the rotation vector of the swing S, perpendicular to b, has `flexion` about the axis nearest to
the animal's left, and `abduction` about the third, b x left. Turns are right-handed: positive flexion lowers what
points forward.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.body_models.joint_limits import own_components
from smilfit.geometry.posing import chain_products
from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle, rotmat_to_quat_wxyz
from smilfit.io.lookup_proposals import body_axes
from smilfit.structures import BodyParams, FitCovariance

PLAIN, NAMED = ('x', 'y', 'z'), ('flexion', 'abduction', 'twist')
# Turns by which slopes are measured, rad.
_STEP = 1e-4
# A bone that is nearer to the left axis than this sine has no flexion about it.
_LEAST_SINE = 0.1


@dataclass(frozen=True)
class JointAngles:
    """Angles of T frames and J joints: x, y, z, flexion, abduction, twist; degrees.

    `sd` are their standard deviations, where the fit has any: NaN where a joint was not fitted, infinite where
    nothing is known of it.
    """

    names: tuple[str, ...]
    degrees: Float[np.ndarray, 'T J 6']
    sd: Float[np.ndarray, 'T J 6'] | None


def joint_angles(body: SMIL, params: BodyParams, covariance: FitCovariance | None = None) -> JointAngles:
    """Measure the angles of T frames.

    Args:
        body: the body model.
        params: of the T frames.
        covariance: of the same frames. Where its matrices are not kept, what two turns of one joint have in common
            does not count.
    """
    rotations = params.to('cpu', torch.float64).rotations()
    axes, own = bone_axes(body), body.data.joint_axes

    def angles(rotated: Tensor) -> Tensor:
        return _angles(rotated, axes, None if own is None else torch.as_tensor(own))

    result = angles(rotations)
    sd = None if covariance is None else _deviations(body, rotations, angles, covariance)
    return JointAngles(body.joint_names, np.degrees(result.numpy()), sd)


def bone_axes(body: SMIL) -> Float[Tensor, 'J 3 3']:
    """Return each bone's axes at rest as rows: flexion, abduction, twist; those of the root are the animal's own."""
    axes, data = body_axes(body.data), body.data
    children = [np.flatnonzero(data.parents == j) for j in range(data.n_joints)]
    result = np.zeros((data.n_joints, 3, 3))
    for j, below in enumerate(children):
        if j == 0:
            bone = axes.forward
        elif len(below):
            bone = data.joints[below].mean(0) - data.joints[j]
        else:
            bone = data.joints[j] - data.joints[data.parents[j]]
        length = np.linalg.norm(bone)
        bone = bone / length if length > 0 else axes.forward
        near = axes.left if np.linalg.norm(np.cross(bone, axes.left)) > _LEAST_SINE else axes.up
        flexion = near - (near @ bone) * bone
        flexion = flexion / np.linalg.norm(flexion)
        result[j] = flexion, np.cross(bone, flexion), bone
    return torch.from_numpy(result)


def _angles(
    rotations: Float[Tensor, 'T J 3 3'], axes: Float[Tensor, 'J 3 3'], own: Float[Tensor, 'J 3 3'] | None
) -> Float[Tensor, 'T J 6']:
    """Return x, y, z, flexion, abduction, twist, rad."""
    flexion, abduction, bone = axes.unbind(1)
    quaternion = rotmat_to_quat_wxyz(rotations)
    half = torch.atan2((quaternion[..., 1:] * bone).sum(-1), quaternion[..., 0])
    # q and -q are one rotation: the twist is the shorter way round.
    twist = torch.remainder(2 * half + torch.pi, 2 * torch.pi) - torch.pi
    swing = rotmat_to_axis_angle(rotations @ axis_angle_to_rotmat(-twist.unsqueeze(-1) * bone))
    named = torch.stack(((swing * flexion).sum(-1), (swing * abduction).sum(-1), twist), -1)
    return torch.cat((own_components(rotmat_to_axis_angle(rotations), own), named), -1)


def _deviations(
    body: SMIL,
    rotations: Float[Tensor, 'T J 3 3'],
    angles: Callable[[Tensor], Tensor],
    covariance: FitCovariance,
) -> np.ndarray:
    """Carry the covariance of each joint's turn, about the world's axes, over to its angles."""
    of_rotations = _rotation_covariance(body.joint_names, covariance).to(rotations)
    above = chain_products(rotations, body.tree.to('cpu', torch.float64))
    above = above.index_select(1, body.tree.parents.cpu())
    above[:, 0] = torch.eye(3, dtype=rotations.dtype)
    unknown, missing = of_rotations.isinf().any(-1).any(-1), of_rotations.isnan().any(-1).any(-1)
    known = torch.where((unknown | missing)[..., None, None], 0.0, of_rotations)
    local = above.mT @ known @ above
    slopes = []
    for axis in torch.eye(3, dtype=rotations.dtype):
        ahead, behind = (angles(axis_angle_to_rotmat(s * _STEP * axis) @ rotations) for s in (1, -1))
        # Where an angle jumps from half a turn to the other side.
        step = torch.remainder(ahead - behind + torch.pi, 2 * torch.pi) - torch.pi
        slopes.append(step / (2 * _STEP))
    slope = torch.stack(slopes, -1)
    variance = (slope @ local @ slope.mT).diagonal(dim1=-2, dim2=-1).clamp_min(0)
    sd = torch.rad2deg(variance.sqrt())
    sd = torch.where(unknown.unsqueeze(-1), torch.inf, sd)
    return torch.where(missing.unsqueeze(-1), torch.nan, sd).numpy()


def _rotation_covariance(names: tuple[str, ...], covariance: FitCovariance) -> Float[Tensor, 'T J 3 3']:
    """Return each joint's block; NaN of joints that were not fitted."""
    whole = covariance.parameters
    sd = covariance.parameter_sd().double().cpu()
    place = {name: i for i, name in enumerate(covariance.columns)}
    result = torch.full((len(sd), len(names), 3, 3), torch.nan, dtype=torch.float64)
    for j, name in enumerate(names):
        columns = [place.get(f'{name}.turn_{axis}') for axis in 'xyz']
        rows = [c for c in columns if c is not None]
        if len(rows) < 3:
            continue
        if whole is None:
            result[:, j] = torch.diag_embed(sd[:, rows].square())
        else:
            result[:, j] = whole.double().cpu()[:, rows][:, :, rows]
    return result
