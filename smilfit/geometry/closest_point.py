"""Closest points: of triangles, and of pairs of segments."""

import torch
from jaxtyping import Float
from torch import Tensor


def closest_on_triangles(
    points: Float[Tensor, '*n 3'], corners: Float[Tensor, '*n 3 3']
) -> Float[Tensor, '*n 3']:
    """Give the barycentric coordinates of the point of each triangle that is closest to each point.

    The candidates are the foot of the perpendicular, where it lies inside, and the closest points of the three
    sides; so a triangle without area is the segment or the point that it is.

    Args:
        points: one a triangle.
        corners: the triangles' corners.
    """
    sides = corners.roll(-1, -2) - corners
    along = ((points.unsqueeze(-2) - corners) * sides).sum(-1)
    length2 = sides.square().sum(-1)
    step = (along / length2.clamp_min(torch.finfo(points.dtype).tiny)).clamp(0, 1)
    # Row i: the closest point of the side from corner i to corner i + 1.
    eye = torch.eye(3, dtype=points.dtype, device=points.device)
    on_sides = (1 - step).unsqueeze(-1) * eye + step.unsqueeze(-1) * eye.roll(-1, 0)
    inside, usable = _foot(points, corners)
    candidates = torch.cat((inside.unsqueeze(-2), on_sides), -2)
    distance2 = (candidates @ corners - points.unsqueeze(-2)).square().sum(-1)
    beyond = torch.full_like(distance2[..., :1], torch.inf)
    distance2 = torch.cat(
        (torch.where(usable.unsqueeze(-1), distance2[..., :1], beyond), distance2[..., 1:]), -1
    )
    best = distance2.argmin(-1)[..., None, None].expand(*points.shape[:-1], 1, 3)
    return candidates.gather(-2, best).squeeze(-2)


def _foot(points: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    """Barycentric coordinates of the perpendicular's foot in each plane, and whether it lies inside."""
    u, v = corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]
    w = points - corners[..., 0, :]
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    wu, wv = (w * u).sum(-1), (w * v).sum(-1)
    area = uu * vv - uv * uv
    flat = area <= 1e-12 * uu * vv
    safe = torch.where(flat, torch.ones_like(area), area)
    second, third = (vv * wu - uv * wv) / safe, (uu * wv - uv * wu) / safe
    coordinates = torch.stack((1 - second - third, second, third), -1)
    return coordinates, ~flat & (coordinates >= 0).all(-1)


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
    s, t = torch.stack(s, -1), torch.stack(t, -1)
    between = w.unsqueeze(-2) + s.unsqueeze(-1) * u.unsqueeze(-2) - t.unsqueeze(-1) * v.unsqueeze(-2)
    best = between.square().sum(-1).argmin(-1, keepdim=True)
    return s.gather(-1, best).squeeze(-1), t.gather(-1, best).squeeze(-1)
