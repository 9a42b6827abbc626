"""Find the outline of what meshes cover, in plain tensor operations: the readable twin of `warp_outline.py`."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.renderers.outline import OFFSET_PX, SNAP_PX, Outline, SilhouetteEdges
from smilfit.renderers.projected import ProjectedMeshes, cross
from smilfit.renderers.scanline import image_triangles, visible_faces
from smilfit.renderers.soft_coverage import pairs_of, pixel_boxes

# Distances are ranked in steps of this share of the reach.
STEPS = 2**30


@torch.no_grad()
def find_outline(
    meshes: ProjectedMeshes, contour: SilhouetteEdges, reach_px: float, max_pairs: int = 500_000
) -> Outline:
    """Find the segments of silhouette edges that the outline is made of, and the nearest one of each pixel.

    Args:
        meshes: what the cameras see.
        contour: their silhouette edges.
        reach_px: how far from the outline a pixel may be.
        max_pairs: how many pairs may be in memory at once.
    """
    covered = torch.stack([_covered(meshes, n, max_pairs) for n in range(len(meshes))])
    segments = [_exposed(meshes, contour, n, max_pairs) for n in range(len(meshes))]
    edge, low, high, cut = (torch.cat(parts) for parts in zip(*segments))
    nearest = _nearest(meshes, contour, edge, low, high, reach_px, max_pairs)
    return Outline(covered, nearest, edge, low, high, cut)


def _covered(meshes: ProjectedMeshes, n: int, max_pairs: int) -> Bool[Tensor, 'H W']:
    faces = meshes.faces[meshes.drawable[n]]
    flat = torch.ones_like(meshes.pixels[n, :, 0])
    triangles = image_triangles(meshes.pixels[n], flat, faces, meshes.width, meshes.height)
    seen = visible_faces(triangles, meshes.width, meshes.height, 8 * max_pairs)
    return (seen >= 0).reshape(meshes.height, meshes.width)


def _exposed(
    meshes: ProjectedMeshes, contour: SilhouetteEdges, n: int, max_pairs: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cut the edges of one image into segments whose outer offset no triangle covers."""
    mine = (contour.image == n).nonzero().squeeze(1)
    turns = meshes.turns[n]
    faces, turns = meshes.faces[turns != 0], turns[turns != 0]
    triangles = meshes.pixels[n][faces]
    low, high = triangles.amin(1), triangles.amax(1)
    result = []  # a part of no edges is a part, too
    for part in mine.split(max(1, max_pairs // max(len(faces), 1))):
        a, b = (meshes.pixels[n, contour.corners[part, i]] for i in (0, 1))
        length = (b - a).norm(dim=1)
        outward = torch.stack((b[:, 1] - a[:, 1], a[:, 0] - b[:, 0]), 1) / length.unsqueeze(1)
        a, b = (x + OFFSET_PX * contour.inner[part].unsqueeze(1) * outward for x in (a, b))
        meet = (torch.minimum(a, b).unsqueeze(1) <= high).all(2) & (
            torch.maximum(a, b).unsqueeze(1) >= low
        ).all(2)
        which, face = meet.nonzero(as_tuple=True)
        interval, edge = _cover(a[which], b[which], triangles[face], turns[face])
        cutters = torch.stack(
            (faces[face], faces[face].roll(-1, 1)), 2
        )  # corners of the triangle's three edges
        cutters = cutters.gather(1, edge.unsqueeze(2).expand(-1, 2, 2))
        row, *rest = _gaps(which, interval, cutters, length)
        result.append((part[row], *rest))
    return tuple(torch.cat(parts) for parts in zip(*result))


def _cover(
    a: Float[Tensor, 'K 2'],
    b: Float[Tensor, 'K 2'],
    corners: Float[Tensor, 'K 3 2'],
    turn: Float[Tensor, 'K'],
) -> tuple[Float[Tensor, 'K 2'], Int[Tensor, 'K 2']]:
    """Return the places where the way from a to b enters and leaves a triangle, and by which of its edges.

    It enters after it leaves if it never does.
    """
    edges = corners.roll(-1, 1) - corners
    at_a = cross(edges, a.unsqueeze(1) - corners) * turn.unsqueeze(1)
    slope = cross(edges, (b - a).unsqueeze(1).expand_as(edges)) * turn.unsqueeze(1)
    crossing = -at_a / slope
    infinity = torch.full_like(crossing, torch.inf)
    enter, enter_edge = torch.where(slope > 0, crossing, -infinity).max(1)
    leave, leave_edge = torch.where(slope < 0, crossing, infinity).min(1)
    beside = ((slope == 0) & (at_a < 0)).any(1)
    leave = torch.where(beside, -torch.inf, leave)
    return torch.stack((enter, leave), 1), torch.stack((enter_edge, leave_edge), 1)


def _gaps(
    which: Int[Tensor, 'K'],
    interval: Float[Tensor, 'K 2'],
    cutters: Int[Tensor, 'K 2 2'],
    length: Float[Tensor, 'M'],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what is left of [0, 1] on each of M edges, once all intervals are taken out.

    Args:
        which: edge of each interval.
        interval: enter and leave.
        cutters: corners of the edges by which it is entered and left.
        length: of the edges, px.

    Returns:
        Edge, low and high place, and the corners of what cuts there.
    """
    real = (interval[:, 1] > interval[:, 0]) & (interval[:, 1] > 0) & (interval[:, 0] < 1)
    which, interval, cutters = which[real], interval[real], cutters[real]
    # One row an edge: an interval that ends where the edge begins, its own in order, one that begins where it ends.
    order = interval[:, 0].argsort(stable=True)
    order = order[which[order].argsort(stable=True)]
    count = torch.bincount(which, minlength=len(length))
    rank = torch.arange(len(which), device=which.device) - (count.cumsum(0) - count)[which[order]] + 1
    n_columns = (int(count.max()) if len(count) else 0) + 2
    enter = length.new_ones((len(length), n_columns))
    leave = torch.ones_like(enter)
    by = which.new_full((len(length), n_columns, 2, 2), -1)
    enter[:, 0] = leave[:, 0] = 0.0
    enter[which[order], rank], leave[which[order], rank] = interval[order].unbind(1)
    by[which[order], rank] = cutters[order]
    reached, last = leave.cummax(1)
    low, high = reached[:, :-1].clamp(0, 1), enter[:, 1:].clamp(0, 1)
    cut = torch.stack((by[:, :, 1].gather(1, last[..., None].expand(-1, -1, 2))[:, :-1], by[:, 1:, 0]), 2)
    snap = SNAP_PX / length.unsqueeze(1)
    at_start, at_end = low < snap, high > 1 - snap
    cut[..., 0, :][at_start], cut[..., 1, :][at_end] = -1, -1
    low, high = torch.where(at_start, 0.0, low), torch.where(at_end, 1.0, high)
    row, column = (high - low > snap).nonzero(as_tuple=True)
    return row, low[row, column], high[row, column], cut[row, column]


def _nearest(
    meshes: ProjectedMeshes,
    contour: SilhouetteEdges,
    edge: Tensor,
    low: Tensor,
    high: Tensor,
    reach_px: float,
    max_pairs: int,
) -> Int[Tensor, 'N H W']:
    """Find the nearest segment of every pixel; -1 where none is within reach."""
    height, width = meshes.height, meshes.width
    a, b = (meshes.pixels[contour.image[edge], contour.corners[edge, i]] for i in (0, 1))
    ends = torch.stack((a + low.unsqueeze(1) * (b - a), a + high.unsqueeze(1) * (b - a)), 1)
    first, size = pixel_boxes(ends, reach_px, width, height)
    far = torch.iinfo(torch.int64).max
    best = torch.full((len(meshes) * height * width,), far, device=a.device)
    for chunk in torch.arange(len(edge), device=a.device).split(max(1, max_pairs // 256)):
        which, at = pairs_of(first[chunk], size[chunk])
        start, along = ends[chunk, 0][which], (ends[chunk, 1] - ends[chunk, 0])[which]
        to = at.to(along) - start
        place = ((to * along).sum(1) / along.square().sum(1)).clamp(0, 1)
        apart = (to - place.unsqueeze(1) * along).norm(dim=1)
        near = apart < reach_px
        key = ((apart / reach_px * STEPS).long() << 32) | chunk[which]
        pixel = (contour.image[edge[chunk]][which] * height + at[:, 1]) * width + at[:, 0]
        best.scatter_reduce_(0, pixel[near], key[near], 'amin')
    return torch.where(best < far, best & 0xFFFFFFFF, -1).reshape(len(meshes), height, width)
