"""Closest points: of triangles, and of pairs of segments."""

import torch
from jaxtyping import Float
from torch import Tensor


def closest_on_triangles(
    points: Float[Tensor, '*n 3'], corners: Float[Tensor, '*n 3 3']
) -> Float[Tensor, '*n 3']:
    """Give the barycentric coordinates of the point of each triangle that is closest to each point.

    It is the foot of the perpendicular where that lies inside, else the closest of the three sides' closest points;
    so a triangle without area is the segment or the point that it is.

    Args:
        points: one a triangle.
        corners: the triangles' corners.
    """
    # Whole columns of numbers at a time: sums over a last dimension of three are several times slower.
    p = points.unbind(-1)
    a, b, c = (x.unbind(-1) for x in corners.unbind(-2))
    ab, bc, ca = _minus(b, a), _minus(c, b), _minus(a, c)
    ap, bp, cp = _minus(p, a), _minus(p, b), _minus(p, c)
    found, best = _on_side(ab, ap)
    zero = torch.zeros_like(best)
    shares: tuple[Tensor, ...] = (1 - found, found, zero)
    for side, to_point, place in ((bc, bp, 1), (ca, cp, 2)):
        step, squared = _on_side(side, to_point)
        less = squared < best
        best = torch.where(less, squared, best)
        here = (1 - step, step, zero)
        shares = tuple(torch.where(less, here[k - place], shares[k]) for k in range(3))
    # The foot of the perpendicular, where it lies inside, is closer than any side.
    uu, uv, vv = _dot(ab, ab), -_dot(ab, ca), _dot(ca, ca)
    wu, wv = _dot(ap, ab), -_dot(ap, ca)
    area = uu * vv - uv * uv
    flat = area <= 1e-12 * uu * vv
    area = torch.where(flat, 1, area)
    second, third = (vv * wu - uv * wv) / area, (uu * wv - uv * wu) / area
    first = 1 - second - third
    inside = ~flat & (first >= 0) & (second >= 0) & (third >= 0)
    perpendicular = (first, second, third)
    return torch.stack([torch.where(inside, perpendicular[k], shares[k]) for k in range(3)], -1)


def _on_side(side: tuple[Tensor, ...], to_point: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Say how far along a side its closest point lies, and how far that is, squared."""
    length2, along = _dot(side, side), _dot(side, to_point)
    step = (along / length2.clamp_min(torch.finfo(along.dtype).tiny)).clamp(0, 1)
    away = tuple(t - step * s for t, s in zip(to_point, side))
    return step, _dot(away, away)


def _minus(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x - y for x, y in zip(first, second))


def _dot(first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> Tensor:
    return first[0] * second[0] + first[1] * second[1] + first[2] * second[2]


def closest_of_segments(
    first: Float[Tensor, '*n 2 3'], second: Float[Tensor, '*n 2 3']
) -> tuple[Float[Tensor, '*n'], Float[Tensor, '*n']]:
    """Say how far along two segments (0 to 1) their closest points lie.

    The interior solution where it lies inside both, else the best of the four ends against the other segment.
    A segment of length 0 is a point.
    """
    tiny = torch.finfo(first.dtype).tiny

    def onto(points: Tensor, segment: Tensor) -> Tensor:
        side = segment[..., 1, :] - segment[..., 0, :]
        along = ((points - segment[..., 0, :]) * side).sum(-1)
        return (along / side.square().sum(-1).clamp_min(tiny)).clamp(0, 1)

    zero = torch.zeros_like(first[..., 0, 0])
    s = [zero, zero + 1, onto(second[..., 0, :], first), onto(second[..., 1, :], first)]
    t = [onto(first[..., 0, :], second), onto(first[..., 1, :], second), zero, zero + 1]
    u, v = first[..., 1, :] - first[..., 0, :], second[..., 1, :] - second[..., 0, :]
    w = first[..., 0, :] - second[..., 0, :]
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    wu, wv = (w * u).sum(-1), (w * v).sum(-1)
    area = uu * vv - uv * uv
    parallel = area <= 1e-12 * uu * vv
    safe = torch.where(parallel, torch.ones_like(area), area)
    s.append(torch.where(parallel, torch.zeros_like(area), (uv * wv - vv * wu) / safe).clamp(0, 1))
    t.append(torch.where(parallel, torch.zeros_like(area), (uu * wv - uv * wu) / safe).clamp(0, 1))
    on_first, on_second = torch.stack(s, -1), torch.stack(t, -1)
    closest = on_first.unsqueeze(-1) * u.unsqueeze(-2) - on_second.unsqueeze(-1) * v.unsqueeze(-2)
    between = w.unsqueeze(-2) + closest
    best = between.square().sum(-1).argmin(-1, keepdim=True)
    return on_first.gather(-1, best).squeeze(-1), on_second.gather(-1, best).squeeze(-1)
