"""Keypoints of one camera over time: labels carried along the flow, paths through heat maps, smooth paths.

Pure numpy, on one recording of T frames and K keypoints, px of its images.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import cholesky_banded, solve_banded, solveh_banded

from smilfit.networks.video.flow import FlowFields

# Shares of the animal's size: by how much carried labels and moves along the flow may err.
_CARRIED, _MOVE = 0.04, 0.05
# A label that only one neighbour carries is believed over so many frames.
_ALONE = 4
# Chance of a candidate that no map supports, and of a keypoint to be hidden, to appear and to disappear.
_FLOOR, _HIDDEN, _CHANGE = 0.02, 0.2, 0.02
# A carried label's own weight beside a map's mode.
_TRUST = 0.6
# Places of hidden keypoints count so much where they are smoothed: the flow alone drifts.
_LEAST_WEIGHT = 0.2


@dataclass(frozen=True)
class CarriedLabels:
    """Labels in all frames; `weight` in [0, 1] is 1 where one was given, 0 where nothing is known."""

    xy: Float[np.ndarray, 'T K 2']
    weight: Float[np.ndarray, 'T K']


def carry_labels(
    labels: Float[np.ndarray, 'T K 2'], known: Bool[np.ndarray, 'T K'], flow: FlowFields, size_px: float
) -> CarriedLabels:
    """Carry labels along the flow, from the labelled frame before and the one after.

    Where both arrive, their mean counts, by how many frames each was carried, and their distance says how well they
    agree. Where one arrives, the flow back says whether it can be believed, over a few frames.

    Args:
        labels: px, at least where known.
        known: which are labelled.
        flow: of the same frames.
        size_px: of the animal, px (the root of its area).
    """
    ways = [_carried(labels, known, flow, step) for step in (1, -1)]
    (before, age_before, off_before), (after, age_after, off_after) = ways
    has = [np.isfinite(xy[..., 0]) for xy, _, _ in ways]
    share = [h / (age + 0.5) for h, age in zip(has, (age_before, age_after))]
    total = np.maximum(share[0] + share[1], 1e-9)[..., None]
    xy = sum(np.nan_to_num(p) * s[..., None] for p, s in zip((before, after), share)) / total
    both = has[0] & has[1]
    distance = np.linalg.norm(np.where(both[..., None], before - after, 0.0), axis=-1)
    age, nearer = np.minimum(age_before, age_after), age_before < age_after
    off = np.where(nearer, off_before, off_after) / (_CARRIED * size_px)
    alone = np.exp(-0.5 * off**2 - np.minimum(age, 1e3) / _ALONE) * (age <= _ALONE)
    weight = np.where(both, np.exp(-0.5 * (distance / (2 * _CARRIED * size_px)) ** 2), alone)
    weight = np.where(has[0] | has[1], weight, 0.0)
    return CarriedLabels(np.where(known[..., None], labels, xy), np.where(known, 1.0, weight))


def _carried(
    labels: np.ndarray, known: np.ndarray, flow: FlowFields, step: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Carry one way: places (NaN: none), frames since the label, and by how much the flow back misses, px."""
    n_frames, n_points = known.shape
    xy = np.full((n_frames, n_points, 2), np.nan)
    age, off = np.full((n_frames, n_points), np.inf), np.zeros((n_frames, n_points))
    order = range(n_frames) if step > 0 else range(n_frames - 1, -1, -1)
    for t in order:
        last = t - step
        if 0 <= last < n_frames:
            some = np.isfinite(xy[last, :, 0])
            moved = flow.moved(xy[last, some], last, step)
            returned = flow.moved(moved, t, -step)
            xy[t, some], age[t, some] = moved, age[last, some] + 1
            off[t, some] = off[last, some] + np.linalg.norm(returned - xy[last, some], axis=-1)
        xy[t, known[t]], age[t, known[t]], off[t, known[t]] = labels[t, known[t]], 0, 0
        # A frame that was labelled and does not show a keypoint ends what was carried of it.
        if known[t].any():
            hidden = ~known[t]
            xy[t, hidden], age[t, hidden] = np.nan, np.inf
    return xy, age, off


@dataclass(frozen=True)
class Candidates:
    """Places where keypoints may be, and their costs (negative logarithms of chances); inf for none."""

    xy: Float[np.ndarray, 'T K M 2']
    cost: Float[np.ndarray, 'T K M']

    @classmethod
    def of(
        cls,
        modes: Float[np.ndarray, 'T K M 2'],
        mass: Float[np.ndarray, 'T K M'],
        carried: CarriedLabels | None,
        known: Bool[np.ndarray, 'T K'],
    ) -> 'Candidates':
        """Offer the modes of heat maps and carried labels.

        A given label is the only candidate of its frame. A keypoint that a labelled frame lacks, though others have
        it, is hidden there.

        Args:
            modes: peaks of the maps, px.
            mass: share of its map that each has.
            carried: labels in all frames; None for none.
            known: which of them were given.
        """
        xy, cost = modes, -np.log(mass.clip(0, 1) + _FLOOR)
        if carried is None:
            return cls(xy, cost)
        offer = np.where(carried.weight > 0.05, -np.log(_TRUST * carried.weight + _FLOOR), np.inf)
        xy = np.concatenate((xy, carried.xy[:, :, None]), 2)
        cost = np.concatenate((cost, offer[..., None]), 2)
        only = np.full(cost.shape[-1], np.inf)
        only[-1] = 0.0
        cost = np.where(known[..., None], only, cost)
        lacking = known.any(1, keepdims=True) & known.any(0, keepdims=True) & ~known
        return cls(xy, np.where(lacking[..., None], np.inf, cost))


@dataclass(frozen=True)
class KeypointPath:
    """The likeliest place of each keypoint in each frame, also where it is probably hidden; NaN where there is none.

    `confidence` in [0, 1] is the share of the best path through the place among the best paths through each other
    place and through none. `hidden` is True where the best path goes through no place: the keypoint is behind
    something, or lost.
    """

    xy: Float[np.ndarray, 'T K 2']
    confidence: Float[np.ndarray, 'T K']
    hidden: Bool[np.ndarray, 'T K']


def find_path(candidates: Candidates, flow: FlowFields, size_px: float) -> KeypointPath:
    """Find the likeliest path of each keypoint through its candidates by dynamic programming (Viterbi 1967).

    A move costs its distance from the flow, by a Student t distribution: most moves follow the flow closely, some do
    not at all. Hidden is a state like a place; from and to it any move costs the same. Over a cut moves cost nothing.

    Args:
        candidates: of each keypoint and frame.
        flow: of the same frames.
        size_px: of the animal, px.
    """
    n_frames, n_points, n_places = candidates.cost.shape
    hidden = np.full((n_frames, n_points, 1), -np.log(_HIDDEN))
    # A label that was given is seen.
    hidden[(candidates.cost == 0).any(-1)] = np.inf
    cost = np.concatenate((candidates.cost, hidden), -1)
    steps = [_steps(candidates, flow, t, size_px) for t in range(n_frames - 1)]
    ahead, back = cost.copy(), np.zeros_like(cost)
    for t, step in enumerate(steps):
        ahead[t + 1] = (ahead[t][:, :, None] + step).min(1) + cost[t + 1]
    for t in range(n_frames - 2, -1, -1):
        back[t] = (steps[t] + (cost[t + 1] + back[t + 1])[:, None]).min(2)
    # Of the best path through each state.
    total = ahead + back
    place = total[..., :-1].argmin(-1)[..., None]
    mine = np.take_along_axis(total, place, -1)
    xy = np.take_along_axis(candidates.xy, place[..., None], 2)
    xy[~np.isfinite(mine[..., None] + xy).all(-1)] = np.nan
    # Places as good as the same are one.
    rival = ~(np.linalg.norm(candidates.xy - xy, axis=-1) < _MOVE * size_px)
    np.put_along_axis(rival, place, False, -1)
    rival = np.concatenate((rival, np.ones_like(rival[..., :1])), -1)
    lead = np.where(np.isfinite(mine), total - np.where(np.isfinite(mine), mine, 0.0), 0.0)
    confidence = 1 / (1 + (np.exp(-lead.clip(-100, None)) * rival).sum(-1))
    some = np.isfinite(xy[:, :, 0, 0])
    return KeypointPath(xy[:, :, 0], np.where(some, confidence, 0.0), total.argmin(-1) == n_places)


def _steps(candidates: Candidates, flow: FlowFields, t: int, size_px: float) -> Float[np.ndarray, 'K m m']:
    """Return what it costs to go from each state of frame t to each of the next."""
    n_points, n_places = candidates.cost.shape[1:]
    change = -np.log(_CHANGE)
    result = np.full((n_points, n_places + 1, n_places + 1), change)
    result[:, -1, -1] = 0.0
    moved = flow.moved(candidates.xy[t], t)
    distance = np.linalg.norm(candidates.xy[t + 1][:, None] - moved[:, :, None], axis=-1) / (_MOVE * size_px)
    result[:, :-1, :-1] = np.where(np.isfinite(distance), 2 * np.log1p(np.nan_to_num(distance) ** 2 / 2), 0.0)
    return result


@dataclass(frozen=True)
class PathNoise:
    """Standard deviations of a smooth path: of places, of accelerations (a frame squared) and of the flow.

    Shares of the animal's size.
    """

    place: float = 0.04
    acceleration: float = 0.045
    flow: float = 0.02
    # Residuals from which places, in their own deviations, count less and less.
    width: float = 2.5
    rounds: int = 4


def smooth_path(
    path: KeypointPath,
    known: Bool[np.ndarray, 'T K'],
    times: Float[np.ndarray, ' T'],
    size_px: float,
    flow: FlowFields | None = None,
    noise: PathNoise | None = None,
) -> tuple[Float[np.ndarray, 'T K 2'], Float[np.ndarray, 'T K']]:
    """Smooth paths by robust least squares of places, accelerations and the flow.

    Stretches without a place are bridged. Reweighted rounds (Geman-McClure for places and the flow, Cauchy for
    accelerations): a place that lies off is outvoted, and an animal that jumps keeps its jump. Labels weigh a hundred
    times.

    Args:
        path: places with their confidences.
        known: which are labels.
        times: of the frames, s; increasing, not necessarily even.
        size_px: of the animal, px.
        flow: None for none.
        noise: the usual one if None.

    Returns:
        Places, and their standard deviations an axis, px; NaN for keypoints that are hidden in every frame.
    """
    noise = noise or PathNoise()
    px = replace(
        noise,
        place=noise.place * size_px,
        acceleration=noise.acceleration * size_px,
        flow=noise.flow * size_px,
    )
    n_frames, n_points = known.shape
    xy, sd = np.full((n_frames, n_points, 2), np.nan), np.full((n_frames, n_points), np.nan)
    for k in range(n_points):
        some = np.isfinite(path.xy[:, k, 0])
        if some.any():
            weight = np.where(some, path.confidence[:, k].clip(_LEAST_WEIGHT, 1), 0) / px.place**2
            xy[:, k], sd[:, k] = _smoothed(path.xy[:, k], weight, known[:, k], times, flow, px)
    return xy, sd


def _smoothed(
    places: Float[np.ndarray, 'T 2'],
    weight: Float[np.ndarray, ' T'],
    known: Bool[np.ndarray, ' T'],
    times: Float[np.ndarray, ' T'],
    flow: FlowFields | None,
    noise: PathNoise,
) -> tuple[Float[np.ndarray, 'T 2'], Float[np.ndarray, ' T']]:
    n = len(places)
    rows = np.arange(n)
    some = np.flatnonzero(weight > 0)
    at = np.stack([np.interp(rows, some, places[some, axis]) for axis in range(2)], -1)
    given, x = at.copy(), at
    curve, tied = _curvature(times), np.arange(n - 1)
    bands = np.zeros((3, n))
    for number in range(noise.rounds):
        off = np.linalg.norm(given - x, axis=-1) / noise.place
        w = np.where(known, 100 / noise.place**2, weight / (1 + (off / noise.width) ** 2) ** 2)
        bands, right = np.zeros((3, n)), w[:, None] * given
        bands[2] = w
        if n > 2:
            bent = np.linalg.norm(sum(c[:, None] * x[i : n - 2 + i] for i, c in enumerate(curve)), axis=-1)
            # First as if nothing strayed: a stray would excuse the acceleration that it makes.
            bent = bent if number else np.zeros_like(bent)
            wa = 1 / noise.acceleration**2 / (1 + (bent / (3 * noise.acceleration)) ** 2)
            if flow is not None:
                # An animal does not move on over a cut.
                wa = np.where(flow.cut[:-1] | flow.cut[1:], 0.0, wa)
            for i in range(3):
                for j in range(i, 3):
                    np.add.at(bands[2 - (j - i)], np.arange(n - 2) + j, wa * curve[i] * curve[j])
        if flow is not None:
            moved = np.stack([flow.moved(x[t], t) for t in range(n - 1)])
            usable = np.isfinite(moved).all(-1)
            step = np.where(usable[:, None], moved - x[:-1], 0.0)
            miss = np.linalg.norm(np.diff(x, axis=0) - step, axis=-1) / noise.flow
            wf = usable / noise.flow**2 / (1 + (miss / noise.width) ** 2) ** 2
            np.add.at(bands[2], tied, wf)
            np.add.at(bands[2], tied + 1, wf)
            np.add.at(bands[1], tied + 1, -wf)
            np.add.at(right, tied, -wf[:, None] * step)
            np.add.at(right, tied + 1, wf[:, None] * step)
        # What nothing ties down stays where it is.
        bands[2] += 1e-9
        x = solveh_banded(bands, right + 1e-9 * x)
    return x, np.sqrt(_variances(bands))


def _curvature(times: Float[np.ndarray, ' T']) -> Float[np.ndarray, '3 t']:
    """Return factors of three neighbouring places whose sum is the acceleration, px a mean frame squared."""
    step = np.diff(times) / np.median(np.diff(times)) if len(times) > 1 else np.ones(0)
    before, after = step[:-1], step[1:]
    total = before + after
    return 2 * np.stack((1 / (before * total), -1 / (before * after), 1 / (after * total)))


def _variances(bands: Float[np.ndarray, 'b n']) -> Float[np.ndarray, ' n']:
    """Return the diagonal of the inverse of a banded matrix (upper form), by its Cholesky factor."""
    factor = cholesky_banded(bands)
    inverse = solve_banded((0, len(bands) - 1), factor, np.eye(factor.shape[1]))
    return np.square(inverse).sum(1)
