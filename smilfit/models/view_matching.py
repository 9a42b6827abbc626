"""Several animals in several views: which detection of which view is which animal."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import max_pool2d

from smilfit.geometry.heatmap_windows import WindowedMaps
from smilfit.geometry.heatmaps import cell_to_px
from smilfit.geometry.rays import meet_pairs, meet_rays
from smilfit.structures import Cameras


@dataclass(frozen=True)
class MatchedAnimals:
    """Animals that views agree on: A of them, the ones that most views see first.

    Args:
        index: the detection of each view that shows the animal; -1 where none does.
        points: its points in space (world unit).
        error_px: mean distance of its detections from the images of its points.
        sure: False where another way to pair the views' detections fits nearly as well, as when two animals stand in
            one epipolar plane of two cameras.
    """

    index: Int[Tensor, 'A C']
    points: Float[Tensor, 'A P 3']
    error_px: Float[Tensor, ' A']
    sure: Bool[Tensor, ' A']


def find_centres(
    logits: Float[Tensor, 'N h w'], stride: float, most: int = 4, least: float = 0.1
) -> tuple[Float[Tensor, 'N M 2'], Float[Tensor, 'N M']]:
    """Find animals' centres as peaks of maps whose softmax has one blob an animal; a peak is a local maximum.

    Args:
        logits: a map a view.
        stride: px a cell.
        most: how many animals there may be.
        least: share of a map below which a peak is none.

    Returns:
        Places (px) and shares of the map; a share of 0 is no detection.
    """
    share = logits.flatten(1).softmax(-1).unflatten(-1, logits.shape[-2:])
    found, cells = WindowedMaps(share).modes(most)
    # What is left of a wide blob outside of its window is no other animal: it rises towards the window.
    highest = max_pool2d(share.unsqueeze(1), 3, 1, 1).flatten(1)
    place = cells[..., 1] * share.shape[-1] + cells[..., 0]
    peak = share.flatten(1).gather(1, place) >= highest.gather(1, place)
    return cell_to_px(found.mean, stride), found.mass * (peak & (found.mass >= least))


def match_views(
    pixels: Float[Tensor, 'C M P 2'],
    weight: Float[Tensor, 'C M P'],
    cameras: Cameras,
    gate_px: float,
    sure_px: float | None = None,
) -> MatchedAnimals:
    """Find which detections of one frame are the same animal, by points in space.

    Any two detections of two views propose an animal: the points where their rays meet. In every view the detection
    next to the proposal's images supports it if it is within the gate. The proposal with the most views (of these the
    one that fits best) is an animal; its detections are taken, and the rest is asked again.

    Args:
        pixels: M detections in each of C views, each of P points: a centre (P = 1) or keypoints.
        weight: 0 where a view lacks a detection or a point.
        cameras: of these images (C cameras, not batched).
        gate_px: distance, mean over points, within which a detection shows a proposal.
        sure_px: an animal is sure if exchanging one of its detections for another animal's costs at least so much
            (px, by the same distance); half the gate where None.
    """
    directions, has_ray = cameras.rays(pixels.flatten(1, 2))
    directions, has_ray = (x.unflatten(1, pixels.shape[1:3]) for x in (directions, has_ray))
    weight = weight * has_ray
    free = (weight > 0).any(-1)
    error = _proposal_errors(pixels, weight, directions, cameras, gate_px)
    members: list[Tensor] = []
    while True:
        open_error = error.masked_fill(~free, torch.inf)
        nearest, index = open_error.min(-1)
        shows = nearest < gate_px
        count = shows.sum(-1)
        cost = torch.where(shows, nearest, torch.zeros_like(nearest)).sum(-1) / count.clamp_min(1)
        if not len(count) or int(count.max()) < 2:
            break
        best = int((count - cost / (2 * gate_px)).argmax())
        chosen = torch.where(shows[best], index[best], -torch.ones_like(index[best]))
        members.append(chosen)
        views = (chosen >= 0).nonzero().flatten()
        free = free.clone()
        free[views, chosen[views]] = False
    index = torch.stack(members) if members else torch.zeros(0, len(pixels), dtype=torch.long)
    points, error_px = _place(index, pixels, weight, directions, cameras)
    least = gate_px / 2 if sure_px is None else sure_px
    sure = _exchange_costs(index, error_px, pixels, weight, directions, cameras) >= least
    return MatchedAnimals(index, points, error_px, sure)


def _proposal_errors(
    pixels: Tensor, weight: Tensor, directions: Tensor, cameras: Cameras, gate_px: float
) -> Float[Tensor, 'N C M']:
    """Give how far each view's detections are from each proposal: a pair of detections of two views."""
    n_views, n_detections = pixels.shape[:2]
    view = torch.arange(n_views, device=pixels.device).repeat_interleave(n_detections)
    a, b = torch.triu_indices(len(view), len(view), 1, device=pixels.device)
    a, b = (x[view[a] != view[b]] for x in (a, b))
    origins, along, weights = (
        cameras.centres()[view].unsqueeze(1),
        directions.flatten(0, 1),
        weight.flatten(0, 1),
    )
    points, meet = meet_pairs(origins[a], along[a], origins[b], along[b])
    both = weights[a] * weights[b] * meet
    kept = (both > 0).any(-1)
    return _distances(points[kept], both[kept], pixels, weight, cameras, 3 * gate_px)


def _distances(
    points: Float[Tensor, 'N P 3'],
    known: Float[Tensor, 'N P'],
    pixels: Tensor,
    weight: Tensor,
    cameras: Cameras,
    most: float,
) -> Float[Tensor, 'N C M']:
    """Give the mean distance of detections from images of points; infinite where they share none."""
    images, _, valid = cameras.project(points)
    far = (images.unsqueeze(2) - pixels).norm(dim=-1).clamp_max(most)
    share = known[:, None, None] * weight * valid.unsqueeze(2)
    total = share.sum(-1)
    mean = (share * far).sum(-1) / total.clamp_min(1e-12)
    return torch.where(total > 0, mean, torch.full_like(mean, torch.inf))


def _place(
    index: Int[Tensor, 'A C'], pixels: Tensor, weight: Tensor, directions: Tensor, cameras: Cameras
) -> tuple[Float[Tensor, 'A P 3'], Float[Tensor, ' A']]:
    """Triangulate animals from their detections; give their points and mean errors in px."""
    view = torch.arange(len(pixels), device=pixels.device)
    chosen = index.clamp_min(0)
    own = weight[view, chosen] * (index >= 0).unsqueeze(-1)
    points, known = meet_rays(cameras.centres().expand(len(index), -1, -1), directions[view, chosen], own)
    images, _, _ = cameras.project(points)
    far = (images - pixels[view, chosen]).norm(dim=-1)
    share = own * known.unsqueeze(1)
    return points, (share * far).sum((1, 2)) / share.sum((1, 2)).clamp_min(1e-12)


def _exchange_costs(
    index: Int[Tensor, 'A C'],
    error_px: Float[Tensor, ' A'],
    pixels: Tensor,
    weight: Tensor,
    directions: Tensor,
    cameras: Cameras,
) -> Float[Tensor, ' A']:
    """Give by how many px each animal fits worse at least if one of its detections is exchanged with another's."""
    cost = torch.full_like(error_px, torch.inf)
    for i in range(len(index)):
        for j in range(i):
            views = ((index[i] >= 0) & (index[j] >= 0)).nonzero().flatten()
            if len(views) == 0:
                continue
            exchanged = index[[i, j]].repeat(len(views), 1, 1)
            row = torch.arange(len(views), device=views.device)
            exchanged[row, :, views] = exchanged[row, :, views].flip(-1)
            _, errors = _place(exchanged.flatten(0, 1), pixels, weight, directions, cameras)
            # Points that no rays fix any longer, or that lie behind a view, are no way to see it.
            errors = torch.where(errors > 0, errors, torch.full_like(errors, torch.inf))
            rise = (errors.unflatten(0, (-1, 2)).mean(1) - error_px[[i, j]].mean()).min()
            cost[i], cost[j] = torch.minimum(cost[i], rise), torch.minimum(cost[j], rise)
    return cost
