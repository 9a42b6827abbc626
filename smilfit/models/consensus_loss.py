"""A loss in space on heat maps: how far their views' meeting is from the known point, as a function of every map."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.losses import Energies
from smilfit.models.points_of_maps import differentiable_points
from smilfit.structures import Cameras

# Below this share of the animal's size a distance counts by its square.
_SMOOTH = 0.01
# A view whose map has no peak at all still counts so much beside one that is sure.
_LEAST_WEIGHT = 1e-3


def consensus_energy(
    logits: Float[Tensor, 'B C K h w'],
    stride: float,
    cameras: Cameras,
    view_mask: Bool[Tensor, 'B C'],
    keypoints3d: Float[Tensor, 'B K 3'],
    confidence3d: Float[Tensor, 'B K'],
    unit: Float[Tensor, ''],
) -> Energies:
    """State the distance of the points where rays meet (`differentiable_points`) from the truth, in `unit`s.

    Views count by the height of their map's peak, through which no gradient goes. Keypoints that are not known, or
    that fewer than two views fix, take no part.

    Args:
        logits: of the crops; a view outside of the mask may hold anything.
        stride: px of a crop a cell.
        cameras: of the crops.
        view_mask: which views there are.
        keypoints3d: the truth, world unit.
        confidence3d: of it; 0 for unknown.
        unit: the animal's size, world unit.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits.float()
        peaks = logits.detach().flatten(-2).softmax(-1).amax(-1)
        points, known = differentiable_points(
            logits, stride, cameras, view_mask, _LEAST_WEIGHT + peaks.nan_to_num(0.0)
        )
        weight = confidence3d.clamp(0, 1) * known
        goal = torch.where((weight > 0).unsqueeze(-1), keypoints3d, points.detach())
        squared = ((points - goal) / unit).square().sum(-1)
        return Energies((squared + _SMOOTH**2).sqrt() - _SMOOTH, weight)
