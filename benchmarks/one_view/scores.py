"""Which way the trunk points in a fit, against the truth."""

from dataclasses import dataclass

import torch
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.structures import BodyParams

# Below this angle to the image plane the sign of depth is no question of left or right.
FLAT_DEG = 10.0


@dataclass(frozen=True)
class Turned:
    """What is wrong with each picture's body: `trunk_deg` between the trunks, `depth_wrong` where they point to
    opposite sides of the image plane, `flat` where the true one hardly leaves it."""

    trunk_deg: Tensor
    depth_wrong: Tensor
    flat: Tensor


def trunk_direction(body: SMIL, params: BodyParams, R: Tensor) -> Tensor:
    """Give the root's forward axis as the cameras see it (B, 3)."""
    axis = body.data.forward_axis
    forward = torch.zeros(3).to(params.transl)
    forward['xyz'.index(axis[1])] = 1.0 if axis[0] == '+' else -1.0
    return (R.to(params.transl) @ axis_angle_to_rotmat(params.global_orient) @ forward.unsqueeze(-1)).squeeze(
        -1
    )


def compare(found: Tensor, true: Tensor) -> Turned:
    """Compare directions (B, 3); what was not fitted is NaN."""
    found, true = (x / x.norm(dim=1, keepdim=True) for x in (found.double(), true.double()))
    angle = torch.rad2deg((found * true).sum(1).clamp(-1, 1).acos())
    out = torch.rad2deg(true[:, 2].clamp(-1, 1).asin())
    return Turned(angle, found[:, 2].sign() != true[:, 2].sign(), out.abs() < FLAT_DEG)


def share(which: Tensor, among: Tensor) -> float:
    """Give the percentage of those among which; NaN of none."""
    return float(100 * which[among].double().mean()) if bool(among.any()) else float('nan')
