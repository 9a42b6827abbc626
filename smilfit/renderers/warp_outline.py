"""Find the outline of what meshes cover by kernels, all images in one launch; as `outline_search.py`.

Triangles are sorted into square tiles, so that an edge looks only at the triangles of its own tiles. One thread
walks along one silhouette edge: over what covers it, then over a gap, and so on to its end.
"""

import torch
import warp as wp
from jaxtyping import Bool
from torch import Tensor

from smilfit.renderers.outline import Outline, SilhouetteEdges
from smilfit.renderers.projected import ProjectedMeshes
from smilfit.renderers.warp_memory import launch, scalar_of, view
from smilfit.renderers.warp_outline_kernels import outline_kernels

LEAST_TILE_PX, LARGEST_TILE_PX = 1.0, 8.0


@torch.no_grad()
def find_outline_by_warp(meshes: ProjectedMeshes, contour: SilhouetteEdges, reach_px: float) -> Outline:
    """Find the segments of silhouette edges that the outline is made of, and the nearest one of each pixel.

    Args:
        contour: their silhouette edges.
        reach_px: how far from the outline a pixel may be.
    """
    pixels = meshes.pixels
    corners = meshes.corners().reshape(-1, 3, 2).contiguous()
    windings = meshes.windings.reshape(-1).to(torch.int8)
    edge, low, high, cut = _segments(meshes, contour, pixels, corners, windings, reach_px)
    nearest = _nearest(meshes, contour, pixels, (edge, low, high), reach_px)
    covered = _covered(meshes, corners, windings)
    return Outline(covered, nearest, edge, low, high, cut)


def _covered(meshes: ProjectedMeshes, corners: Tensor, windings: Tensor) -> Bool[Tensor, 'N H W']:
    covered = windings.new_zeros(len(meshes) * meshes.height * meshes.width, dtype=torch.uint8)
    kernels = outline_kernels(scalar_of(corners))
    size = [len(meshes.faces), meshes.width, meshes.height]
    inputs = [view(corners, kernels.vec2), view(windings), *size, view(covered)]
    launch(kernels.cover, len(corners), inputs, corners.device)
    return covered.bool().reshape(len(meshes), meshes.height, meshes.width)


def _segments(
    meshes: ProjectedMeshes,
    contour: SilhouetteEdges,
    pixels: Tensor,
    corners: Tensor,
    windings: Tensor,
    reach_px: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    kernels, device = outline_kernels(scalar_of(corners)), corners.device
    tile = _tile_px(corners[windings != 0])
    across, down = (int((n + 2 * reach_px) // tile) + 1 for n in (meshes.width, meshes.height))
    tiles = [kernels.scalar(reach_px), kernels.scalar(tile), across, down]
    shapes = [view(corners, kernels.vec2), view(windings), len(meshes.faces)]
    count = torch.zeros(len(meshes) * across * down, dtype=torch.int32, device=device)
    # Counted first, without room for any; then listed, each tile's from its own place on.
    nobody = torch.empty(0, dtype=torch.int32, device=device)
    launch(kernels.sort_into_tiles, len(corners), [*shapes, *tiles, view(count), 0, view(nobody)], device)
    end = count.cumsum(0, dtype=torch.int32)
    members = torch.empty(int(end[-1]), dtype=torch.int32, device=device)
    filled = end - count
    listed = [view(filled), len(members), view(members)]
    launch(kernels.sort_into_tiles, len(corners), [*shapes, *tiles, *listed], device)
    a, b = (pixels[contour.image, contour.corners[:, i]] for i in (0, 1))
    edges = [
        view(contour.image.int()),
        *(view(x, kernels.vec2) for x in (a, b)),
        view(contour.inner.to(pixels)),
    ]
    lists = [view(end - count), view(end), view(members), view(meshes.faces.int())]
    room = 2 * len(a) + 64
    while True:
        edge, cut = (torch.empty((room, n), dtype=torch.int32, device=device) for n in (1, 4))
        places = torch.empty((room, 2), dtype=pixels.dtype, device=device)
        used = torch.zeros(1, dtype=torch.int32, device=device)
        answers = [room, view(used), view(edge[:, 0]), view(places, kernels.vec2), view(cut, wp.vec4i)]
        launch(kernels.expose, len(a), [*shapes, *tiles, *edges, *lists, *answers], device)
        n = int(used)
        if n <= room:
            break
        room = n
    low, high = places[:n].unbind(1)
    return edge[:n, 0].long(), low, high, cut[:n].long().reshape(n, 2, 2)


def _tile_px(corners: Tensor) -> float:
    """Make tiles a little wider than triangles are: few triangles in a tile, few tiles a triangle."""
    extent = (corners.amax(1) - corners.amin(1)).clamp_max(LARGEST_TILE_PX).mean()
    return min(max(1.25 * float(extent.nan_to_num()), LEAST_TILE_PX), LARGEST_TILE_PX)


def _nearest(
    meshes: ProjectedMeshes,
    contour: SilhouetteEdges,
    pixels: Tensor,
    segments: tuple[Tensor, Tensor, Tensor],
    reach_px: float,
) -> Tensor:
    kernels = outline_kernels(scalar_of(pixels))
    edge, low, high = segments
    image = contour.image[edge]
    a, b = (pixels[image, contour.corners[edge, i]] for i in (0, 1))
    start, end = (a + place.unsqueeze(1) * (b - a) for place in (low, high))
    far = torch.iinfo(torch.int64).max
    size = (len(meshes), meshes.height, meshes.width)
    best = torch.full(size, far, dtype=torch.int64, device=pixels.device)
    ends = [view(image.int()), view(start, kernels.vec2), view(end, kernels.vec2)]
    control = [meshes.width, meshes.height, kernels.scalar(reach_px)]
    launch(kernels.nearest, len(edge), [*ends, *control, view(best.view(-1))], pixels.device)
    return torch.where(best < far, best & 0xFFFFFFFF, -1)
