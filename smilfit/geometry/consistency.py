"""Which cameras of a calibrated rig contradict the others, judged by what they all saw."""

import itertools
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.geometry.projection import fold_radius, project_points, undistort
from smilfit.geometry.triangulation import triangulate

# A camera is judged by medians, so half of its labels may be wrong. Careful labels of animals miss by 2 to
# 10 px in an image of 1280 x 1024; a camera of another place misses by a tenth of the image.
# Below this share of the image's diagonal (16 px there) a camera is never named …
LIMIT_OF_DIAGONAL = 0.01
# … nor below this many px, in small images …
LIMIT_PX = 5.0
# … nor below this multiple of the other cameras' median, where all labels are poor.
LIMIT_RATIO = 4.0
# Fewer common points than this judge no camera.
MIN_POINTS = 10
# More points than this change no median worth naming; cameras that saw few of them add some of their own.
MAX_POINTS = 1500
# As many tell who agrees with whom.
POINTS_OF_A_TRIAL = 256
# Of so few pairs of cameras all propose points; of more, so many by the camera.
FEW_PAIRS = 15
PAIRS_PER_CAMERA = 2
# Two cameras this near to each other are one: share of the rig's size, and rad.
SAME_PLACE = 1e-4
# A hypothesis without support in some camera costs as if it missed by this share of the diagonal.
_COST_CAP_OF_DIAGONAL = 0.05
# Points of each camera that are looked at, where it saw so many.
_LEAST_OF_CAMERA = 100
# What a pair is worth that looks the same way, beside 1 for one that looks across.
_LEAST_SINE = 0.1
# Pairs at once: bounds the memory.
_PAIRS_AT_ONCE = 32

_Pair = tuple[int, int]


class CameraConsistency(NamedTuple):
    """One figure a camera, and who contradicts the others.

    `median_px` (C,) is the median distance of a camera's labels from the points that the consistent cameras
    (or the caller) place; NaN where fewer than `MIN_POINTS` were comparable. `limit_px` (C,) is what it was
    judged by. `ambiguous` means that cameras disagree but the views do not tell which is wrong.
    `same_place` lists pairs with one position and orientation.
    """

    median_px: Float[Tensor, 'C']
    n_points: Float[Tensor, 'C']
    limit_px: Float[Tensor, 'C']
    contradicts: Bool[Tensor, 'C']
    ambiguous: bool
    same_place: tuple[tuple[int, int], ...]


class _Rig(NamedTuple):
    """What C cameras saw of N points; `ideal` are undistorted pixels."""

    xy: Tensor
    ideal: Tensor
    confidence: Tensor
    K: Tensor
    R: Tensor
    t: Tensor
    dist: Tensor
    fold: Tensor
    diagonal: Tensor

    @property
    def visible(self) -> Tensor:
        """Which points each camera saw (C, N)."""
        return self.confidence > 0

    def thinned(self, most: int) -> '_Rig':
        """Return the same cameras with some of the points, those that most cameras saw."""
        rows = _choose(self.visible.T, most, many_views=True)
        return self._replace(**{n: getattr(self, n)[:, rows] for n in ('xy', 'ideal', 'confidence')})


class _Proposal(NamedTuple):
    """A pair of cameras, each camera's median distance from its points (px), and their capped sum."""

    cost: float
    pair: _Pair
    median: Tensor


def camera_consistency(
    xy: Float[Tensor, 'B C K 2'],
    confidence: Float[Tensor, 'B C K'],
    intrinsics: Float[Tensor, 'C 3 3'],
    rotation: Float[Tensor, 'C 3 3'],
    translation: Float[Tensor, 'C 3'],
    size: Float[Tensor, 'C 2'],
    dist: Float[Tensor, 'C 5'] | None = None,
    points: Float[Tensor, 'B K 3'] | None = None,
    points_confidence: Float[Tensor, 'B K'] | None = None,
) -> CameraConsistency:
    """Find cameras whose calibration contradicts the others.

    With given 3D points, each camera's labels are compared with their projection. Without, some pairs of cameras
    propose points; the pair that most cameras agree with starts a group, which grows by the cameras that agree with
    the points the group places. A camera outside of it contradicts the others. Where the group stays a minority,
    every pair proposes. All is judged by a bounded number of points, so it costs by the camera, not by the frame.

    Args:
        xy: px as labelled.
        confidence: 0 where there is no label.
        intrinsics: K, px.
        rotation: world to camera.
        translation: world to camera, world unit.
        size: width and height of the images, px.
        dist: lens coefficients; None for ideal lenses.
        points: 3D points from elsewhere, world unit.
        points_confidence: 0 where there is no 3D point; where None, all finite points count.
    """
    visible = confidence > 0
    if points is None:
        comparable = visible.sum(1) >= 2
    else:
        comparable = points.isfinite().all(-1) & visible.any(1)
        if points_confidence is not None:
            comparable &= points_confidence > 0
    frame, keypoint = comparable.nonzero(as_tuple=True)
    # Given points are only projected, so many more of them cost the same.
    most = MAX_POINTS if points is None else 4 * MAX_POINTS
    if len(frame) > most:
        rows = _choose(visible[frame, :, keypoint], most)
        frame, keypoint = frame[rows], keypoint[rows]
    rig = _prepare(
        xy[frame, :, keypoint].transpose(0, 1),
        confidence[frame, :, keypoint].transpose(0, 1),
        *(intrinsics, rotation, translation, size, dist),
    )
    same_place = same_places(rig.R, rig.t)
    if points is None:
        return _judge_by_each_other(rig, same_place)
    given = points[frame, keypoint].detach().double()
    median, count = _medians(rig, given, torch.ones(len(given), dtype=torch.bool))
    bad, limit = _judge(median, torch.ones_like(median, dtype=torch.bool), rig.diagonal)
    return CameraConsistency(median, count, limit, bad, False, same_place)


def _choose(visible: Tensor, most: int, many_views: bool = False) -> Tensor:
    """Choose points (N, C) by chance, the same each time, and further ones of cameras that saw few of them."""
    if len(visible) <= most:
        return torch.arange(len(visible))
    order = torch.randperm(len(visible), generator=torch.Generator().manual_seed(0))
    if many_views:
        order = order[visible.sum(1)[order].argsort(descending=True, stable=True)]
    rows, further = order[:most], order[most:]
    missing = (_LEAST_OF_CAMERA - visible[rows].sum(0)).tolist()
    rare = [further[visible[further, c]][:n] for c, n in enumerate(missing) if n > 0]
    return torch.cat([rows, *rare]).unique()


def _prepare(
    xy: Tensor, confidence: Tensor, K: Tensor, R: Tensor, t: Tensor, size: Tensor, dist: Tensor | None
) -> _Rig:
    xy, confidence = xy.detach().double(), confidence.detach().double()
    K, R, t, size = (x.detach().double() for x in (K, R, t, size))
    dist = K.new_zeros(len(K), 5) if dist is None else dist.detach().double()
    inverse = torch.linalg.inv(K)
    homogeneous = torch.cat((xy, torch.ones_like(xy[..., :1])), -1)
    flat, valid = undistort((homogeneous @ inverse.transpose(-1, -2))[..., :2], dist.unsqueeze(-2))
    ideal = torch.cat((flat, torch.ones_like(flat[..., :1])), -1) @ K.transpose(-1, -2)
    confidence = torch.where(valid, confidence, torch.zeros_like(confidence))
    return _Rig(xy, ideal[..., :2], confidence, K, R, t, dist, fold_radius(dist), size.norm(dim=-1))


def _medians(rig: _Rig, points: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return each camera's median distance (px) of labels from projections, and how many were compared.

    `points` (*b, N, 3) may be those of several proposals.
    """
    safe = torch.where(known.unsqueeze(-1), points, torch.zeros_like(points))
    pixels, _, visible = project_points(safe, rig.K, rig.R, rig.t, rig.dist, rig.fold)
    error = (pixels - rig.xy).norm(dim=-1)
    compared = rig.visible & known.unsqueeze(-2)
    # A label whose point lies behind the camera is as wrong as can be, not absent.
    error = torch.where(visible, error, torch.full_like(error, torch.inf))
    count = compared.sum(-1).double()
    error = torch.where(compared, error, torch.full_like(error, torch.nan))
    median = error.nanmedian(-1).values
    return torch.where(count >= MIN_POINTS, median, torch.full_like(median, torch.nan)), count


def _place(rig: _Rig, cameras: Tensor) -> tuple[Tensor, Tensor]:
    """Triangulate (*b, N, 3) from some of the cameras, or from several choices of so many (*b, n)."""
    chosen = (x[cameras] for x in (rig.ideal, rig.confidence))
    pixels, weight = (x.reshape(-1, *x.shape[cameras.ndim - 1 :]) for x in chosen)
    K, R, t = (x[cameras] for x in (rig.K, rig.R, rig.t))
    # One wrong label of many must not move the point that all others are judged by: its pull grows up to the floor.
    # Two share what they miss.
    huber_px = None if cameras.shape[-1] < 3 else float(_floor(rig.diagonal).min())
    points, valid, _ = triangulate(pixels, weight, K, R, t, n_refine=5, huber_px=huber_px)
    lead = cameras.shape[:-1]
    return points.reshape(*lead, *points.shape[1:]), valid.reshape(*lead, *valid.shape[1:])


def _floor(diagonal: Tensor) -> Tensor:
    return (LIMIT_OF_DIAGONAL * diagonal).clamp_min(LIMIT_PX)


def _judge(median: Tensor, reference: Tensor, diagonal: Tensor) -> tuple[Tensor, Tensor]:
    """Return which medians are over the limit, each judged by the reference cameras other than itself."""
    others = []
    for c in range(len(median)):
        pick = reference.clone()
        pick[c] = False
        others.append(median[pick].nanmedian() if bool(pick.any()) else median.new_tensor(torch.nan))
    relative = (LIMIT_RATIO * torch.stack(others)).nan_to_num(0.0)
    limit = torch.maximum(_floor(diagonal), relative)
    return median > limit, limit


def _judge_by_each_other(rig: _Rig, same_place: tuple[_Pair, ...]) -> CameraConsistency:
    n = len(rig.K)
    proposals, group = _find_group(rig, same_place)
    if not proposals:
        nothing = torch.full_like(rig.diagonal, torch.nan)
        none = torch.zeros(n, dtype=torch.bool)
        return CameraConsistency(nothing, torch.zeros_like(nothing), nothing, none, False, same_place)
    median, count = _medians(rig, *_place(rig, torch.tensor(group)))
    member = torch.zeros(n, dtype=torch.bool)
    member[group] = True
    bad, limit = _judge(median, member, rig.diagonal)
    ambiguous = False
    if len(group) == 2:
        # What pairs miss by is compared over all points: those that most cameras saw may be the harder ones.
        rivals = [pair for pair in _pairs(rig, same_place) if list(pair) != group]
        proposals = [*_propose(rig, [(group[0], group[1])]), *_propose(rig, rivals)]
        ambiguous = _undecided(proposals, bool(bad.any()), rig.diagonal)
    return CameraConsistency(median, count, limit, bad & ~torch.tensor(ambiguous), ambiguous, same_place)


def _find_group(rig: _Rig, same_place: tuple[_Pair, ...]) -> tuple[list[_Proposal], list[int]]:
    """Find the cameras that agree with each other, and what was proposed; nothing where no pair saw enough.

    Some points and pairs tell of any rig in which most cameras are right. Where hardly one agrees with another, all
    pairs are asked.
    """
    few = rig.thinned(POINTS_OF_A_TRIAL)
    pairs = _pairs(few, same_place)
    some = _some_of(pairs, len(rig.K))
    judged = int((rig.visible.sum(1) >= MIN_POINTS).sum())
    for looked_at, asked in ((few, some), (few, pairs), (rig, None)):
        asked = _pairs(rig, same_place) if asked is None else asked
        proposals = _propose(looked_at, asked)
        if proposals:
            group = _grow(looked_at, list(proposals[0].pair))
            if 2 * len(group) > judged or len(asked) > len(some) or len(some) == len(pairs):
                return proposals, group
    return [], []


def _pairs(rig: _Rig, same_place: tuple[_Pair, ...]) -> list[_Pair]:
    """List the pairs that saw enough points together, those that tell most first: many points, wide angles."""
    visible = rig.visible.double()
    common = visible @ visible.T
    rays = torch.cat((rig.ideal, torch.ones_like(rig.ideal[..., :1])), -1)
    rays = rays @ (torch.linalg.inv(rig.K).transpose(-1, -2) @ rig.R)
    rays = (rays * visible.unsqueeze(-1)).sum(1)
    rays = rays / rays.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    sine = (1 - (rays @ rays.T).square()).clamp_min(0.0).sqrt()
    worth = common.sqrt() * (sine + _LEAST_SINE)
    pairs = [
        (i, j)
        for i, j in itertools.combinations(range(len(rig.K)), 2)
        if (i, j) not in same_place and common[i, j] >= MIN_POINTS
    ]
    return sorted(pairs, key=lambda pair: -float(worth[pair]))


def _some_of(pairs: list[_Pair], n_cameras: int) -> list[_Pair]:
    """Choose pairs so that every camera is in as many; of few cameras all."""
    if len(pairs) <= FEW_PAIRS:
        return pairs
    chosen: list[_Pair] = []
    used, left = [0] * n_cameras, list(pairs)
    while left and len(chosen) < PAIRS_PER_CAMERA * n_cameras:
        best = min(left, key=lambda pair: used[pair[0]] + used[pair[1]])
        left.remove(best)
        chosen.append(best)
        for c in best:
            used[c] += 1
    return chosen


def _propose(rig: _Rig, pairs: list[_Pair]) -> list[_Proposal]:
    """Have pairs place points and each camera judge them; those that suit most cameras first."""
    cap = _COST_CAP_OF_DIAGONAL * rig.diagonal
    result = []
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        block = torch.tensor(pairs[start : start + _PAIRS_AT_ONCE])
        median, count = _medians(rig, *_place(rig, block))
        cost = torch.where(median.isnan(), cap, torch.minimum(median, cap)).sum(-1)
        enough = (count.gather(1, block) >= MIN_POINTS).all(-1)
        rows = zip(pairs[start:], cost.tolist(), median, enough.tolist())
        result += [_Proposal(price, pair, misses) for pair, price, misses, known in rows if known]
    return sorted(result, key=lambda proposal: proposal.cost)


def _undecided(proposals: list[_Proposal], disagreement: bool, diagonal: Tensor) -> bool:
    """Check whether two cameras that nobody joined, the first of the proposals, may be the wrong ones.

    Two views always find a point between them and miss their labels only across the epipolar line, by half
    each. So they outvote the rest if they miss by little and every other pair misses by much.
    """
    misses = [float(p.median[list(p.pair)].max()) for p in proposals]
    floors = [
        0.5 * float((LIMIT_OF_DIAGONAL * diagonal[list(p.pair)]).clamp_min(LIMIT_PX).max()) for p in proposals
    ]
    rivals = [miss <= max(LIMIT_RATIO * misses[0], low) for miss, low in zip(misses[1:], floors[1:])]
    return misses[0] > floors[0] or (disagreement and any(rivals))


def _grow(rig: _Rig, group: list[int]) -> list[int]:
    """Add the cameras that fit, the better half of them at a time, as long as one fits.

    A camera fits if the group's points predict its labels, or if points of all together suit all: those of
    two neighbouring cameras are vague in depth and may miss a third that is right. A wrong camera drags the
    others' points with it and so shares its miss with them: hence half the floor for the second rule.
    """
    floor, saw = _floor(rig.diagonal), rig.visible.sum(1)
    while True:
        points, known = _place(rig, torch.tensor(group))
        before, count = _medians(rig, points, known)
        usual = LIMIT_RATIO * before[group].nanmedian()
        others = [c for c in range(len(rig.K)) if c not in group and int(saw[c]) >= MIN_POINTS]
        fitting = [c for c in others if bool(before[c] <= torch.maximum(floor[c], usual))]
        if fitting:
            fitting.sort(key=lambda c: float(before[c] / floor[c]))
            group = sorted([*group, *fitting[: (len(fitting) + 1) // 2]])
            continue
        if not others:
            return group
        trials = torch.tensor([sorted([*group, c]) for c in others])
        points, valid = _place(rig, trials)
        # Of a point that one member saw, its view and the new one agree always.
        valid &= known | (count[others] < MIN_POINTS).unsqueeze(-1)
        median = _medians(rig, points, valid)[0].gather(1, trials)
        suits = (median <= torch.maximum(0.5 * floor, usual)[trials]).all(-1)
        if not bool(suits.any()):
            return group
        worst = torch.where(suits, median.amax(-1), torch.full_like(median[:, 0], torch.inf))
        group = trials[worst.argmin()].tolist()


def same_places(R: Float[Tensor, 'C 3 3'], t: Float[Tensor, 'C 3']) -> tuple[tuple[int, int], ...]:
    """List the pairs of cameras (world to camera) that are one, by their places and rotations."""
    centres = -(R.transpose(-1, -2) @ t.unsqueeze(-1)).squeeze(-1)
    size = (centres - centres.mean(0)).norm(dim=-1).max()
    pairs = []
    for i, j in itertools.combinations(range(len(R)), 2):
        distance_between = (centres[i] - centres[j]).norm()
        if distance_between <= SAME_PLACE * size and (R[i] - R[j]).norm() <= 2**0.5 * SAME_PLACE:
            pairs.append((i, j))
    return tuple(pairs)
