"""The outline of what meshes cover: which segments of which edges it is made of, and how far each pixel is from it.

Seen from a camera, a closed mesh's outline consists of segments of *silhouette edges*: edges whose faces all lie on
one side of them in the image (one face seen from the front and one from behind, or the mesh's own border). Such an
edge is part of the outline where nothing else covers its outer offset. Whoever finds those segments
(`find_outline`, or the kernels of `warp_outline.py`) gives integers and places only; the distances here are
recomputed from the corners, with gradients.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.renderers.projected import ProjectedMeshes, cross
from smilfit.renderers.scanline import image_triangles, visible_faces
from smilfit.renderers.soft_coverage import pairs_of, pixel_boxes

# The outer offset of an edge runs this far beside it, px. Edges that touch within it hide each other.
OFFSET_PX = 1e-3
# Ends this near to a corner are the corner, and shorter segments are none, px.
SNAP_PX = 1e-2
# Below this sine of their angle, where two edges cross does not count as moving with them.
LEAST_SINE = 0.05


@dataclass(frozen=True)
class MeshEdges:
    """The S edges of a mesh's triangles, and the faces of each (padded with the first face and winding 0).

    `winding` is 1 where a face runs along the edge from its first to its second corner, else -1.
    """

    corners: Int[Tensor, 'S 2']
    faces: Int[Tensor, 'S m']
    winding: Int[Tensor, 'S m']


@dataclass(frozen=True)
class SilhouetteEdges:
    """M silhouette edges in N images: their image, corners, and on which side of them the mesh lies (1 or -1)."""

    image: Int[Tensor, 'M']
    corners: Int[Tensor, 'M 2']
    inner: Float[Tensor, 'M']


@dataclass(frozen=True)
class Outline:
    """P segments of silhouette edges, and the nearest segment of every pixel that has one within reach.

    A segment runs from place `low` to `high` of its edge, 0 at the first corner and 1 at the second. Where another
    edge cuts it off, `cut` has that edge's corners (of the low end, then of the high end), else -1.
    """

    covered: Bool[Tensor, 'N H W']
    nearest: Int[Tensor, 'N H W']
    edge: Int[Tensor, 'P']
    low: Float[Tensor, 'P']
    high: Float[Tensor, 'P']
    cut: Int[Tensor, 'P 2 2']


def mesh_edges(faces: Int[Tensor, 'F 3']) -> MeshEdges:
    """List the edges of triangles, however many faces share one."""
    start, end = faces.flatten(), faces.roll(-1, 1).flatten()
    pairs = torch.stack((torch.minimum(start, end), torch.maximum(start, end)), 1)
    corners, edge = pairs.unique(dim=0, return_inverse=True)
    order = edge.argsort(stable=True)
    count = torch.bincount(edge, minlength=len(corners))
    rank = torch.arange(len(edge), device=edge.device) - (count.cumsum(0) - count)[edge[order]]
    table = edge.new_zeros((len(corners), int(count.max()) if len(count) else 0))
    rotation = torch.zeros_like(table)
    table[edge[order], rank] = order // 3
    rotation[edge[order], rank] = torch.where(start < end, 1, -1)[order]
    return MeshEdges(corners, table, rotation)


def silhouette_edges(meshes: ProjectedMeshes, edges: MeshEdges, margin_px: float) -> SilhouetteEdges:
    """Find the edges all of whose faces lie on one side of them, within a margin of the image."""
    # A face that turns like its edge's run has its third corner on the edge's left (positive cross product).
    offset = meshes.windings[:, edges.faces] * edges.winding
    count, total = offset.abs().sum(2), offset.sum(2)
    ends = meshes.pixels.detach()[:, edges.corners]
    limit = ends.new_tensor([meshes.width - 1, meshes.height - 1]) + margin_px
    near = ((ends.amax(2) >= -margin_px) & (ends.amin(2) <= limit)).all(2)
    long = (ends[:, :, 1] - ends[:, :, 0]).square().sum(2) > SNAP_PX**2
    chosen = (count > 0) & (total.abs() == count) & near & long
    image, edge = chosen.nonzero(as_tuple=True)
    return SilhouetteEdges(image, edges.corners[edge], total[image, edge].sign())


def signed_distance(
    meshes: ProjectedMeshes, contour: SilhouetteEdges, outline: Outline
) -> tuple[tuple[Tensor, ...], Float[Tensor, 'M']]:
    """Return the distance to the outline, px, positive inside, at the pixels that have some of it within reach.

    Gradients reach the corners, and those of the edge that cuts a segment off.

    Returns:
        Where: image, row and column; and the distances.
    """
    where = (outline.nearest >= 0).nonzero(as_tuple=True)
    segment = outline.nearest[where]
    edge, image = outline.edge[segment], where[0]
    a, b = (meshes.pixels[image, contour.corners[edge, i]] for i in (0, 1))
    p = torch.stack((where[2], where[1]), 1).to(a)
    along = b - a
    length = along.norm(dim=1)
    with torch.no_grad():
        free = ((p - a) * along).sum(1) / length.square()
        place = torch.minimum(torch.maximum(free, outline.low[segment]), outline.high[segment])
        between = (free > outline.low[segment]) & (free < outline.high[segment])
    # Between the ends the distance is that to a line, which has a gradient even on the line.
    to_line = cross(along, p - a) / length * contour.inner[edge]
    cut = torch.where((free > place).unsqueeze(1), outline.cut[segment, 1], outline.cut[segment, 0])
    place = _crossing(meshes, image, a, along, cut, place)
    squared = (a + place.unsqueeze(1) * along - p).square().sum(1)
    away = squared.detach() > 1e-12
    to_end = torch.where(away, torch.where(away, squared, 1.0).sqrt(), 0.0)
    sign = torch.where(outline.covered[where], 1.0, -1.0).to(to_end)
    return where, torch.where(between, to_line, sign * to_end)


def _crossing(
    meshes: ProjectedMeshes, image: Tensor, a: Tensor, along: Tensor, cut: Tensor, place: Tensor
) -> Tensor:
    """Return the place where the edge `a + t along` is cut by another, with its gradient; where none is, the
    given."""
    c, d = (meshes.pixels[image, cut[:, i].clamp_min(0)] for i in (0, 1))
    other = d - c
    denominator = cross(along, other)
    with torch.no_grad():
        sine = denominator.abs() / (along.norm(dim=1) * other.norm(dim=1)).clamp_min(1e-12)
        moves = (cut[:, 0] >= 0) & (sine > LEAST_SINE)
    result = cross(c - a, other) / torch.where(moves, denominator, torch.ones_like(denominator))
    return torch.where(moves, result, place)


def edge_profile(distance: Float[Tensor, '*n'], half_width: float) -> Float[Tensor, '*n']:
    """Rise smoothly from 0 at `-half_width` to 1 at `half_width`: `1/2 + 3/4 x - 1/4 x^3`."""
    x = (distance / half_width).clamp(-1, 1)
    return 0.5 + 0.75 * x - 0.25 * x**3


def visible_alpha(
    meshes: ProjectedMeshes, contour: SilhouetteEdges, outline: Outline, half_width_px: float
) -> Float[Tensor, 'N H W']:
    """Render silhouettes that are 1 inside, 0 outside, and soft within `half_width_px` of the outline."""
    alpha = outline.covered.to(meshes.pixels.dtype)
    where, distance = signed_distance(meshes, contour, outline)
    return alpha.index_put(where, edge_profile(distance, half_width_px))


# Distances are ranked in steps of this share of the reach.
STEPS = 2**30


@torch.no_grad()
def find_outline(
    meshes: ProjectedMeshes, contour: SilhouetteEdges, reach_px: float, max_pairs: int = 500_000
) -> Outline:
    """Find the segments of silhouette edges that the outline is made of, and the nearest one of each pixel.

    Args:
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
    visible = visible_faces(triangles, meshes.width, meshes.height, 8 * max_pairs)
    return (visible >= 0).reshape(meshes.height, meshes.width)


def _exposed(
    meshes: ProjectedMeshes, contour: SilhouetteEdges, n: int, max_pairs: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cut the edges of one image into segments whose outer offset no triangle covers."""
    mine = (contour.image == n).nonzero().squeeze(1)
    windings = meshes.windings[n]
    faces, windings = meshes.faces[windings != 0], windings[windings != 0]
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
        interval, edge = _cover(a[which], b[which], triangles[face], windings[face])
        cutters = torch.stack(
            (faces[face], faces[face].roll(-1, 1)), 2
        )  # corners of the triangle's three edges
        cutters = cutters.gather(1, edge.unsqueeze(2).expand(-1, 2, 2))
        row, *rest = _gaps(which, interval, cutters, length)
        result.append((part[row], *rest))
    edge, start, end, cut = (torch.cat(parts) for parts in zip(*result))
    return edge, start, end, cut


def _cover(
    a: Float[Tensor, 'K 2'],
    b: Float[Tensor, 'K 2'],
    corners: Float[Tensor, 'K 3 2'],
    winding: Float[Tensor, 'K'],
) -> tuple[Float[Tensor, 'K 2'], Int[Tensor, 'K 2']]:
    """Return the places where the way from a to b enters and leaves a triangle, and by which of its edges.

    It enters after it leaves if it never does.
    """
    edges = corners.roll(-1, 1) - corners
    at_a = cross(edges, a.unsqueeze(1) - corners) * winding.unsqueeze(1)
    slope = cross(edges, (b - a).unsqueeze(1).expand_as(edges)) * winding.unsqueeze(1)
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
        distance = (to - place.unsqueeze(1) * along).norm(dim=1)
        near = distance < reach_px
        key = ((distance / reach_px * STEPS).long() << 32) | chunk[which]
        pixel = (contour.image[edge[chunk]][which] * height + at[:, 1]) * width + at[:, 0]
        best.scatter_reduce_(0, pixel[near], key[near], 'amin')
    return torch.where(best < far, best & 0xFFFFFFFF, -1).reshape(len(meshes), height, width)
