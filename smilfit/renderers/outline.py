"""The outline of what meshes cover: which segments of which edges it is made of, and how far each pixel is from it.

Seen from a camera, a closed mesh's outline consists of segments of *silhouette edges*: edges whose faces all lie on
one side of them in the image (one face seen from the front and one from behind, or the mesh's own border). Such an
edge is part of the outline where nothing else covers its outer offset. Whoever finds those segments
(`outline_search.py`, or the kernels of `warp_outline.py`) gives integers and places only; the distances here are
recomputed from the corners, with gradients.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.renderers.projected import ProjectedMeshes, cross

# The outer offset of an edge runs this far beside it, px. Edges that touch within it hide each other.
OFFSET_PX = 1e-3
# Ends this near to a corner are the corner, and shorter segments are none, px.
SNAP_PX = 1e-2
# Below this sine of their angle, where two edges cross does not count as moving with them.
LEAST_SINE = 0.05


@dataclass(frozen=True)
class MeshEdges:
    """The S edges of a mesh's triangles, and the faces of each (padded with the first face and turn 0).

    `turn` is 1 where a face runs along the edge from its first to its second corner, else -1.
    """

    corners: Int[Tensor, 'S 2']
    faces: Int[Tensor, 'S m']
    turn: Int[Tensor, 'S m']


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
    offset = meshes.turns[:, edges.faces] * edges.turn
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
    apart = squared.detach() > 1e-12
    to_end = torch.where(apart, torch.where(apart, squared, 1.0).sqrt(), 0.0)
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
