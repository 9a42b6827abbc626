"""Which point of a triangle mesh is closest to each point of a scan: k-d trees on the CPU, no gradients.

The tree holds vertices, and the triangles around the nearest of them are compared exactly. That is the closest
triangle wherever triangles are not much longer than they are wide; with long ones, ask for more neighbours.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def closest_on_triangles(
    points: Float[Tensor, '*n 3'], corners: Float[Tensor, '*n 3 3']
) -> Float[Tensor, '*n 3']:
    """Return the barycentric coordinates of the point of each triangle that is closest to each point.

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
    result, best = _on_side(ab, ap)
    zero = torch.zeros_like(best)
    shares: tuple[Tensor, ...] = (1 - result, result, zero)
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
    """Return how far along a side its closest point lies, and how far that is, squared."""
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
    """Return how far along two segments (0 to 1) their closest points lie.

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


@dataclass(frozen=True)
class FacesAround:
    """The triangles around every vertex: those of vertex v are `face[start[v] : start[v + 1]]`."""

    faces: Int[Tensor, 'F 3']
    start: Int[Tensor, ' V_plus_1']
    face: Int[Tensor, ' n']
    used: np.ndarray

    @classmethod
    def of(cls, faces: Int[Tensor, 'F 3'], n_vertices: int) -> 'FacesAround':
        """List them, once a topology."""
        faces = faces.detach().cpu().long()
        corner = faces.flatten()
        order = corner.argsort(stable=True)
        count = torch.bincount(corner, minlength=n_vertices)
        start = torch.cat((count.new_zeros(1), count.cumsum(0)))
        return cls(faces, start, order // 3, count.nonzero().squeeze(1).numpy())


@dataclass(frozen=True)
class ClosestPoints:
    """Closest points of a surface: the vertices around each, their shares, and whether there is one."""

    vertices: Int[Tensor, 'B N 3']
    shares: Float[Tensor, 'B N 3']
    matched: Bool[Tensor, 'B N']

    def on(self, vertices: Float[Tensor, 'B V 3']) -> Float[Tensor, 'B N 3']:
        """Return the closest points' positions, differentiably."""
        return (self.shares.unsqueeze(-1) * self.corners(vertices)).sum(2)

    def corners(self, vertices: Float[Tensor, 'B V 3']) -> Float[Tensor, 'B N 3 3']:
        """Return the corners of the closest points' triangles."""
        rows = torch.arange(len(vertices), device=vertices.device)[:, None, None]
        return vertices[rows, self.vertices]


def face_normals(corners: Float[Tensor, '*n 3 3']) -> Float[Tensor, '*n 3']:
    """Return unit normals, by the right hand over the corners' order; 0 for a triangle without area."""
    normal = torch.linalg.cross(
        corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]
    )
    return torch.nn.functional.normalize(normal, dim=-1, eps=1e-30)


@torch.no_grad()
def closest_on_surface(
    points: Float[Tensor, 'B N 3'],
    observed: Bool[Tensor, 'B N'],
    vertices: Float[Tensor, 'B V 3'],
    around: FacesAround,
    neighbours: int = 3,
    normals: Float[Tensor, 'B N 3'] | None = None,
    least_cosine: float = -1.0,
) -> ClosestPoints:
    """Find the closest point of each frame's surface to each observed point.

    Args:
        points: of a scan.
        observed: False where there is no point; it gets no closest point.
        vertices: of the surface.
        around: the surface's topology.
        neighbours: how many nearest vertices' triangles are compared.
        normals: of the points; triangles whose normal disagrees are passed over.
        least_cosine: of the angle between the normals.
    """
    # Imported late: scipy takes a third of a second, and few ask for this.
    from scipy.spatial import cKDTree

    batch, n_points = observed.shape
    n_vertices = vertices.shape[1]
    flat = vertices.reshape(-1, 3)
    cloud, mesh = points.detach().cpu().numpy(), vertices.detach().cpu().numpy()
    known = observed.cpu().numpy()
    nearest = np.zeros((int(known.sum()), min(neighbours, len(around.used))), dtype=np.int64)
    at = 0
    for b in range(batch):
        rows = cloud[b][known[b]]
        if len(rows):
            _, index = cKDTree(mesh[b][around.used]).query(rows, k=np.arange(1, nearest.shape[1] + 1))
            nearest[at : at + len(rows)] = around.used[index]
            at += len(rows)
    which, face = _candidates(torch.from_numpy(nearest), around)
    device = vertices.device
    which, face = which.to(device), face.to(device)
    frame, place = observed.nonzero(as_tuple=True)
    index = around.faces.to(device)[face] + (frame[which] * n_vertices).unsqueeze(-1)
    corners = flat[index]
    query = points[frame, place][which]
    shares = closest_on_triangles(query, corners)
    distance2 = ((shares.unsqueeze(-1) * corners).sum(1) - query).square().sum(-1)
    allowed = torch.ones_like(which, dtype=torch.bool)
    if normals is not None:
        cosine = (face_normals(corners) * normals[frame, place][which]).sum(-1)
        allowed = cosine >= least_cosine
    winner = _least(which, distance2, allowed, len(frame))
    has_closest = winner >= 0
    winner = winner.clamp_min(0)
    result = torch.zeros_like(observed)
    result[frame, place] = has_closest
    corner_index = torch.zeros(batch, n_points, 3, dtype=torch.int64, device=device)
    all_shares = torch.zeros_like(points)
    corner_index[frame, place] = index[winner] % n_vertices
    all_shares[frame, place] = shares[winner] * has_closest.unsqueeze(-1)
    return ClosestPoints(corner_index, all_shares, result)


def _candidates(nearest: Tensor, around: FacesAround) -> tuple[Tensor, Tensor]:
    """List (point, triangle) pairs of the triangles around the nearest vertices."""
    first, count = around.start[nearest], (around.start[1:] - around.start[:-1])[nearest]
    first, count = first.flatten(), count.flatten()
    which = torch.arange(len(nearest)).repeat_interleave(count.reshape(nearest.shape).sum(1))
    step = torch.arange(int(count.sum())) - (count.cumsum(0) - count).repeat_interleave(count)
    return which, around.face[first.repeat_interleave(count) + step]


def _least(which: Tensor, value: Tensor, allowed: Tensor, n: int) -> Tensor:
    """Return, for every point, the first of its allowed pairs with the least value; -1 without one."""
    value = torch.where(allowed, value, torch.full_like(value, torch.inf))
    least = value.new_full((n,), torch.inf).scatter_reduce(0, which, value, 'amin')
    place = torch.arange(len(which), device=which.device)
    is_best = allowed & (value <= least[which])
    none = len(which)
    winner = torch.full((n,), none, device=which.device)
    winner = winner.scatter_reduce(0, which[is_best], place[is_best], 'amin')
    return torch.where(winner < none, winner, -1)
