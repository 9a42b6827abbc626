"""What it costs to take a pair of labels as given or exchanged, in each view: by geometry and by motion."""

import itertools
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.geometry.triangulation import MIN_ANGLE

# Pairs of points are scored so many at a time.
_AT_ONCE = 20_000
# A label misses points that other views have placed by its own noise and by theirs; this share is its own.
_OWN_SHARE = 0.5
# While noise is estimated a label misses by no more than this, in squared sd.
_NOISE_LIMIT = 9.0
# Motion tells sides apart if the other side's label of the frame before lies so many times as far as the own one.
TELLING = 1.5
# A label that no other view is compared with costs what a right one does: the mean square of a normal vector in 2D.
_UNCOMPARED = 2.0
# … and fewer steps of labels than this say neither.
LEAST_STEPS = 20


@dataclass(frozen=True)
class IdealViews:
    """Cameras without distortion (C of them): `u = K (R x + t)`."""

    K: Float[Tensor, 'C 3 3']
    R: Float[Tensor, 'C 3 3']
    t: Float[Tensor, 'C 3']

    def double(self) -> 'IdealViews':
        """Give float64 ones."""
        return IdealViews(self.K.double(), self.R.double(), self.t.double())

    @property
    def centres(self) -> Float[Tensor, 'C 3']:
        """Where they stand."""
        return -(self.R.transpose(-1, -2) @ self.t.unsqueeze(-1)).squeeze(-1)

    def rays(self, xy: Float[Tensor, '*n C S 2']) -> Float[Tensor, '*n C S 3']:
        """Give the unit direction in which each pixel looks."""
        ones = torch.ones_like(xy[..., :1])
        way = torch.cat((xy, ones), -1) @ torch.linalg.inv(self.K).transpose(-1, -2) @ self.R
        return way / way.norm(dim=-1, keepdim=True)

    def project(self, points: Float[Tensor, 'n 3']) -> tuple[Float[Tensor, 'n C 2'], Bool[Tensor, 'n C']]:
        """Give pixels of points in every view, and whether they lie in front of it."""
        image = torch.einsum('cij,nj->nci', self.K @ self.R, points)
        image = image + (self.K @ self.t.unsqueeze(-1)).squeeze(-1)
        front = image[..., 2] > 1e-9 * image.norm(dim=-1)
        depth = torch.where(front, image[..., 2], torch.ones_like(image[..., 2]))
        return image[..., :2] / depth.unsqueeze(-1), front


def assignments(count: int) -> Bool[Tensor, 'S C']:
    """List all ways in which so many views may be exchanged; the first is none, the last is all."""
    return (torch.arange(2**count).unsqueeze(1) >> torch.arange(count)) % 2 == 1


def saturating(distance: Tensor, sigma: Tensor | float, limit: float) -> Tensor:
    """Give `(d / sigma)^2` for small distances, at most `limit` (Geman-McClure)."""
    squared = (distance / sigma).square()
    return limit * squared / (limit + squared)


@dataclass(frozen=True)
class PairGeometry:
    """How well points in space explain both sides' labels, for every way of exchanging views.

    Args:
        views: the cameras.
        xy: of both sides (N, C, 2, 2), px of the ideal lens.
        seen: where there is a label (N, C, 2).
    """

    views: IdealViews
    xy: Float[Tensor, 'N C 2 2']
    seen: Bool[Tensor, 'N C 2']

    def distances(self) -> tuple[Tensor, Tensor, list[tuple[int, int]]]:
        """Place a point by every two views and side of each, and measure the way to all labels.

        Returns:
            Distances (N, pairs of views, 2, 2, C, 2) px, whether the point is known (N, pairs, 2, 2), and the pairs.
        """
        pairs = list(itertools.combinations(range(self.xy.shape[1]), 2))
        first, second = (torch.tensor(p) for p in zip(*pairs))
        way, centres = self.views.rays(self.xy), self.views.centres
        a, b = way[:, first].unsqueeze(3), way[:, second].unsqueeze(2)
        apart = (centres[second] - centres[first])[None, :, None, None]
        # The middle of where both rays are nearest to each other.
        cosine = (a * b).sum(-1)
        along_a, along_b = (a * apart).sum(-1), (b * apart).sum(-1)
        sine2 = (1 - cosine.square()).clamp_min(1e-12)
        s = (along_a - cosine * along_b) / sine2
        r = (cosine * along_a - along_b) / sine2
        point = 0.5 * (
            centres[first][None, :, None, None]
            + s.unsqueeze(-1) * a
            + centres[second][None, :, None, None]
            + r.unsqueeze(-1) * b
        )
        known = self.seen[:, first].unsqueeze(3) & self.seen[:, second].unsqueeze(2)
        known = known & (sine2 > MIN_ANGLE**2) & (s > 0) & (r > 0)
        pixels, front = self.views.project(point.flatten(0, -2))
        pixels = pixels.reshape(*point.shape[:-1], -1, 2)
        there = self.xy[:, None, None, None]
        far = (pixels.unsqueeze(-2) - there).norm(dim=-1)
        far = torch.where(front.reshape(pixels.shape[:-1]).unsqueeze(-1), far, torch.inf)
        return far, known, pairs

    def costs(self, sigma: Float[Tensor, ' C'], limit: float) -> Float[Tensor, 'N S']:
        """Give the cost of every assignment (`assignments`), in squared sigmas, at most `limit` a label.

        A label that no other view is compared with costs `_UNCOMPARED`: neither to part labels nor to join them pays
        by itself.
        """
        far, known, pairs = self.distances()
        cost = saturating(far, sigma[:, None], limit).nan_to_num(limit, limit, limit)
        cost = torch.where(self.seen[:, None, None, None], cost, 0.0)
        ways = assignments(self.xy.shape[1]).long()
        views = torch.arange(ways.shape[1])
        side = torch.full((len(cost), len(ways)), torch.inf, dtype=cost.dtype)
        for p, (i, j) in enumerate(pairs):
            # What view i gives to this side and what view j does, then all views' labels of this side.
            own = cost[:, p][:, ways[:, i, None], ways[:, j, None], views, ways].sum(-1)
            side = torch.minimum(side, torch.where(known[:, p][:, ways[:, i], ways[:, j]], own, torch.inf))
        count = self.seen[:, views, ways].sum(-1)
        side = torch.where(side.isfinite(), side, _UNCOMPARED * count)
        # The other side has what this one has not.
        return side + side.flip(1)


def noise_of_views(
    geometry: PairGeometry, start: float, least: float, n_rounds: int = 3
) -> Float[Tensor, ' C']:
    """Estimate what labels of each view miss by (sd, px), from the two views that explain a pair's side best."""
    far, known, pairs = geometry.distances()
    n_views = far.shape[-2]
    sides = torch.arange(2)
    own = far[:, :, sides, sides].permute(0, 2, 1, 3, 4)[:, sides, :, :, sides].transpose(0, 1)
    seen, usable = geometry.seen.transpose(1, 2), known[:, :, sides, sides].transpose(1, 2)
    own = torch.where(seen.unsqueeze(2), own, torch.nan)
    sigma = torch.full((n_views,), start, dtype=far.dtype)
    # A point that a view has placed itself lies near its label whatever that is worth.
    placed_by = torch.tensor([[c in pair for c in range(n_views)] for pair in pairs])
    for _ in range(n_rounds):
        cost = saturating(own, sigma, _NOISE_LIMIT).nan_to_num(0.0).sum(-1)
        missed = []
        for c in range(n_views):
            others = usable & ~placed_by[:, c] if n_views > 2 else usable
            best = torch.where(others, cost, torch.inf).argmin(2, keepdim=True)
            missed.append(torch.where(others.any(2), own[..., c].gather(2, best).squeeze(2), torch.nan))
        median = torch.stack(missed, -1).flatten(0, 1).nanmedian(0).values
        # The median length of a two-dimensional normal vector is 1.18 sd.
        sigma = (_OWN_SHARE * median / 1.18).nan_to_num(start).clamp_min(least)
    return sigma


def geometry_costs(
    views: IdealViews,
    xy: Float[Tensor, 'B C P 2 2'],
    seen: Bool[Tensor, 'B C P 2'],
    sigma: Float[Tensor, ' C'],
    limit: float,
) -> Float[Tensor, 'B P S']:
    """Give the costs of all assignments of each pair and frame."""
    flat, there = xy.transpose(1, 2).flatten(0, 1), seen.transpose(1, 2).flatten(0, 1)
    parts = [
        PairGeometry(views, own, mask).costs(sigma, limit).float()
        for own, mask in zip(flat.split(_AT_ONCE), there.split(_AT_ONCE))
    ]
    return torch.cat(parts).reshape(len(xy), xy.shape[2], -1)


def step_lengths(
    xy: Float[Tensor, 'B C P 2 D'], seen: Bool[Tensor, 'B C P 2'], following: Bool[Tensor, ' b']
) -> tuple[Float[Tensor, 'b C P 2 2'], Bool[Tensor, 'b C P 2']]:
    """Measure how far labels are from those of the frame before, both as given and exchanged.

    Returns:
        (frames - 1, C, P, [as given, exchanged], side), and where they can be compared: in the frame before both
        sides were seen.
    """
    before, after = xy[:-1], xy[1:]
    same = (after - before).norm(dim=-1)
    crossed = (after - before.flip(-2)).norm(dim=-1)
    compared = seen[1:] & seen[:-1].all(-1, keepdim=True) & following[:, None, None, None]
    return torch.stack((same, crossed), -2), compared


def motion_costs(
    steps: Float[Tensor, 'b C P 2 2'], compared: Bool[Tensor, 'b C P 2'], least: Tensor, limit: float
) -> Float[Tensor, 'b C P 2']:
    """Give what steps cost as given and exchanged, in squared sd of the usual step, at most `limit` a label.

    Where labels move about as far from frame to frame as both sides lie apart, motion says nothing and costs nothing.
    """
    if not len(steps):
        return steps.new_zeros(steps.shape[:-1]).float()
    known = torch.where(compared.unsqueeze(-2), steps, torch.nan)
    # The sd: nine of ten are shorter than 1.65 times it, whichever side's label they lead to.
    shorter = known.amin(-2).permute(1, 2, 0, 3).flatten(2)
    # Quantiles of very many numbers are refused by torch, and no more certain.
    shorter = shorter[..., :: -(-shorter.shape[-1] // 10_000)]
    scale = torch.maximum((shorter.nanquantile(0.9, -1) / 1.65).nan_to_num(0.0), least.unsqueeze(1))
    same, crossed = known.permute(3, 1, 2, 0, 4).flatten(3).nanmedian(-1).values
    tells = (crossed > TELLING * same) & (compared.sum((0, 3)) >= LEAST_STEPS)
    cost = saturating(steps, scale[:, :, None, None], limit)
    return torch.where(compared.unsqueeze(-2) & tells[:, :, None, None], cost, 0.0).sum(-1).float()
