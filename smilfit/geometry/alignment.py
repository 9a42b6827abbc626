"""Closed-form posing of a skinned body: every part's rotation, then shape, size and place by linear least squares.

The two steps of Sarandi and Pons-Moll 2024 (Neural Localizer Fields, section on fitting a parametric body): rotations
are those of Kabsch 1976, part by part; with rotations held, vertices are linear in shape and translation.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.geometry.posing import KinematicTree

# A part whose points spread this much less across their main axis than along it leaves its turn about the axis open.
RANK_TOLERANCE = 1e-4
# Ridge on the shape, relative to the most visible direction: what no vertex shows stays as it is.
RIDGE = 1e-6


class ShapeFit(NamedTuple):
    """Coefficients added to the start's, factor on the body, translation, and the points that they give."""

    coefficients: Float[Tensor, 'B S']
    scale: Float[Tensor, 'B']
    transl: Float[Tensor, 'B 3']
    points: Float[Tensor, 'B N 3']


def part_rotations(
    source: Float[Tensor, 'B N 3'],
    target: Float[Tensor, 'B N 3'],
    shares: Float[Tensor, 'N P'],
    confidence: Float[Tensor, 'B N'],
) -> tuple[Float[Tensor, 'B P 3 3'], Bool[Tensor, 'B P']]:
    """Turn every part's points onto their targets, in the weighted least-squares sense, about the part's own centre.

    Args:
        source: where points are.
        target: where they should be; anything where the confidence is 0.
        shares: how much each point belongs to each part.
        confidence: weight of each point.

    Returns:
        Rotations in the world, and which parts' points determine theirs.
    """
    source, target, w = source.double(), target.double(), confidence.double().unsqueeze(-1)
    target = torch.where(w > 0, target, source)
    total = w.sum(1, keepdim=True).clamp_min(1e-300)
    a, b = (
        source - (w * source).sum(1, keepdim=True) / total,
        target - (w * target).sum(1, keepdim=True) / total,
    )
    outer = (b.unsqueeze(-1) * a.unsqueeze(-2)).flatten(2)
    sums = shares.double().t() @ (w * torch.cat((torch.ones_like(w), a, b, outer), -1))
    mass, sum_a, sum_b, product = sums.split((1, 3, 3, 9), -1)
    cross = sum_b.unsqueeze(-1) * (sum_a / mass.clamp_min(1e-300)).unsqueeze(-2)
    U, S, Vh = torch.linalg.svd(product.unflatten(-1, (3, 3)) - cross)
    sign = torch.ones_like(S)
    sign[..., 2] = torch.linalg.det(U @ Vh).sign()
    determined = (S[..., 1] > RANK_TOLERANCE * S[..., 0]) & (mass[..., 0] > 0)
    return ((U * sign.unsqueeze(-2)) @ Vh).to(shares.dtype), determined


def inherited(
    rotations: Float[Tensor, 'B J 3 3'], determined: Bool[Tensor, 'B J'], tree: KinematicTree
) -> Float[Tensor, 'B J 3 3']:
    """Return joints whose rotation is not determined their parent's, from the root outwards; the root the
    identity."""
    eye = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    known = determined[..., None, None]
    by_depth = rotations.where(known, eye).index_select(1, tree.order)
    known = known.index_select(1, tree.order)
    sizes = [1, *(n for n, _ in tree.levels)]
    own, fixed = by_depth.split(sizes, 1), known.split(sizes, 1)
    result = [own[0]]
    for (_, parent), rotation, has in zip(tree.levels, own[1:], fixed[1:]):
        result.append(torch.where(has, rotation, result[-1].index_select(1, parent)))
    return torch.cat(result, 1).index_select(1, tree.restore)


def local_rotations(rotations: Float[Tensor, 'B J 3 3'], tree: KinematicTree) -> Float[Tensor, 'B J 3 3']:
    """Return each joint's rotation in its parent's frame, of rotations in the world."""
    return torch.cat(
        (rotations[:, :1], rotations.index_select(1, tree.parents)[:, 1:].mT @ rotations[:, 1:]), 1
    )


def posed_directions(
    linear: Float[Tensor, 'B J 3 3'],
    vertices: Float[Tensor, '#B k N 3'],
    joints: Float[Tensor, '#B k J 3'],
    offsets: Float[Tensor, '#B k J 3'],
    skin: Float[Tensor, 'N J'],
    tree: KinematicTree,
) -> Float[Tensor, 'B k N 3']:
    """Pose k rest bodies, or directions of a shape space, by given maps of the bones: it is linear in them.

    Args:
        linear: each joint's map from the rest frame to the model's.
        vertices: at rest.
        joints: at rest.
        offsets: added to each joint's offset from its parent.
        skin: skinning weights.
        tree: the joints' tree.
    """
    steps = joints - joints.index_select(2, tree.parents)
    steps[:, :, 0] = joints[:, :, 0]
    steps = steps + offsets
    above = linear.index_select(1, tree.parents).clone()
    above[:, 0] = torch.eye(3, dtype=linear.dtype, device=linear.device)
    positions = tree.paths @ torch.einsum('bjac,bkjc->bkja', above, steps.expand(len(linear), -1, -1, -1))
    shift = positions - torch.einsum('bjac,bkjc->bkja', linear, joints.expand(len(linear), -1, -1, -1))
    blended = torch.einsum('nj,bjac->bnac', skin, linear)
    rotated = torch.einsum('bnac,bknc->bkna', blended, vertices.expand(len(linear), -1, -1, -1))
    return rotated + skin @ shift


def fit_shape(
    points: Float[Tensor, 'B N 3'],
    directions: Float[Tensor, 'B S N 3'],
    target: Float[Tensor, 'B N 3'],
    confidence: Float[Tensor, 'B N'],
    with_scale: bool,
    shared: bool,
) -> ShapeFit:
    """Fit `target ≈ scale * (points + sum_s c_s directions_s) + transl` by linear least squares.

    Args:
        points: posed points of the shape so far.
        directions: posed shape directions.
        target: anything where the confidence is 0.
        confidence: weight of each point.
        with_scale: find a scale; it is 1 otherwise.
        shared: one shape and one scale for all frames.
    """
    w = (confidence / confidence.sum(1, keepdim=True).clamp_min(1e-30)).unsqueeze(-1)
    target = torch.where(w > 0, target, points)
    columns = torch.cat((directions, points.unsqueeze(1)), 1) if with_scale else directions
    means, goal_mean = (w.unsqueeze(1) * columns).sum(2), (w * target).sum(1)
    centre = (w * points).sum(1)
    flat = ((columns - means.unsqueeze(2)) * w.sqrt().unsqueeze(1)).flatten(2)
    goal = target - goal_mean.unsqueeze(1)
    goal = goal if with_scale else goal - (points - centre.unsqueeze(1))
    matrix, vector = flat @ flat.mT, flat @ (goal * w.sqrt()).flatten(1).unsqueeze(-1)
    result = _solved(matrix, vector, directions.shape[1], shared)
    size = directions.shape[1]
    scale = result[:, size] if with_scale else torch.ones_like(target[:, 0, 0])
    body = torch.einsum('bk,bknc->bnc', result[:, :size], directions) + scale[:, None, None] * points
    transl = goal_mean - (w * body).sum(1)
    return ShapeFit(result[:, :size] / scale.unsqueeze(1), scale, transl, body + transl.unsqueeze(1))


def _solved(matrix: Tensor, vector: Tensor, n_ridged: int, shared: bool) -> Float[Tensor, 'B k']:
    count = len(matrix)
    if shared:
        matrix, vector = matrix.sum(0, keepdim=True), vector.sum(0, keepdim=True)
    if not matrix.shape[1]:
        return vector.new_zeros(count, 0)
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    ridge = torch.zeros_like(diagonal)
    if n_ridged:
        ridge[:, :n_ridged] = RIDGE * diagonal[:, :n_ridged].amax(1, keepdim=True) + 1e-30
    result = torch.linalg.solve(matrix.double() + torch.diag_embed(ridge).double(), vector.double())
    return result.squeeze(-1).to(matrix.dtype).expand(count, -1)


def few_of_each(part: Int[Tensor, ' V'], most: int) -> Int[Tensor, ' n']:
    """Pick up to so many points of every part, evenly in their order.

    Args:
        part: of every point.
        most: of one part.
    """
    order = part.argsort(stable=True)
    counts = torch.bincount(part)
    first = counts.cumsum(0) - counts
    rank = torch.arange(len(part), device=part.device) - first[part[order]]
    stride = (counts + most - 1).div(most, rounding_mode='floor').clamp_min(1)
    return order[rank % stride[part[order]] == 0].sort().values


# Singular values below this share of the largest count as zero.
_RANK_TOLERANCE = 1e-9


class Similarity(NamedTuple):
    """`target ≈ scale * rotation @ source + translation`; `determined` is False where points left freedom."""

    rotation: Float[Tensor, 'B 3 3']
    translation: Float[Tensor, 'B 3']
    scale: Float[Tensor, 'B']
    determined: Bool[Tensor, 'B']

    def apply(self, points: Float[Tensor, 'B N 3']) -> Float[Tensor, 'B N 3']:
        """Move points as the source was moved."""
        rotated = points @ self.rotation.transpose(-1, -2)
        return self.scale[:, None, None] * rotated + self.translation[:, None]


def procrustes(
    source: Float[Tensor, 'B N 3'],
    target: Float[Tensor, 'B N 3'],
    weights: Float[Tensor, 'B N'] | None = None,
    with_scale: bool = True,
) -> Similarity:
    """Align each pair of point sets in the weighted least-squares sense (Umeyama 1991), without reflection.

    Where the points leave freedom, the least motion is taken and `determined` is False: points on a line
    (or two points) are turned by the smallest rotation that aligns the line; a single place is moved only;
    no point at all gives the identity. A scale that nothing determines is 1.

    Args:
        source: points to move.
        target: where they should go.
        weights: 0 leaves a pair out; None for equal weights.
        with_scale: find a scale; it is 1 otherwise.
    """
    parts = _correlate(source, target, weights)
    scale = parts.gain / parts.variance.clamp_min(1e-300) if with_scale else torch.ones_like(parts.gain)
    scale = torch.where(parts.spread > 0, scale, torch.ones_like(scale))
    return _finish(parts, scale, source.dtype)


def procrustes_shared_scale(
    source: Float[Tensor, 'B N 3'],
    target: Float[Tensor, 'B N 3'],
    weights: Float[Tensor, 'B N'] | None = None,
) -> Similarity:
    """Align each pair of point sets with one scale for all: an animal does not change its size.

    Each rotation maximises the same correlation whatever the scale, so rotations are those of `procrustes`,
    and the best common scale is the sum of all correlations over the sum of all variances.
    """
    parts = _correlate(source, target, weights)
    known = parts.spread > 0
    zero = torch.zeros_like(parts.gain)
    gain = torch.where(known, parts.total * parts.gain, zero).sum()
    variance = torch.where(known, parts.total * parts.variance, zero).sum()
    scale = torch.where(known.any(), gain / variance.clamp_min(1e-300), torch.ones_like(gain))
    return _finish(parts, scale.expand(len(source)), source.dtype)


class _Parts(NamedTuple):
    rotation: Tensor
    source_mean: Tensor
    target_mean: Tensor
    gain: Tensor
    variance: Tensor
    spread: Tensor
    rank: Tensor
    total: Tensor


def _correlate(source: Tensor, target: Tensor, weights: Tensor | None) -> _Parts:
    source, target = source.double(), target.double()
    weights = torch.ones_like(source[..., 0]) if weights is None else weights.double()
    # What has no weight must not enter, not even as NaN.
    visible = (weights > 0).unsqueeze(-1)
    source, target = (torch.where(visible, x, torch.zeros_like(x)) for x in (source, target))
    w = (weights / weights.sum(-1, keepdim=True).clamp_min(1e-300)).unsqueeze(-1)
    source_mean, target_mean = (w * source).sum(-2), (w * target).sum(-2)
    a, b = source - source_mean.unsqueeze(-2), target - target_mean.unsqueeze(-2)
    U, S, Vh = torch.linalg.svd((w * b).transpose(-1, -2) @ a)
    sign = torch.ones_like(S)
    sign[..., 2] = torch.linalg.det(U @ Vh).sign()
    variance_a, variance_b = ((w * x.square()).sum((-1, -2)) for x in (a, b))
    # Rounding of the means leaves dust; sizes are judged against the points' own distance from the origin.
    dust = 1e-24 * torch.maximum(source.square().amax((-1, -2)), target.square().amax((-1, -2)))
    spread = torch.where((variance_a > dust) & (variance_b > dust), (variance_a * variance_b).sqrt(), 0.0)
    rank = (_RANK_TOLERANCE * spread.unsqueeze(-1) < S).sum(-1) * (spread > 0)
    rotation = (U * sign.unsqueeze(-2)) @ Vh
    line = _smallest_rotation(Vh[..., 0, :], U[..., :, 0])
    identity = torch.eye(3, dtype=source.dtype, device=source.device).expand_as(rotation)
    rotation = torch.where((rank == 1)[..., None, None], line, rotation)
    rotation = torch.where((rank == 0)[..., None, None], identity, rotation)
    gain = torch.where(rank == 0, torch.zeros_like(spread), (S * sign).sum(-1))
    total = weights.sum(-1)
    return _Parts(rotation, source_mean, target_mean, gain, variance_a, spread * (rank > 0), rank, total)


def _finish(parts: _Parts, scale: Tensor, dtype: torch.dtype) -> Similarity:
    moved = (parts.rotation @ parts.source_mean.unsqueeze(-1)).squeeze(-1)
    translation = parts.target_mean - scale.unsqueeze(-1) * moved
    return Similarity(parts.rotation.to(dtype), translation.to(dtype), scale.to(dtype), parts.rank >= 2)


def _smallest_rotation(a: Tensor, b: Tensor) -> Tensor:
    """Turn unit vectors a into b by the smallest angle; half a turn about any normal where b = -a."""
    identity = torch.eye(3, dtype=a.dtype, device=a.device)
    cosine = (a * b).sum(-1)[..., None, None]
    # R = I + [v]x + [v]x^2 / (1 + c) = I + (b a^T - a b^T) + (b a^T - a b^T)^2 / (1 + c).
    skew = b.unsqueeze(-1) * a.unsqueeze(-2) - a.unsqueeze(-1) * b.unsqueeze(-2)
    rotated = identity + skew + skew @ skew / (1 + cosine).clamp_min(1e-12)
    axis = identity[a.abs().argmin(-1)]
    normal = torch.linalg.cross(a, axis)
    normal = normal / normal.norm(dim=-1, keepdim=True)
    half_rotation = 2 * normal.unsqueeze(-1) * normal.unsqueeze(-2) - identity
    return torch.where(1 + cosine > 1e-9, rotated, half_rotation)
