"""What a single view leaves open: direction and distance, by what other starts reached and by the covariance."""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.body_models import SMIL, BodyModelData
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.structures import FitCovariance, FitResult, Keypoints2d

# Starts whose directions are nearer to each other than this came to one and the same place.
APART_DEG = 40.0


def view_frames(body: SMIL, result: FitResult, seen: Keypoints2d) -> dict[str, np.ndarray]:
    """Measure the doubt of one view, frame by frame, of all frames of a fit; NaN of those that were not fitted.

    Args:
        body: the body.
        result: its fit; what is missing of starts and covariance is left out.
        seen: the labels, and the camera of each frame, as the fit corrected it.

    Returns:
        `other_direction` and `other_side`: see `other_answers`. `start_margin`: the same as a ratio, of frames
        without keypoints. `trunk_flat`: the trunk's angle to the image plane, degrees. `on_a_line`: the spread of
        the keypoints across their longest direction, as a share of that. `yaw_sd`, `depth_sd`: by the covariance.
    """
    found: dict[str, Tensor] = {}
    known = result.fitted.cpu()
    count = seen.visible.flatten(1).sum(1).cpu()
    losses, orients = result.start_losses, result.start_orients
    if losses is not None and orients is not None and losses.shape[1] > 1:
        losses, orients = losses.cpu(), orients.cpu()
        orient, R = result.params.global_orient.cpu().double(), seen.rig.R.cpu().double().reshape(-1, 3, 3)
        turned, across = other_answers(body.data, orient, losses, orients, R, count)
        found['other_direction'], found['other_side'] = turned, across
        ratio = start_margins(losses, orients)
        found['start_margin'] = torch.where(count == 0, ratio, torch.nan)
        trunk = trunk_direction(body.data, orient, R)
        found['trunk_flat'] = torch.rad2deg(trunk[:, 2].clamp(-1, 1).asin()).abs()
        found['on_a_line'] = torch.where(count > 0, across_share(seen), torch.nan)
    if result.covariance is not None:
        found['yaw_sd'] = turn_sd_deg(body, result.covariance)
        found['depth_sd'] = depth_sd(body, result, result.covariance)
    return {name: torch.where(known, v.cpu().double(), torch.nan).numpy() for name, v in found.items()}


def other_answers(
    data: BodyModelData,
    orient: Float[Tensor, 'B 3'],
    losses: Float[Tensor, 'B N'],
    orients: Float[Tensor, 'B N 3'],
    R: Float[Tensor, '#B 3 3'],
    n_keypoints: Int[Tensor, ' B'],
) -> tuple[Float[Tensor, ' B'], Float[Tensor, ' B']]:
    """Say how much more the best answers cost that are turned otherwise, in units of noise.

    Losses of starts are those of the stages that compared them, in units of noise as the weights of the shipped
    configs give them; where the least of a frame is more than its keypoints' noise explains (two a keypoint), all are
    divided by what is too much: models and landmarks that fit badly make differences less certain. The answer that
    later stages went on from is compared, even where it is not the cheapest (in a video it is the path's).

    Args:
        data: the body model's, for the trunk's direction.
        orient: of the answer, axis-angle, rad.
        losses: of each frame's starts when they were compared; infinite where a frame did not have one.
        orients: the body's rotations there.
        R: the cameras' rotations.
        n_keypoints: seen in each frame (B).

    Returns:
        By frame, of the best answer that is turned by more than `APART_DEG`, and of the best whose trunk points to
        the other side of the image plane; infinite where no start ended there.
    """
    losses, orients = losses.double().nan_to_num(torch.inf, torch.inf), orients.double()
    angle = _angle_deg(axis_angle_to_rotmat(orients), axis_angle_to_rotmat(orient).unsqueeze(1))
    depth = trunk_direction(data, orient, R)[:, 2:]
    depths = trunk_direction(data, orients, R.unsqueeze(1))[..., 2]
    least = losses.amin(1)
    own = losses.masked_fill(~(angle < APART_DEG), torch.inf).amin(1)
    # A later stage may have left the basin of all starts.
    own = torch.where(own.isfinite(), own, least)
    noise = (least / (2 * n_keypoints.clamp_min(1))).clamp_min(1.0)

    def more(other: Bool[Tensor, 'B N']) -> Tensor:
        return (losses.masked_fill(~other, torch.inf).amin(1) - own) / noise

    return more(angle > APART_DEG), more(depths.sign() != depth.sign())


def start_margins(losses: Float[Tensor, 'B N'], orients: Float[Tensor, 'B N 3']) -> Float[Tensor, ' B']:
    """Give the least loss that another direction of the body reached, over the least of all; at least 1.

    Args:
        losses: of each frame's starts when they were compared; infinite where a frame did not have one.
        orients: the body's rotations there, axis-angle, rad.

    Returns:
        NaN where no other start came to another direction.
    """
    losses = losses.double().nan_to_num(torch.inf, torch.inf)
    least, at = losses.min(1)
    turns = axis_angle_to_rotmat(orients.double())
    best = turns[torch.arange(len(turns)), at].unsqueeze(1)
    apart = _angle_deg(turns, best) > APART_DEG
    others = losses.masked_fill(~apart, torch.inf).amin(1)
    margin = others / least.clamp_min(1e-12)
    return torch.where(margin.isfinite(), margin, torch.nan)


def trunk_direction(
    data: BodyModelData, orient: Float[Tensor, '*b 3'], R: Float[Tensor, '*#b 3 3']
) -> Float[Tensor, '*b 3']:
    """Give the trunk's direction as cameras of rotation R see it: +x right, +y down, +z away.

    It is the model's forward axis, turned as the root is; of a model that states none, the axis along which its
    vertices spread most, one way or the other.
    """
    along = _forward(data).to(orient)
    return (R @ (axis_angle_to_rotmat(orient) @ along.unsqueeze(-1))).squeeze(-1)


def _forward(data: BodyModelData) -> Float[Tensor, '3']:
    if data.forward_axis is None:
        points = torch.as_tensor(data.v_template).double()
        return torch.linalg.svd(points - points.mean(0), full_matrices=False).Vh[0]
    forward = torch.zeros(3, dtype=torch.float64)
    forward['xyz'.index(data.forward_axis[1])] = 1.0 if data.forward_axis[0] == '+' else -1.0
    return forward


def across_share(seen: Keypoints2d) -> Float[Tensor, ' B']:
    """Give the standard deviation of a frame's keypoints across their longest direction, as a share of that along it.

    A line of keypoints tells no turn about it.
    """
    there = seen.visible.flatten(1).cpu().double()
    xy = torch.where((there > 0).unsqueeze(-1), seen.xy.flatten(1, 2).cpu().double(), 0.0)
    total = there.sum(1).clamp_min(1)[:, None, None]
    off = there.unsqueeze(-1) * (xy - xy.sum(1, keepdim=True) / total)
    sd = torch.linalg.eigvalsh(off.mT @ off / total).clamp_min(0).sqrt()
    return sd[:, 0] / sd[:, 1].clamp_min(1e-9)


def turn_sd_deg(body: SMIL, covariance: FitCovariance) -> Float[Tensor, ' B']:
    """Give the standard deviation of the body's turn about the worst of the world's axes, degrees."""
    columns = [f'{body.joint_names[0]}.turn_{axis}' for axis in 'xyz']
    return _of(covariance, columns).amax(1) * (180 / math.pi)


def depth_sd(body: SMIL, result: FitResult, covariance: FitCovariance) -> Float[Tensor, ' B']:
    """Give the standard deviation of the body's place along the worst of the world's axes, in its lengths.

    Under one camera that is depth, but for the turn of its axes.
    """
    size = body.rest_size * result.params.scale.cpu().double()
    return _of(covariance, [f'transl_{axis}' for axis in 'xyz']).amax(1) / size


def _of(covariance: FitCovariance, columns: list[str]) -> Tensor:
    """Give the standard deviations of some unknowns; NaN where they were not fitted."""
    sd, known = covariance.parameter_sd().cpu().double(), list(covariance.columns)
    if any(name not in known for name in columns):
        return torch.full((len(sd), len(columns)), torch.nan).double()
    return sd[:, [known.index(name) for name in columns]]


def _angle_deg(a: Float[Tensor, '*#n 3 3'], b: Float[Tensor, '*#n 3 3']) -> Float[Tensor, '*n']:
    return torch.rad2deg((((a * b).sum((-1, -2)) - 1) / 2).clamp(-1, 1).acos())
