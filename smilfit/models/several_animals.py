"""Several animals in the images of a moment: where each is in every view, from a first look at the whole of them."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.models.animal_boxes import boxes_around, part_by_nearest
from smilfit.models.consensus import MeetInSpace
from smilfit.models.view_matching import MatchedAnimals, find_centres, match_views
from smilfit.registry import MODELS
from smilfit.structures import Cameras


@dataclass(frozen=True)
class FoundAnimals:
    """D animals in the views of B moments, those of one moment one after the other.

    Args:
        moment: of which moment each is.
        square: boxes (x, y, side) px of the images of the first look.
        there: which views show it.
        sure: False where the views' detections could be paired otherwise nearly as well.
        counts: what was left out, by reason.
    """

    moment: Int[Tensor, ' D']
    square: Float[Tensor, 'D C 3']
    there: Bool[Tensor, 'D C']
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
    ) -> FoundAnimals:
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
        found, counts = [], {'animals_beyond_the_number': 0, 'peaks_of_no_animal': 0}
        for b in range(len(logits)):
            rig, mask = cameras.map(lambda x, b=b: x[b]), view_mask[b]
            places, matched, told = self._places(centres[b], stride, rig, mask, most)
            for reason, count in told.items():
                counts[reason] += count
            if len(places.centre):
                found.append((b, *self._boxes(logits[b], stride, rig, mask, meet, places), matched))
        C, device = view_mask.shape[1], logits.device
        if not found:
            none = torch.zeros(0, C, dtype=torch.bool, device=device)
            moment = torch.zeros(0, dtype=torch.long, device=device)
            return FoundAnimals(moment, logits.new_zeros(0, C, 3), none, none[:, 0], counts)
        moments, squares, theres, sures = zip(*found)
        moment = torch.cat([torch.full((len(s),), b, device=device) for b, s in zip(moments, sures)])
        return FoundAnimals(moment, torch.cat(squares), torch.cat(theres), torch.cat(sures), counts)

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
        told = {
            'animals_beyond_the_number': max(0, len(sure) - most),
            'peaks_of_no_animal': int((share > 0).sum()) - used,
        }
        return places[:most], sure[:most], told

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
        own = part_by_nearest(logits, stride, places.centre, places.seen)
        cameras = rig.map(lambda x: x.expand(n, *x.shape))
        views = mask.expand(n, -1) & places.seen
        points = meet(own, stride, cameras, views, prior=1.0)
        boxes = boxes_around(points, cameras, views, self.margin, self.min_confidence, self.min_points)
        return boxes.square, boxes.there


@dataclass(frozen=True)
class _Places:
    """Centres (px) of A animals in C views, where they are seen, and the peaks that say so (-1 for none)."""

    centre: Float[Tensor, 'A C 2']
    seen: Bool[Tensor, 'A C']
    index: Int[Tensor, 'A C']

    def __getitem__(self, rows: slice) -> '_Places':
        return _Places(self.centre[rows], self.seen[rows], self.index[rows])


def _in_space(px: Float[Tensor, 'C M 2'], found: MatchedAnimals, rig: Cameras, mask: Tensor) -> _Places:
    """Take the matched peaks, and where a view has none the image of the point that the others see."""
    peaks = px[torch.arange(len(px), device=px.device), found.index.clamp_min(0)]
    image, _, valid = rig.project(found.points[:, 0])
    image, valid = image.transpose(0, 1), valid.transpose(0, 1)
    inside = ((image > -0.5) & (image < rig.size - 0.5)).all(-1) & valid
    own = found.index >= 0
    return _Places(torch.where(own.unsqueeze(-1), peaks, image), (own | inside) & mask, found.index)


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
    """Say which animals to keep where two of one moment are one: the one that is seen better.

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
