"""Closed-form alignment of point sets: target ≈ scale * R source + t."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

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
        turned = points @ self.rotation.transpose(-1, -2)
        return self.scale[:, None, None] * turned + self.translation[:, None]


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
    seen = (weights > 0).unsqueeze(-1)
    source, target = (torch.where(seen, x, torch.zeros_like(x)) for x in (source, target))
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
    turned = identity + skew + skew @ skew / (1 + cosine).clamp_min(1e-12)
    axis = identity[a.abs().argmin(-1)]
    normal = torch.linalg.cross(a, axis)
    normal = normal / normal.norm(dim=-1, keepdim=True)
    half_turn = 2 * normal.unsqueeze(-1) * normal.unsqueeze(-2) - identity
    return torch.where(1 + cosine > 1e-9, turned, half_turn)
