"""Which cameras of a calibrated rig contradict the others, judged by what they all saw."""

import itertools
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.geometry.distortion import fold_radius, undistort
from smilfit.geometry.projection import project_points
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
# More frames than this change no median worth naming.
MAX_FRAMES = 300
# Two cameras this near to each other are one: share of the rig's size, and rad.
SAME_PLACE = 1e-4
# A hypothesis without support in some camera costs as if it missed by this share of the diagonal.
_COST_CAP_OF_DIAGONAL = 0.05


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
    """What was seen and by which cameras; `ideal` are undistorted pixels."""

    xy: Tensor
    ideal: Tensor
    confidence: Tensor
    K: Tensor
    R: Tensor
    t: Tensor
    dist: Tensor
    fold: Tensor
    diagonal: Tensor


class _Proposal(NamedTuple):
    """A pair of cameras, each camera's median distance from its points (px), and their capped sum."""

    cost: float
    pair: list[int]
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

    With given 3D points, each camera's labels are compared with their projection. Without, every pair of
    cameras proposes points; the pair that most cameras agree with starts a group, which grows by each camera
    that agrees with the points the group places. A camera outside of it contradicts the others.

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
    step = max(1, -(-xy.shape[0] // MAX_FRAMES))
    rig = _prepare(xy[::step], confidence[::step], intrinsics, rotation, translation, size, dist)
    same_place = same_places(rig.R, rig.t)
    if points is not None:
        given = points[::step].double()
        known = given.isfinite().all(-1)
        if points_confidence is not None:
            known &= points_confidence[::step] > 0
        median, count = _medians(rig, given, known)
        bad, limit = _judge(median, torch.ones_like(median, dtype=torch.bool), rig.diagonal)
        return CameraConsistency(median, count, limit, bad, False, same_place)
    return _leave_out(rig, same_place)


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
    """Give each camera's median distance (px) of labels from projections, and how many were compared."""
    safe = torch.where(known.unsqueeze(-1), points, torch.zeros_like(points))
    pixels, _, visible = project_points(safe, rig.K, rig.R, rig.t, rig.dist, rig.fold)
    error = (pixels - rig.xy).norm(dim=-1)
    compared = (rig.confidence > 0) & known.unsqueeze(-2)
    # A label whose point lies behind the camera is as wrong as can be, not absent.
    error = torch.where(visible, error, torch.full_like(error, torch.inf))
    count = compared.sum((0, 2)).double()
    error = torch.where(compared, error, torch.full_like(error, torch.nan))
    median = error.transpose(0, 1).flatten(1).nanmedian(-1).values
    return torch.where(count >= MIN_POINTS, median, torch.full_like(median, torch.nan)), count


def _place(rig: _Rig, cameras: list[int]) -> tuple[Tensor, Tensor]:
    """Triangulate from some of the cameras."""
    points, valid, _ = triangulate(
        rig.ideal[:, cameras],
        rig.confidence[:, cameras],
        rig.K[cameras],
        rig.R[cameras],
        rig.t[cameras],
        n_refine=5,
    )
    return points, valid


def _floor(diagonal: Tensor) -> Tensor:
    return (LIMIT_OF_DIAGONAL * diagonal).clamp_min(LIMIT_PX)


def _judge(median: Tensor, reference: Tensor, diagonal: Tensor) -> tuple[Tensor, Tensor]:
    """Say which medians are over the limit, each judged by the reference cameras other than itself."""
    others = []
    for c in range(len(median)):
        pick = reference.clone()
        pick[c] = False
        others.append(median[pick].nanmedian() if bool(pick.any()) else median.new_tensor(torch.nan))
    relative = (LIMIT_RATIO * torch.stack(others)).nan_to_num(0.0)
    limit = torch.maximum(_floor(diagonal), relative)
    return median > limit, limit


def _leave_out(rig: _Rig, same_place: tuple[tuple[int, int], ...]) -> CameraConsistency:
    n = len(rig.K)
    cap = _COST_CAP_OF_DIAGONAL * rig.diagonal
    proposals: list[_Proposal] = []
    for pair in itertools.combinations(range(n), 2):
        if pair in same_place:
            continue
        median, count = _medians(rig, *_place(rig, list(pair)))
        cost = torch.where(median.isnan(), cap, torch.minimum(median, cap)).sum()
        if bool((count[list(pair)] >= MIN_POINTS).all()):
            proposals.append(_Proposal(float(cost), list(pair), median))
    if not proposals:
        nothing = torch.full_like(rig.diagonal, torch.nan)
        none = torch.zeros(n, dtype=torch.bool)
        return CameraConsistency(nothing, torch.zeros_like(nothing), nothing, none, False, same_place)
    proposals.sort(key=lambda proposal: proposal.cost)
    group = _grow(rig, proposals[0].pair)
    median, count = _medians(rig, *_place(rig, group))
    member = torch.zeros(n, dtype=torch.bool)
    member[group] = True
    bad, limit = _judge(median, member, rig.diagonal)
    ambiguous = len(group) == 2 and _undecided(proposals, bool(bad.any()), rig.diagonal)
    return CameraConsistency(median, count, limit, bad & ~torch.tensor(ambiguous), ambiguous, same_place)


def _undecided(proposals: list[_Proposal], disagreement: bool, diagonal: Tensor) -> bool:
    """Say whether two cameras that nobody joined may be the wrong ones.

    Two views always find a point between them and miss their labels only across the epipolar line, by half
    each. So they outvote the rest if they miss by little and every other pair misses by much.
    """
    misses = [float(p.median[p.pair].max()) for p in proposals]
    floors = [
        0.5 * float((LIMIT_OF_DIAGONAL * diagonal[p.pair]).clamp_min(LIMIT_PX).max()) for p in proposals
    ]
    rivals = [miss <= max(LIMIT_RATIO * misses[0], low) for miss, low in zip(misses[1:], floors[1:])]
    return misses[0] > floors[0] or (disagreement and any(rivals))


def _grow(rig: _Rig, group: list[int]) -> list[int]:
    """Add the camera that fits best, as long as one fits.

    A camera fits if the group's points predict its labels, or if points of all together suit all: those of
    two neighbouring cameras are vague in depth and may miss a third that is right. A wrong camera drags the
    others' points with it and so shares its miss with them: hence half the floor for the second rule.
    """
    floor = _floor(rig.diagonal)
    while True:
        before, _ = _medians(rig, *_place(rig, group))
        usual = LIMIT_RATIO * before[group].nanmedian()
        trials = []
        for c in range(len(rig.K)):
            if c in group:
                continue
            trial = sorted([*group, c])
            median, _ = _medians(rig, *_place(rig, trial))
            predicted = bool(before[c] <= torch.maximum(floor[c], usual))
            if predicted or bool((median <= torch.maximum(0.5 * floor, usual))[trial].all()):
                trials.append((float(median[trial].nan_to_num(0.0).max()), trial))
        if not trials:
            return group
        group = min(trials)[1]


def same_places(R: Float[Tensor, 'C 3 3'], t: Float[Tensor, 'C 3']) -> tuple[tuple[int, int], ...]:
    """List the pairs of cameras (world to camera) that are one, by their places and rotations."""
    centres = -(R.transpose(-1, -2) @ t.unsqueeze(-1)).squeeze(-1)
    size = (centres - centres.mean(0)).norm(dim=-1).max()
    pairs = []
    for i, j in itertools.combinations(range(len(R)), 2):
        apart = (centres[i] - centres[j]).norm()
        if apart <= SAME_PLACE * size and (R[i] - R[j]).norm() <= 2**0.5 * SAME_PLACE:
            pairs.append((i, j))
    return tuple(pairs)
