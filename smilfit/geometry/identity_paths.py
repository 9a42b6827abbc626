"""Which track is which animal in every view and frame, all animals at once: by epipolar lines and by motion."""

import itertools
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.geometry.side_swaps import LEAST_STEPS, TELLING, IdealViews, saturating

# All orders of so many animals are tried in every frame.
MOST_ANIMALS = 5
# Most that one label can miss by, in squared sd; what a label costs that is compared with nothing.
_LIMIT, _UNCOMPARED = 9.0, 1.0
# What it costs in each frame that two tracks of a view are other animals than stated; and to begin or end that.
_EXCHANGED, _CHANGE = 1.0, 1.0
_LEAST_PX = 1.0
# Median of the absolute value of a normal variable, in sd; nine of ten lengths in 2D are below so many sd.
_MEDIAN, _NINE_OF_TEN = 0.6745, 2.15
_N_ROUNDS = 3


@dataclass(frozen=True)
class TrackCosts:
    """What it costs to take tracks for the same animal.

    Args:
        between: by pair of views (first, second), (B, n, n): a track of the first view, a track of the second one.
        steps: (C, B - 1, n, n): a track in a frame, and a track in the next frame.
    """

    between: dict[tuple[int, int], Float[Tensor, 'B n n']]
    steps: Float[Tensor, 'C b n n']

    @classmethod
    def of(
        cls, views: IdealViews, xy: Float[Tensor, 'n B C K 2'], visible: Bool[Tensor, 'n B C K']
    ) -> 'TrackCosts':
        """Compare all tracks with one another.

        Args:
            views: the cameras.
            xy: px of ideal lenses.
            visible: where there is a label.
        """
        n_views = xy.shape[2]
        pairs = itertools.combinations(range(n_views), 2)
        between = {(c, d): _between(views, (c, d), xy, visible) for c, d in pairs}
        return cls(between, torch.stack([_steps(xy[:, :, c], visible[:, :, c]) for c in range(n_views)]))

    def of_view(self, view: int, order: Int[Tensor, 'C B n'], others: list[int]) -> Float[Tensor, 'B n n']:
        """Return what it costs that an animal is a track of a view, by which tracks of other views it is."""
        total = torch.zeros_like(next(iter(self.between.values())))
        for d in others:
            table = self.between[d, view] if d < view else self.between[view, d].transpose(1, 2)
            total = total + table.gather(1, order[d].unsqueeze(-1).expand_as(table))
        return total


def find_identities(costs: TrackCosts, n_labels: Int[Tensor, ' C']) -> Int[Tensor, 'C B n']:
    """Return which track is each animal in every view and frame.

    The search starts from the tracks as given, and from each view matched to those before it, frame by frame, so that
    all name the animals as the view with the most labels does. In turn every view is looked at beside the others, by
    views and by motion, and all views at once by motion. Each is the cheapest path through all frames (Viterbi
    1967) over all orders of the animals; tracks are kept where that costs no more. The cheaper end counts. Animals
    are named so that as few labels as possible change.

    Args:
        costs: of all tracks.
        n_labels: how many labels each view has.
    """
    n_views, n_frames, n = len(costs.steps), costs.steps.shape[1] + 1, costs.steps.shape[-1]
    known = n_labels.argsort(descending=True, stable=True).tolist()
    given = torch.arange(n).repeat(n_views, n_frames, 1)
    matched, still = given.clone(), torch.zeros(n_frames - 1, n, n)
    for place, view in enumerate(known[1:], 1):
        matched[view] = cheapest_orders(costs.of_view(view, matched, known[:place]), still)
    ends = [_descended(costs, start, known) for start in (given, _least_changed(_renamed(costs, matched)))]
    return min(ends, key=lambda order: _total(costs, order))


def _descended(costs: TrackCosts, order: Tensor, views: list[int]) -> Tensor:
    """Look at every view in turn, and at all of them, until nothing changes."""
    n = order.shape[-1]
    exchanged = _EXCHANGED / 2 * (torch.arange(n)[:, None] != torch.arange(n)).float()
    for _ in range(_N_ROUNDS):
        before = order.clone()
        for view in views if len(views) > 1 else ():
            energy = costs.of_view(view, order, [d for d in views if d != view])
            order[view] = cheapest_orders(energy + exchanged, costs.steps[view])
        order = _least_changed(_renamed(costs, order))
        if torch.equal(order, before):
            break
    return order


def _total(costs: TrackCosts, order: Tensor) -> float:
    """Return the cost of orders in all views and frames."""
    n_views, n_frames, n = order.shape
    total = _EXCHANGED / 2 * float((order != torch.arange(n)).sum())
    total += _CHANGE * float((order[:, 1:] != order[:, :-1]).any(-1).sum())
    for (c, d), table in costs.between.items():
        total += float(table[torch.arange(n_frames)[:, None], order[c], order[d]].sum())
    frames = torch.arange(n_frames - 1)[:, None]
    return total + sum(
        float(costs.steps[c][frames, order[c, :-1], order[c, 1:]].sum()) for c in range(n_views)
    )


def cheapest_orders(
    energy: Float[Tensor, 'B n n'], steps: Float[Tensor, 'b n n'], change: float = _CHANGE
) -> Int[Tensor, 'B n']:
    """Find the track of each animal in every frame.

    Args:
        energy: what it costs that an animal is a track.
        steps: what it costs that an animal is one track in a frame and another one in the next.
        change: what another order than before costs.
    """
    n = energy.shape[-1]
    orders = torch.tensor(list(itertools.permutations(range(n))))
    here = energy[:, torch.arange(n), orders].sum(-1)
    kept = torch.full((len(orders),) * 2, change).fill_diagonal_(0.0)
    first, second = orders[:, None, :], orders[None, :, :]
    total = here[0]
    came_from = torch.empty(len(steps), len(orders), dtype=torch.uint8)
    for b, step in enumerate(steps):
        best = (total.unsqueeze(1) + step[first, second].sum(-1) + kept).min(0)
        total, came_from[b] = best.values + here[b + 1], best.indices
    path = torch.empty(len(energy), dtype=torch.long)
    path[-1] = total.argmin()
    for b in range(len(steps) - 1, -1, -1):
        path[b] = came_from[b, path[b + 1]]
    return orders[path]


def _renamed(costs: TrackCosts, order: Tensor) -> Tensor:
    """Exchange animals in all views at once where motion says so."""
    n_views, n_frames, n = order.shape
    b = torch.arange(n_frames - 1)[:, None, None]
    steps = sum(
        costs.steps[c][b, order[c, :-1].unsqueeze(2), order[c, 1:].unsqueeze(1)] for c in range(n_views)
    )
    names = cheapest_orders(torch.zeros(n_frames, n, n), torch.as_tensor(steps).reshape(-1, n, n))
    return order.gather(2, names.expand_as(order))


def _least_changed(order: Tensor) -> Tensor:
    """Name animals by the tracks that they mostly are."""
    n = order.shape[-1]
    names = list(itertools.permutations(range(n)))
    kept = [int((order[..., list(name)] == torch.arange(n)).sum()) for name in names]
    return order[..., list(names[kept.index(max(kept))])]


def _between(views: IdealViews, pair: tuple[int, int], xy: Tensor, visible: Tensor) -> Tensor:
    """Hold tracks of two views against each other: how far labels lie from the other view's epipolar lines."""
    c, d = pair
    first, second = xy[:, :, c].transpose(0, 1), xy[:, :, d].transpose(0, 1)
    valid = visible[:, :, c].transpose(0, 1).unsqueeze(2) & visible[:, :, d].transpose(0, 1).unsqueeze(1)
    fundamental = _fundamental(views, c, d)
    distance_between = torch.maximum(
        _off_line(first.unsqueeze(2), second.unsqueeze(1), fundamental),
        _off_line(second.unsqueeze(1), first.unsqueeze(2), fundamental.T),
    )
    distance_between = torch.where(valid, distance_between, torch.nan)
    # In each frame a track's own animal is the nearest one, mostly.
    nearest = distance_between.nanmedian(-1).values.nan_to_num(torch.inf).amin(2)
    sigma = (nearest[nearest.isfinite()].nanmedian() / _MEDIAN).nan_to_num(_LEAST_PX).clamp_min(_LEAST_PX)
    return torch.where(valid, saturating(distance_between, sigma, _LIMIT), _UNCOMPARED).sum(-1).float()


def _fundamental(views: IdealViews, c: int, d: int) -> Tensor:
    """Return F with `x_d^T F x_c = 0` (Hartley & Zisserman 2004, eq. 9.2)."""
    R = views.R[d] @ views.R[c].T
    x, y, z = (views.t[d] - R @ views.t[c]).tolist()
    cross = R.new_tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return torch.linalg.inv(views.K[d]).T @ cross @ R @ torch.linalg.inv(views.K[c])


def _off_line(points: Tensor, others: Tensor, fundamental: Tensor) -> Tensor:
    """Measure px between the second points and the lines that the first ones draw there."""
    ones = torch.ones_like(points[..., :1])
    line = torch.cat((points, ones), -1) @ fundamental.T
    far = (line[..., :2] * others).sum(-1) + line[..., 2]
    return far.abs() / line[..., :2].norm(dim=-1).clamp_min(1e-12)


def _steps(xy: Float[Tensor, 'n B K 2'], visible: Bool[Tensor, 'n B K']) -> Float[Tensor, 'b n n']:
    """Hold tracks of a frame against those of the frame before, of one view.

    All cost alike where tracks move about as far from frame to frame as they are from one another.
    """
    before, after = xy[:, :-1].transpose(0, 1).unsqueeze(2), xy[:, 1:].transpose(0, 1).unsqueeze(1)
    valid = visible[:, :-1].transpose(0, 1).unsqueeze(2) & visible[:, 1:].transpose(0, 1).unsqueeze(1)
    length = torch.where(valid, (after - before).norm(dim=-1), torch.nan)
    own = torch.eye(len(xy), dtype=torch.bool)
    same, crossed = (length[:, mask].nanmedian() for mask in (own, ~own))
    if int(valid[:, own].sum()) < LEAST_STEPS or not crossed > TELLING * same:
        return torch.zeros(length.shape[:-1])
    nearest = length.nanmedian(-1).values.nan_to_num(torch.inf).amin(2)
    known = nearest[nearest.isfinite()]
    usual = known[:: max(1, len(known) // 10_000)].quantile(0.9)
    sigma = (usual / _NINE_OF_TEN).clamp_min(_LEAST_PX)
    return torch.where(valid, saturating(length, sigma, _LIMIT), _UNCOMPARED).sum(-1).float()
