"""Which labels of two sides (left and right, or two animals) were taken for each other, in which view and frame."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.geometry.robust import GemanMcClure
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
        """Return float64 ones."""
        return IdealViews(self.K.double(), self.R.double(), self.t.double())

    @property
    def centres(self) -> Float[Tensor, 'C 3']:
        """Where they stand."""
        return -(self.R.transpose(-1, -2) @ self.t.unsqueeze(-1)).squeeze(-1)

    def rays(self, xy: Float[Tensor, '*n C S 2']) -> Float[Tensor, '*n C S 3']:
        """Return the unit direction in which each pixel looks."""
        ones = torch.ones_like(xy[..., :1])
        way = torch.cat((xy, ones), -1) @ torch.linalg.inv(self.K).transpose(-1, -2) @ self.R
        return way / way.norm(dim=-1, keepdim=True)

    def project(self, points: Float[Tensor, 'n 3']) -> tuple[Float[Tensor, 'n C 2'], Bool[Tensor, 'n C']]:
        """Return pixels of points in every view, and whether they lie in front of it."""
        image = torch.einsum('cij,nj->nci', self.K @ self.R, points)
        image = image + (self.K @ self.t.unsqueeze(-1)).squeeze(-1)
        front = image[..., 2] > 1e-9 * image.norm(dim=-1)
        depth = torch.where(front, image[..., 2], torch.ones_like(image[..., 2]))
        return image[..., :2] / depth.unsqueeze(-1), front


def assignments(count: int) -> Bool[Tensor, 'S C']:
    """List all ways in which so many views may be exchanged; the first is none, the last is all."""
    return (torch.arange(2**count).unsqueeze(1) >> torch.arange(count)) % 2 == 1


def saturating(distance: Tensor, sigma: Tensor | float, limit: float) -> Tensor:
    """Return `(d / sigma)^2` for small distances, at most `limit` (Geman-McClure)."""
    return GemanMcClure(limit**0.5)((distance / sigma).square())[0]


@dataclass(frozen=True)
class PairGeometry:
    """How well points in space explain both sides' labels, for every way of exchanging views.

    Args:
        views: the cameras.
        xy: of both sides (N, C, 2, 2), px of the ideal lens.
        visible: where there is a label (N, C, 2).
    """

    views: IdealViews
    xy: Float[Tensor, 'N C 2 2']
    visible: Bool[Tensor, 'N C 2']

    def distances(self) -> tuple[Tensor, Tensor, list[tuple[int, int]]]:
        """Place a point by every two views and side of each, and measure the way to all labels.

        Returns:
            Distances (N, pairs of views, 2, 2, C, 2) px, whether the point is known (N, pairs, 2, 2), and the pairs.
        """
        pairs = list(itertools.combinations(range(self.xy.shape[1]), 2))
        first, second = (torch.tensor(p) for p in zip(*pairs))
        way, centres = self.views.rays(self.xy), self.views.centres
        a, b = way[:, first].unsqueeze(3), way[:, second].unsqueeze(2)
        baseline = (centres[second] - centres[first])[None, :, None, None]
        # The middle of where both rays are nearest to each other.
        cosine = (a * b).sum(-1)
        along_a, along_b = (a * baseline).sum(-1), (b * baseline).sum(-1)
        sine2 = (1 - cosine.square()).clamp_min(1e-12)
        s = (along_a - cosine * along_b) / sine2
        r = (cosine * along_a - along_b) / sine2
        point = 0.5 * (
            centres[first][None, :, None, None]
            + s.unsqueeze(-1) * a
            + centres[second][None, :, None, None]
            + r.unsqueeze(-1) * b
        )
        known = self.visible[:, first].unsqueeze(3) & self.visible[:, second].unsqueeze(2)
        known = known & (sine2 > MIN_ANGLE**2) & (s > 0) & (r > 0)
        pixels, front = self.views.project(point.flatten(0, -2))
        pixels = pixels.reshape(*point.shape[:-1], -1, 2)
        valid = self.xy[:, None, None, None]
        far = (pixels.unsqueeze(-2) - valid).norm(dim=-1)
        far = torch.where(front.reshape(pixels.shape[:-1]).unsqueeze(-1), far, torch.inf)
        return far, known, pairs

    def costs(self, sigma: Float[Tensor, ' C'], limit: float) -> Float[Tensor, 'N S']:
        """Return the cost of every assignment (`assignments`), in squared sigmas, at most `limit` a label.

        A label that no other view is compared with costs `_UNCOMPARED`: neither to part labels nor to join them pays
        by itself.
        """
        far, known, pairs = self.distances()
        cost = saturating(far, sigma[:, None], limit).nan_to_num(limit, limit, limit)
        cost = torch.where(self.visible[:, None, None, None], cost, 0.0)
        ways = assignments(self.xy.shape[1]).long()
        views = torch.arange(ways.shape[1])
        side = torch.full((len(cost), len(ways)), torch.inf, dtype=cost.dtype)
        for p, (i, j) in enumerate(pairs):
            # What view i gives to this side and what view j does, then all views' labels of this side.
            own = cost[:, p][:, ways[:, i, None], ways[:, j, None], views, ways].sum(-1)
            side = torch.minimum(side, torch.where(known[:, p][:, ways[:, i], ways[:, j]], own, torch.inf))
        count = self.visible[:, views, ways].sum(-1)
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
    visible, usable = geometry.visible.transpose(1, 2), known[:, :, sides, sides].transpose(1, 2)
    own = torch.where(visible.unsqueeze(2), own, torch.nan)
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
    visible: Bool[Tensor, 'B C P 2'],
    sigma: Float[Tensor, ' C'],
    limit: float,
) -> Float[Tensor, 'B P S']:
    """Return the costs of all assignments of each pair and frame."""
    flat, valid = xy.transpose(1, 2).flatten(0, 1), visible.transpose(1, 2).flatten(0, 1)
    parts = [
        PairGeometry(views, own, mask).costs(sigma, limit).float()
        for own, mask in zip(flat.split(_AT_ONCE), valid.split(_AT_ONCE))
    ]
    return torch.cat(parts).reshape(len(xy), xy.shape[2], -1)


def step_lengths(
    xy: Float[Tensor, 'B C P 2 D'], visible: Bool[Tensor, 'B C P 2'], following: Bool[Tensor, ' b']
) -> tuple[Float[Tensor, 'b C P 2 2'], Bool[Tensor, 'b C P 2']]:
    """Measure how far labels are from those of the frame before, both as given and exchanged.

    Returns:
        (frames - 1, C, P, [as given, exchanged], side), and where they can be compared: in the frame before both
        sides were seen.
    """
    before, after = xy[:-1], xy[1:]
    same = (after - before).norm(dim=-1)
    crossed = (after - before.flip(-2)).norm(dim=-1)
    compared = visible[1:] & visible[:-1].all(-1, keepdim=True) & following[:, None, None, None]
    return torch.stack((same, crossed), -2), compared


def motion_costs(
    steps: Float[Tensor, 'b C P 2 2'], compared: Bool[Tensor, 'b C P 2'], least: Tensor, limit: float
) -> Float[Tensor, 'b C P 2']:
    """Return what steps cost as given and exchanged, in squared sd of the usual step, at most `limit` a label.

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


# All combinations of so many views are tried; each further view is then held against the best seen of these.
MOST_TRIED = 5
# A first guess of what labels miss by, px: half the labels may be farther off (as `consistency` has it).
_FIRST_NOISE_PX = 16.0
# Labels of both sides that are so many sd of their noise apart or less are hardly told from exchanged ones.
_NEAR = 4.0
# Where a smaller share of the labels that are farther apart is exchanged, near ones are taken for noise.
_FEW = 0.01
# More frames than this tell no more of the noise.
_NOISE_FRAMES = 300


@dataclass(frozen=True)
class SwapCosts:
    """What it costs to take labels for the other side's, beside how well they then agree; in squared sd of the noise.

    Measured on a real mouse with exchanged labels (docs/benchmarks.md): twice or half of each changes little.

    Args:
        limit: most that one label can miss by in one view; a wrong label costs no more.
        motion_limit: most that one label can miss by from frame to frame.
        exchanged: a view whose labels are exchanged, in each frame.
        change: a view that begins or ends to be exchanged.
        least_noise_px: what labels miss by at least, where several views tell.
    """

    limit: float = 9.0
    motion_limit: float = 9.0
    exchanged: float = 1.0
    change: float = 1.0
    least_noise_px: float = 1.0


@dataclass(frozen=True)
class SidePairs:
    """Labels of two sides in all frames and views.

    Args:
        xy: points (B, C, P, 2, D) of P pairs: px of ideal lenses, or of points in space (C = 1, D = 3).
        visible: where there is a point (B, C, P, 2).
        views: the cameras; None where motion alone tells.
        following: which frames follow the one before (B - 1).
    """

    xy: Float[Tensor, 'B C P 2 D']
    visible: Bool[Tensor, 'B C P 2']
    views: IdealViews | None
    following: Bool[Tensor, ' b']

    @classmethod
    def of(
        cls,
        points: Float[Tensor, 'B C K D'],
        visible: Bool[Tensor, 'B C K'],
        left: Int[Tensor, ' P'],
        right: Int[Tensor, ' P'],
        views: IdealViews | None = None,
        frames: Tensor | None = None,
    ) -> 'SidePairs':
        """Take the pairs out of all points.

        Args:
            points: as of the class.
            visible: where there is a point.
            left: numbers of the points of one side.
            right: those of the other side, in the same order.
            views: the cameras.
            frames: the frames' numbers; they follow one another if None. Those farther apart than usual do not.
        """
        index = torch.stack((left, right), -1).to(points.device)
        visible = visible & points.isfinite().all(-1)
        xy = torch.where(visible.unsqueeze(-1), points, 0.0).detach().double()
        gaps = torch.ones(max(len(points) - 1, 0)) if frames is None else frames.cpu().diff()
        following = gaps <= gaps.median() if len(gaps) else gaps.bool()
        if views is not None:
            # One view has its motion alone.
            views = None if points.shape[1] < 2 else views.double()
        return cls(xy[:, :, index].cpu(), visible[:, :, index].cpu(), views, following)

    def groupings(self, *between: Int[Tensor, ' P']) -> list[Int[Tensor, ' P']]:
        """Group all pairs together, then as is said, then each by itself."""
        count = self.visible.shape[2]
        return [torch.zeros(count, dtype=torch.long), *between, torch.arange(count)]

    def take_views(self, index: Tensor) -> 'SidePairs':
        """Pick views."""
        views = self.views
        picked = None if views is None else IdealViews(views.K[index], views.R[index], views.t[index])
        return replace(self, xy=self.xy[:, index], visible=self.visible[:, index], views=picked)

    def exchanged(self, mask: Bool[Tensor, 'B C P']) -> 'SidePairs':
        """Exchange both sides where a mask says so."""
        flip = mask.unsqueeze(-1)
        xy = torch.where(flip.unsqueeze(-1), self.xy.flip(-2), self.xy)
        return replace(self, xy=xy, visible=torch.where(flip, self.visible.flip(-1), self.visible))


def find_swaps(
    pairs: SidePairs, groupings: Sequence[Int[Tensor, ' P']] | None = None, costs: SwapCosts | None = None
) -> Bool[Tensor, 'B C P']:
    """Return where both sides of a pair are exchanged, view by view.

    The cheapest path through all frames (Viterbi 1967) over all ways of exchanging views. A way costs what labels
    miss points in space by, placed by the two views that explain them best, and what they move by since the frame
    before; both are bounded. Pairs of a group are exchanged together, as a detector mistakes a whole animal or a
    limb, in each of the groupings in turn.

    Pairs of which a view has one side alone stay as they are unless two other views have both; pairs whose labels lie
    as near to each other as noise puts them stay where next to no others are exchanged.

    Where all views are exchanged alike, motion alone tells: stretches that are short beside the rest are found, a
    whole clip is not. A single view has its motion alone too.

    Args:
        pairs: the labels.
        groupings: numbers of the groups that pairs belong to, from 0, largest groups first; all pairs together and
            then each by itself if None.
        costs: what an exchange costs.
    """
    costs = costs or SwapCosts()
    groupings = pairs.groupings() if groupings is None else groupings
    n_views = pairs.xy.shape[1]
    if n_views <= MOST_TRIED:
        return _find(pairs, groupings, costs)
    order = pairs.visible.sum((0, 2, 3)).argsort(descending=True, stable=True)
    first, rest = order[:MOST_TRIED], order[MOST_TRIED:]
    mask = torch.zeros(pairs.visible.shape[:3], dtype=torch.bool)
    mask[:, first] = _find(pairs.take_views(first), groupings, costs)
    mended = pairs.exchanged(mask)
    for c in rest:
        beside = mended.take_views(torch.cat((first[:-1], c[None])))
        mask[:, c] = _find(beside, groupings, costs)[:, -1]
    return mask


def _find(pairs: SidePairs, groupings: Sequence[Tensor], costs: SwapCosts) -> Tensor:
    n_frames, n_views, n_pairs = pairs.visible.shape[:3]
    mask = torch.zeros(n_frames, n_views, n_pairs, dtype=torch.bool)
    if not n_frames or not n_pairs:
        return mask
    noise = _noise(pairs, costs)
    energy, motion = _energies(pairs, noise, costs)
    ways = assignments(n_views)
    for grouping in groupings:
        count = int(grouping.max()) + 1
        now, steps = _after(energy, mask), _steps_after(motion, mask)
        now = now.new_zeros(n_frames, count, now.shape[-1]).index_add(1, grouping, now)
        steps = steps.new_zeros(len(steps), n_views, count, 2).index_add(2, grouping, steps)
        path = _cheapest_path(now, steps, ways, pairs.following, costs)
        mask = mask ^ ways[path].transpose(1, 2)[:, :, grouping]
    # What nobody saw is not exchanged.
    return _without_noise(pairs, mask & pairs.visible.any(-1), noise)


def _without_noise(pairs: SidePairs, mask: Tensor, noise: Tensor) -> Tensor:
    """Leave pairs as they are where labels hardly tell: one side alone, or both nearly in one place.

    One side alone is told only by two other views that have both. Labels near to each other count where more than a
    few others are exchanged. Where all pairs of a view and frame that do tell are exchanged, the others are too.
    """
    distance = (pairs.xy[..., 0, :] - pairs.xy[..., 1, :]).norm(dim=-1)
    both = pairs.visible.all(-1)
    separate = both & (distance > _NEAR * noise[:, None])
    elsewhere = both.sum(1, keepdim=True) - both.long()
    notes = separate | (~both & pairs.visible.any(-1) & (elsewhere >= min(2, both.shape[1] - 1)))
    whole = notes.any(-1, keepdim=True) & (mask | ~notes).all(-1, keepdim=True)
    few = int((mask & separate).sum()) < _FEW * max(int(separate.sum()), 1)
    return mask & (notes | whole | (both & (not few)))


def _noise(pairs: SidePairs, costs: SwapCosts) -> Tensor:
    """Return the sd of each view's labels (C,), px; 0 where views are not compared."""
    if pairs.views is None:
        return torch.zeros(pairs.visible.shape[1], dtype=torch.float64)
    some = slice(None, None, -(-len(pairs.visible) // _NOISE_FRAMES))
    xy, visible = (x[some].transpose(1, 2).flatten(0, 1) for x in (pairs.xy, pairs.visible))
    return noise_of_views(PairGeometry(pairs.views, xy, visible), _FIRST_NOISE_PX, costs.least_noise_px)


def _energies(pairs: SidePairs, noise: Tensor, costs: SwapCosts) -> tuple[Tensor, Tensor]:
    """Return geometry's costs (B, P, S), and those of motion (B - 1, C, P, 2) as given and exchanged since."""
    n_frames, n_views, n_pairs = pairs.visible.shape[:3]
    if pairs.views is None:
        energy = torch.zeros(n_frames, n_pairs, 2**n_views)
    else:
        energy = geometry_costs(pairs.views, pairs.xy, pairs.visible, noise, costs.limit)
    steps, compared = step_lengths(pairs.xy, pairs.visible, pairs.following)
    return energy, motion_costs(steps, compared, noise.clamp_min(1e-9), costs.motion_limit)


def _after(energy: Tensor, mask: Tensor) -> Tensor:
    """Number the ways of each pair anew, from what is exchanged already."""
    code = (mask.transpose(1, 2).long() << torch.arange(mask.shape[1])).sum(-1)
    return energy.gather(-1, torch.arange(energy.shape[-1]) ^ code.unsqueeze(-1))


def _steps_after(motion: Tensor, mask: Tensor) -> Tensor:
    """Return steps between labels of which some are exchanged already."""
    return torch.where((mask[1:] ^ mask[:-1]).unsqueeze(-1), motion.flip(-1), motion)


def _cheapest_path(
    energy: Float[Tensor, 'B G S'],
    motion: Float[Tensor, 'b C G 2'],
    ways: Bool[Tensor, 'S C'],
    following: Bool[Tensor, ' b'],
    costs: SwapCosts,
) -> Int[Tensor, 'B G']:
    """Find each group's way in every frame."""
    n_frames, n_groups, n_states = energy.shape
    count, other = ways.sum(1).to(energy), ways.to(energy)
    here = energy + costs.exchanged * count
    # What it costs where these views change: their labels are held against the other side's of the frame before.
    changes = torch.einsum('bcg,sc->bgs', motion[..., 0], 1 - other)
    changes = changes + torch.einsum('bcg,sc->bgs', motion[..., 1], other)
    changes = changes + costs.change * count * following[:, None, None]
    changed = torch.arange(n_states).unsqueeze(1) ^ torch.arange(n_states)
    total = here[0]
    came_from = torch.empty(max(n_frames - 1, 0), n_groups, n_states, dtype=torch.uint8)
    for b in range(n_frames - 1):
        best = (total.unsqueeze(1) + changes[b][:, changed]).min(-1)
        total = best.values + here[b + 1]
        came_from[b] = best.indices
    path = torch.empty(n_frames, n_groups, dtype=torch.long)
    path[-1] = total.argmin(-1)
    for b in range(n_frames - 2, -1, -1):
        path[b] = came_from[b].gather(-1, path[b + 1].unsqueeze(-1)).squeeze(-1)
    return path
