"""Which labels of two sides (left and right, or two animals) were taken for each other, in which view and frame."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.geometry.swap_costs import (
    IdealViews,
    PairGeometry,
    assignments,
    geometry_costs,
    motion_costs,
    noise_of_views,
    step_lengths,
)

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
        seen: where there is a point (B, C, P, 2).
        views: the cameras; None where motion alone tells.
        following: which frames follow the one before (B - 1).
    """

    xy: Float[Tensor, 'B C P 2 D']
    seen: Bool[Tensor, 'B C P 2']
    views: IdealViews | None
    following: Bool[Tensor, ' b']

    @classmethod
    def of(
        cls,
        points: Float[Tensor, 'B C K D'],
        seen: Bool[Tensor, 'B C K'],
        left: Int[Tensor, ' P'],
        right: Int[Tensor, ' P'],
        views: IdealViews | None = None,
        frames: Tensor | None = None,
    ) -> 'SidePairs':
        """Take the pairs out of all points.

        Args:
            points: as of the class.
            seen: where there is a point.
            left: numbers of the points of one side.
            right: those of the other side, in the same order.
            views: the cameras.
            frames: the frames' numbers; they follow one another if None. Those farther apart than usual do not.
        """
        index = torch.stack((left, right), -1).to(points.device)
        seen = seen & points.isfinite().all(-1)
        xy = torch.where(seen.unsqueeze(-1), points, 0.0).detach().double()
        gaps = torch.ones(max(len(points) - 1, 0)) if frames is None else frames.cpu().diff()
        following = gaps <= gaps.median() if len(gaps) else gaps.bool()
        if views is not None:
            # One view has its motion alone.
            views = None if points.shape[1] < 2 else views.double()
        return cls(xy[:, :, index].cpu(), seen[:, :, index].cpu(), views, following)

    def groupings(self, *between: Int[Tensor, ' P']) -> list[Int[Tensor, ' P']]:
        """Group all pairs together, then as is said, then each by itself."""
        count = self.seen.shape[2]
        return [torch.zeros(count, dtype=torch.long), *between, torch.arange(count)]

    def take_views(self, index: Tensor) -> 'SidePairs':
        """Pick views."""
        views = self.views
        picked = None if views is None else IdealViews(views.K[index], views.R[index], views.t[index])
        return replace(self, xy=self.xy[:, index], seen=self.seen[:, index], views=picked)

    def exchanged(self, mask: Bool[Tensor, 'B C P']) -> 'SidePairs':
        """Exchange both sides where a mask says so."""
        flip = mask.unsqueeze(-1)
        xy = torch.where(flip.unsqueeze(-1), self.xy.flip(-2), self.xy)
        return replace(self, xy=xy, seen=torch.where(flip, self.seen.flip(-1), self.seen))


def find_swaps(
    pairs: SidePairs, groupings: Sequence[Int[Tensor, ' P']] | None = None, costs: SwapCosts | None = None
) -> Bool[Tensor, 'B C P']:
    """Say where both sides of a pair are exchanged, view by view.

    The cheapest path through all frames (Viterbi 1967) over all ways of exchanging views. A way costs what labels
    miss points in space by, placed by the two views that explain them best, and what they move by since the frame
    before; both are bounded. Pairs of a group are exchanged together, as a detector mistakes a whole animal or a
    limb, in each of the groupings in turn.

    Pairs whose labels lie as near to each other as noise puts them stay as they are where next to no others are
    exchanged.

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
    order = pairs.seen.sum((0, 2, 3)).argsort(descending=True, stable=True)
    first, rest = order[:MOST_TRIED], order[MOST_TRIED:]
    mask = torch.zeros(pairs.seen.shape[:3], dtype=torch.bool)
    mask[:, first] = _find(pairs.take_views(first), groupings, costs)
    mended = pairs.exchanged(mask)
    for c in rest:
        beside = mended.take_views(torch.cat((first[:-1], c[None])))
        mask[:, c] = _find(beside, groupings, costs)[:, -1]
    return mask


def _find(pairs: SidePairs, groupings: Sequence[Tensor], costs: SwapCosts) -> Tensor:
    n_frames, n_views, n_pairs = pairs.seen.shape[:3]
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
    return _without_noise(pairs, mask & pairs.seen.any(-1), noise)


def _without_noise(pairs: SidePairs, mask: Tensor, noise: Tensor) -> Tensor:
    """Leave pairs as they are whose labels lie near to each other, where next to no others are exchanged.

    In a view and frame where all others are, they are too.
    """
    distance = (pairs.xy[..., 0, :] - pairs.xy[..., 1, :]).norm(dim=-1)
    both = pairs.seen.all(-1)
    apart = both & (distance > _NEAR * noise[:, None])
    if int((mask & apart).sum()) >= _FEW * max(int(apart.sum()), 1):
        return mask
    whole = apart.any(-1, keepdim=True) & (mask | ~apart).all(-1, keepdim=True)
    # One side alone is told by where the other views have both.
    return mask & (apart | ~both | whole)


def _noise(pairs: SidePairs, costs: SwapCosts) -> Tensor:
    """Give the sd of each view's labels (C,), px; 0 where views are not compared."""
    if pairs.views is None:
        return torch.zeros(pairs.seen.shape[1], dtype=torch.float64)
    some = slice(None, None, -(-len(pairs.seen) // _NOISE_FRAMES))
    xy, seen = (x[some].transpose(1, 2).flatten(0, 1) for x in (pairs.xy, pairs.seen))
    return noise_of_views(PairGeometry(pairs.views, xy, seen), _FIRST_NOISE_PX, costs.least_noise_px)


def _energies(pairs: SidePairs, noise: Tensor, costs: SwapCosts) -> tuple[Tensor, Tensor]:
    """Give geometry's costs (B, P, S), and those of motion (B - 1, C, P, 2) as given and exchanged since."""
    n_frames, n_views, n_pairs = pairs.seen.shape[:3]
    if pairs.views is None:
        energy = torch.zeros(n_frames, n_pairs, 2**n_views)
    else:
        energy = geometry_costs(pairs.views, pairs.xy, pairs.seen, noise, costs.limit)
    steps, compared = step_lengths(pairs.xy, pairs.seen, pairs.following)
    return energy, motion_costs(steps, compared, noise.clamp_min(1e-9), costs.motion_limit)


def _after(energy: Tensor, mask: Tensor) -> Tensor:
    """Number the ways of each pair anew, from what is exchanged already."""
    code = (mask.transpose(1, 2).long() << torch.arange(mask.shape[1])).sum(-1)
    return energy.gather(-1, torch.arange(energy.shape[-1]) ^ code.unsqueeze(-1))


def _steps_after(motion: Tensor, mask: Tensor) -> Tensor:
    """Give steps between labels of which some are exchanged already."""
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
