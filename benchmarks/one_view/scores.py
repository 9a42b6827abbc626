"""Which way the trunk points in fits, against the truth, and whether the fit doubts it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.measuring import Row
from smilfit.structures import FitResult, Keypoints2d

# Below this angle to the image plane the sign of depth is no question of left or right.
FLAT_DEG = 10.0


@dataclass(frozen=True)
class Turned:
    """What is wrong with each frame's trunk.

    Args:
        trunk_deg: its angle to the true one.
        depth_wrong: where it points to the other side of the image plane.
        flat: where the true one hardly leaves it.
    """

    trunk_deg: Tensor
    depth_wrong: Tensor
    flat: Tensor


def doubted_of(result: FitResult) -> Tensor:
    """Say which frames a fit doubts (B), as the verdict tells."""
    doubted = torch.zeros(len(result.fitted), dtype=torch.bool)
    doubted[result.report['frames_doubted']['rows']] = True
    return doubted


def compare(found: Tensor, true: Tensor) -> Turned:
    """Compare directions (B, 3) as cameras see them."""
    found, true = (x / x.norm(dim=1, keepdim=True) for x in (found.double(), true.double()))
    angle = torch.rad2deg((found * true).sum(1).clamp(-1, 1).acos())
    out = torch.rad2deg(true[:, 2].clamp(-1, 1).asin())
    return Turned(angle, found[:, 2].sign() != true[:, 2].sign(), out.abs() < FLAT_DEG)


def flat_direction(seen: Keypoints2d) -> Tensor:
    """Give the trunk's direction as if it lay in the image plane (B, 3): no body, no depth.

    From the tail's base to the neck's; where one is missing, to the right.
    """
    ends = [seen.names.index(name) for name in ('tail_base', 'neck_base')]
    along = seen.xy[:, 0, ends[1]] - seen.xy[:, 0, ends[0]]
    there = seen.visible[:, 0, ends].all(1, keepdim=True)
    along = torch.where(there, along, along.new_tensor([1.0, 0.0]))
    return torch.cat((along, torch.zeros_like(along[:, :1])), 1)


def figures(turned: Turned, doubted: Tensor, among: Tensor) -> Row:
    """Give the figures of some frames, in percent of those that are not doubted where it says so."""
    sure = among & ~doubted
    return {
        'n': int(among.sum()),
        'median deg': float(turned.trunk_deg[among].median()),
        'within 20 deg %': share(turned.trunk_deg < 20, among),
        'beyond 40 deg %': share(turned.trunk_deg > 40, among),
        'sign right %': share(~turned.depth_wrong, among),
        'doubted %': share(doubted, among),
        'sure: sign right %': share(~turned.depth_wrong, sure),
        'sure: sign right, not flat %': share(~turned.depth_wrong, sure & ~turned.flat),
        'sure: beyond 40 deg %': share(turned.trunk_deg > 40, sure),
    }


def share(which: Tensor, among: Tensor) -> float:
    """Give the percentage of those among which; NaN of none."""
    return float(100 * which[among].double().mean()) if bool(among.any()) else float('nan')
