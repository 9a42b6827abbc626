"""Several animals in the images of a moment: where each is in every view, from a first look at the whole of them."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import max_pool2d

from smilfit.geometry.heatmaps import WindowedMaps, cell_to_px
from smilfit.geometry.triangulation import meet_pairs, meet_rays
from smilfit.networks.animals.animal_boxes import boxes_around, part_by_nearest
from smilfit.networks.keypoints.consensus import MeetInSpace
from smilfit.registry import MODELS
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
    result, cells = WindowedMaps(share).modes(most)
    # What is left of a wide blob outside of its window is no other animal: it rises towards the window.
    highest = max_pool2d(share.unsqueeze(1), 3, 1, 1).flatten(1)
    place = cells[..., 1] * share.shape[-1] + cells[..., 0]
    peak = share.flatten(1).gather(1, place) >= highest.gather(1, place)
    return cell_to_px(result.mean, stride), result.mass * (peak & (result.mass >= least))


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
    """Return how far each view's detections are from each proposal: a pair of detections of two views."""
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
    """Return the mean distance of detections from images of points; infinite where they share none."""
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
    """Return by how many px each animal fits worse at least if one of its detections is exchanged with another's."""
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


@dataclass(frozen=True)
class DetectedAnimals:
    """D animals in the views of B moments, those of one moment one after the other.

    Args:
        moment: of which moment each is.
        square: boxes (x, y, side) px of the images of the first look.
        visible: which views show it.
        sure: False where the views' detections could be paired otherwise nearly as well.
        counts: what was left out, by reason.
    """

    moment: Int[Tensor, ' D']
    square: Float[Tensor, 'D C 3']
    visible: Bool[Tensor, 'D C']
    sure: Bool[Tensor, ' D']
    counts: dict[str, int] = field(default_factory=dict)


@MODELS.register_module()
class AnimalSearch:
    """Find several animals by peaks of the map of centres, and tell by epipolar consistency who is who in which view.

    Every animal then has keypoint maps of its own, of the cells nearest to its centre; the views meet in space by
    these, and the points that they agree on are boxed. In a view that lacks an animal's peak, as one where two peaks
    have become one, its centre is where its place in space appears.

    Args:
        least: share of a map of centres below which a peak is none, for two animals; for N it is 2 / N of that.
        gate: how far a view's peak may be from where the others see the animal, a share of the image's side.
        margin: side of a box over the points' larger extent.
        min_confidence: of points that count.
        min_points: a view shows the animal if at least so many of the points lie in its image.
    """

    def __init__(
        self,
        least: float = 0.1,
        gate: float = 0.06,
        margin: float = 1.35,
        min_confidence: float = 0.2,
        min_points: int = 3,
    ) -> None:
        if not 0 < least < 1 or not 0 < gate < 1 or margin < 1 or min_points < 1:
            raise ValueError(
                'AnimalSearch: least and gate must be in (0, 1), margin and min_points at least 1; got '
                f'{least}, {gate}, {margin} and {min_points}.'
            )
        self.least, self.gate, self.margin = least, gate, margin
        self.min_confidence, self.min_points = min_confidence, min_points

    def __call__(
        self,
        logits: Float[Tensor, 'B C K h w'],
        centres: Float[Tensor, 'B C h w'],
        stride: float,
        cameras: Cameras,
        view_mask: Bool[Tensor, 'B C'],
        meet: MeetInSpace,
        most: int,
    ) -> DetectedAnimals:
        """Find up to `most` animals in each of B moments.

        Args:
            logits: of the keypoints, of a first look at whole images.
            centres: logits of the map of centres.
            stride: px a cell.
            cameras: of the images of this look.
            view_mask: which views there are.
            meet: lets views meet.
            most: how many animals there may be.
        """
        result, counts = [], {'animals_beyond_the_number': 0, 'peaks_of_no_animal': 0}
        for b in range(len(logits)):
            rig, mask = cameras.map(lambda x, b=b: x[b]), view_mask[b]
            places, matched, notes = self._places(centres[b], stride, rig, mask, most)
            for reason, count in notes.items():
                counts[reason] += count
            if len(places.centre):
                result.append((b, *self._boxes(logits[b], stride, rig, mask, meet, places), matched))
        C, device = view_mask.shape[1], logits.device
        if not result:
            none = torch.zeros(0, C, dtype=torch.bool, device=device)
            moment = torch.zeros(0, dtype=torch.long, device=device)
            return DetectedAnimals(moment, logits.new_zeros(0, C, 3), none, none[:, 0], counts)
        moments, squares, views, sures = zip(*result)
        moment = torch.cat([torch.full((len(s),), b, device=device) for b, s in zip(moments, sures)])
        return DetectedAnimals(moment, torch.cat(squares), torch.cat(views), torch.cat(sures), counts)

    def _places(
        self, centres: Float[Tensor, 'C h w'], stride: float, rig: Cameras, mask: Tensor, most: int
    ) -> tuple['_Places', Bool[Tensor, ' A'], dict[str, int]]:
        """Find the animals' centres in the views of one moment, the ones that most views see first."""
        # One more than there may be, to tell that there are too many.
        px, share = find_centres(centres, stride, most + 1, self.least * min(1.0, 2 / most))
        share = share * mask.unsqueeze(-1)
        size = float(rig.size[mask].max()) if mask.any() else 1.0
        if int(mask.sum()) < 2:
            places, sure = _alone(px, share)
        else:
            gate = self.gate * size
            # Of n views one exchanged detection counts for 1 / n in the mean.
            matched = match_views(
                px.unsqueeze(2), share.unsqueeze(2), rig, gate, sure_px=gate / int(mask.sum())
            )
            places, sure = _in_space(px, matched, rig, mask), matched.sure
        used = int((places.index >= 0).sum())
        notes = {
            'animals_beyond_the_number': max(0, len(sure) - most),
            'peaks_of_no_animal': int((share > 0).sum()) - used,
        }
        return places[:most], sure[:most], notes

    def _boxes(
        self,
        logits: Float[Tensor, 'C K h w'],
        stride: float,
        rig: Cameras,
        mask: Bool[Tensor, ' C'],
        meet: MeetInSpace,
        places: '_Places',
    ) -> tuple[Float[Tensor, 'A C 3'], Bool[Tensor, 'A C']]:
        """Box each animal by the keypoints around its centre."""
        n = len(places.centre)
        own = part_by_nearest(logits, stride, places.centre, places.visible)
        cameras = rig.map(lambda x: x.expand(n, *x.shape))
        views = mask.expand(n, -1) & places.visible
        points = meet(own, stride, cameras, views, prior=1.0)
        boxes = boxes_around(points, cameras, views, self.margin, self.min_confidence, self.min_points)
        return boxes.square, boxes.visible


@dataclass(frozen=True)
class _Places:
    """Centres (px) of A animals in C views, where they are seen, and the peaks that say so (-1 for none)."""

    centre: Float[Tensor, 'A C 2']
    visible: Bool[Tensor, 'A C']
    index: Int[Tensor, 'A C']

    def __getitem__(self, rows: slice) -> '_Places':
        return _Places(self.centre[rows], self.visible[rows], self.index[rows])


def _in_space(px: Float[Tensor, 'C M 2'], matched: MatchedAnimals, rig: Cameras, mask: Tensor) -> _Places:
    """Take the matched peaks, and where a view has none the image of the point that the others see."""
    peaks = px[torch.arange(len(px), device=px.device), matched.index.clamp_min(0)]
    image, _, valid = rig.project(matched.points[:, 0])
    image, valid = image.transpose(0, 1), valid.transpose(0, 1)
    inside = ((image > -0.5) & (image < rig.size - 0.5)).all(-1) & valid
    own = matched.index >= 0
    return _Places(torch.where(own.unsqueeze(-1), peaks, image), (own | inside) & mask, matched.index)


def _alone(px: Float[Tensor, 'C M 2'], share: Float[Tensor, 'C M']) -> tuple[_Places, Bool[Tensor, ' A']]:
    """Take every peak of the one view that there is for an animal, the greatest share first."""
    view, peak = (share > 0).nonzero().unbind(-1)
    order = share[view, peak].argsort(descending=True)
    view, peak = view[order], peak[order]
    rows = torch.arange(len(view), device=px.device)
    index = torch.full((len(view), len(px)), -1, dtype=torch.long, device=px.device)
    index[rows, view] = peak
    centre = px.new_zeros(len(view), len(px), 2)
    centre[rows, view] = px[view, peak]
    return _Places(centre, index >= 0, index), torch.ones_like(rows, dtype=torch.bool)


def without_twins(
    moment: Int[Tensor, ' D'],
    points: Float[Tensor, 'D K 3'],
    confidence: Float[Tensor, 'D K'],
    least: float,
) -> Bool[Tensor, ' D']:
    """Return which animals to keep where two of one moment are one: the one that is seen better.

    Args:
        moment: of which moment each is.
        points: in space.
        confidence: of the points.
        least: RMS distance of the points of two animals below which they are one, world unit.
    """
    weight = confidence.unsqueeze(1) * confidence
    square = (points.unsqueeze(1) - points).square().sum(-1)
    far = ((weight * square).sum(-1) / weight.sum(-1).clamp_min(1e-9)).sqrt()
    same = (far < least) & (moment.unsqueeze(1) == moment) & (weight.sum(-1) > 0)
    keep = torch.ones_like(moment, dtype=torch.bool)
    for i in confidence.sum(1).argsort(descending=True).tolist():
        if keep[i]:
            others = same[i].clone()
            others[i] = False
            keep &= ~others
    return keep
