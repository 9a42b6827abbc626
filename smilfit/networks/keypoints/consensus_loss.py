"""A loss in space on heat maps: how far their views' meeting is from the known point, as a function of every map."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.geometry.heatmaps import cell_to_px
from smilfit.geometry.triangulation import meet_rays
from smilfit.losses import Energies
from smilfit.networks.scene_frame import about_their_centre
from smilfit.structures import Cameras


def differentiable_points(
    logits: Float[Tensor, 'B C K h w'],
    stride: float,
    cameras: Cameras,
    view_mask: Bool[Tensor, 'B C'],
    weights: Float[Tensor, 'B C K'] | None = None,
    sharpness: float = 1.0,
) -> tuple[Float[Tensor, 'B K 3'], Bool[Tensor, 'B K']]:
    """Let the mean places of all heat maps meet: algebraic triangulation with learnt confidences.

    After Iskakov et al. 2019, "Learnable Triangulation of Human Pose", 3.1, with rays for their equations:
    soft-argmax of each map, its ray through the lens, weighted least squares. A mean of
    two peaks is neither: train maps until they have one before training through this.

    Args:
        logits: a view outside of the mask may hold anything.
        stride: px a cell.
        cameras: of the images that the heat maps are of, one set a sample.
        view_mask: which views there are.
        weights: how much each view counts for each keypoint, at least 0; equal where None.
        sharpness: factor on the logits.

    Returns:
        Points (world unit), and whether each is known: two views with a weight fix it. One that is not is (0, 0, 0),
        without gradient.
    """
    valid = view_mask[..., None]
    maps = (sharpness * logits.masked_fill(~valid[..., None, None], 0.0)).flatten(-2).softmax(-1)
    maps = maps.unflatten(-1, logits.shape[-2:])
    rows, columns = (torch.arange(n, dtype=maps.dtype, device=maps.device) for n in maps.shape[-2:])
    cells = torch.stack(((maps.sum(-2) * columns).sum(-1), (maps.sum(-1) * rows).sum(-1)), -1)
    cameras, origin = about_their_centre(cameras.to(maps.dtype), view_mask)
    directions, has_ray = cameras.rays(cell_to_px(cells, stride))
    weights = torch.ones_like(cells[..., 0]) if weights is None else weights.masked_fill(~valid, 0.0)
    points, known = meet_rays(cameras.centres(), directions, weights * (has_ray & valid))
    return torch.where(known.unsqueeze(-1), points + origin.unsqueeze(1), points), known


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
