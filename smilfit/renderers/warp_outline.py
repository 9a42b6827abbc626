"""Find the outline of what meshes cover by kernels, all images in one launch; as `find_outline`.

Triangles are sorted into square tiles, so that an edge looks only at the triangles of its own tiles. One thread
walks along one silhouette edge: over what covers it, then over a gap, and so on to its end.
"""

# Warp's kernels are annotated by values, made for a float type: no checker knows them as types.
# mypy: disable-error-code="valid-type"

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import torch
import warp as wp
from jaxtyping import Bool
from torch import Tensor

from smilfit.renderers.outline import OFFSET_PX, SNAP_PX, STEPS, Outline, SilhouetteEdges
from smilfit.renderers.projected import ProjectedMeshes
from smilfit.renderers.warp_memory import OPTIONS, launch, plane_functions, scalar_of, view

# A pixel centre this near to an edge, px, counts as inside, so that no gap opens between neighbours.
TOLERANCE_PX = {wp.float32: 1e-4, wp.float64: 1e-7}


@no_type_check
@cache
def outline_kernels(scalar):
    """Make the kernels of one float type."""
    return SimpleNamespace(
        sort_into_tiles=_sort_into_tiles(scalar),
        expose=_expose(scalar),
        nearest=_nearest(scalar),
        cover=_cover(scalar),
        scalar=scalar,
        vec2=plane_functions(scalar).vec2,
    )


@no_type_check
@cache
def _tile_box(scalar):
    vec2 = plane_functions(scalar).vec2

    @wp.func
    def tile_box(low: vec2, high: vec2, margin: scalar, tile: scalar, across: int, down: int):
        """Return the first and the last tile of a box; the first tile begins one margin before the image."""
        shift = vec2(margin, margin)
        far = scalar(1e8)
        first, last = (low + shift) / tile, (high + shift) / tile
        return wp.vec4i(
            wp.max(wp.int32(wp.floor(wp.clamp(first[0], -far, far))), 0),
            wp.max(wp.int32(wp.floor(wp.clamp(first[1], -far, far))), 0),
            wp.min(wp.int32(wp.floor(wp.clamp(last[0], -far, far))), across - 1),
            wp.min(wp.int32(wp.floor(wp.clamp(last[1], -far, far))), down - 1),
        )

    return tile_box


@no_type_check
def _sort_into_tiles(scalar):
    vec2, tile_box = plane_functions(scalar).vec2, _tile_box(scalar)

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def sort_into_tiles(
        corners: wp.array2d(dtype=vec2),
        windings: wp.array(dtype=wp.int8),
        n_faces: int,
        margin: scalar,
        tile: scalar,
        across: int,
        down: int,
        filled: wp.array(dtype=wp.int32),
        room: int,
        members: wp.array(dtype=wp.int32),
    ):
        """Count every tile's triangles, and list them where there is room."""
        i = wp.tid()
        if windings[i] == wp.int8(0):
            return
        a, b, c = corners[i, 0], corners[i, 1], corners[i, 2]
        box = tile_box(wp.min(a, wp.min(b, c)), wp.max(a, wp.max(b, c)), margin, tile, across, down)
        for y in range(box[1], box[3] + 1):
            for x in range(box[0], box[2] + 1):
                at = wp.atomic_add(filled, ((i / n_faces) * down + y) * across + x, 1)
                if at < room:
                    members[at] = i

    return sort_into_tiles


@no_type_check
def _cover_of(scalar):
    plane = plane_functions(scalar)
    vec2, cross = plane.vec2, plane.cross
    vec4 = wp.types.vector(length=4, dtype=scalar)
    infinity = wp.constant(scalar(1e30))

    @wp.func
    def cover_of(a: vec2, way: vec2, p: vec2, q: vec2, r: vec2, winding: scalar):
        """Return where the way enters a triangle and leaves it, and by which of its edges."""
        enter, leave = -infinity, infinity
        enter_edge, leave_edge = scalar(0.0), scalar(0.0)
        b = a + way
        if (
            wp.min(p[0], wp.min(q[0], r[0])) > wp.max(a[0], b[0])
            or wp.max(p[0], wp.max(q[0], r[0])) < wp.min(a[0], b[0])
            or wp.min(p[1], wp.min(q[1], r[1])) > wp.max(a[1], b[1])
            or wp.max(p[1], wp.max(q[1], r[1])) < wp.min(a[1], b[1])
        ):
            return vec4(infinity, -infinity, enter_edge, leave_edge)
        for k in range(3):
            start, end = p, q
            if k == 1:
                start, end = q, r
            elif k == 2:
                start, end = r, p
            edge = end - start
            at_a, slope = cross(edge, a - start) * winding, cross(edge, way) * winding
            if slope > scalar(0.0):
                if -at_a / slope > enter:
                    enter = -at_a / slope
                    enter_edge = scalar(k)
            elif slope < scalar(0.0):
                if -at_a / slope < leave:
                    leave = -at_a / slope
                    leave_edge = scalar(k)
            elif at_a < scalar(0.0):
                leave = -infinity
        return vec4(enter, leave, enter_edge, leave_edge)

    return cover_of


@no_type_check
def _expose(scalar):
    vec2, tile_box, cover_of = plane_functions(scalar).vec2, _tile_box(scalar), _cover_of(scalar)
    offset, snap_px = (wp.constant(scalar(x)) for x in (OFFSET_PX, SNAP_PX))

    @wp.func
    def edge_corners(faces: wp.array2d(dtype=wp.int32), face: int, edge: scalar):
        return wp.vec2i(faces[face, wp.int32(edge)], faces[face, (wp.int32(edge) + 1) % 3])

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def expose(
        corners: wp.array2d(dtype=vec2),
        windings: wp.array(dtype=wp.int8),
        n_faces: int,
        margin: scalar,
        tile: scalar,
        across: int,
        down: int,
        image: wp.array(dtype=wp.int32),
        starts: wp.array(dtype=vec2),
        ends: wp.array(dtype=vec2),
        inner: wp.array(dtype=scalar),
        begin: wp.array(dtype=wp.int32),
        finish: wp.array(dtype=wp.int32),
        members: wp.array(dtype=wp.int32),
        faces: wp.array2d(dtype=wp.int32),
        room: int,
        used: wp.array(dtype=wp.int32),
        edge: wp.array(dtype=wp.int32),
        places: wp.array(dtype=vec2),
        cuts: wp.array(dtype=wp.vec4i),
    ):
        """Walk along a silhouette edge's outer offset, and note the gaps that no triangle covers."""
        i = wp.tid()
        way = ends[i] - starts[i]
        length = wp.length(way)
        a = starts[i] + offset * inner[i] / length * vec2(way[1], -way[0])
        box = tile_box(wp.min(a, a + way), wp.max(a, a + way), margin, tile, across, down)
        snap = snap_px / length
        here = scalar(0.0)
        behind = wp.vec2i(-1, -1)
        while here < scalar(1.0):
            # Over whatever covers this place, as far as it goes; else over the gap, to what covers the edge next.
            moved = wp.bool(False)
            stop = scalar(1.0)
            ahead = wp.vec2i(-1, -1)
            for y in range(box[1], box[3] + 1):
                for x in range(box[0], box[2] + 1):
                    cell = (image[i] * down + y) * across + x
                    for k in range(begin[cell], finish[cell]):
                        j = members[k]
                        c = cover_of(a, way, corners[j, 0], corners[j, 1], corners[j, 2], scalar(windings[j]))
                        if c[1] > here and c[1] > c[0]:
                            if c[0] <= here:
                                here = c[1]
                                behind = edge_corners(faces, j % n_faces, c[3])
                                moved = wp.bool(True)
                            elif c[0] < stop:
                                stop = c[0]
                                ahead = edge_corners(faces, j % n_faces, c[2])
            if not moved:
                low, high = here, stop
                if low < snap:
                    low = scalar(0.0)
                    behind = wp.vec2i(-1, -1)
                if high > scalar(1.0) - snap:
                    high = scalar(1.0)
                    ahead = wp.vec2i(-1, -1)
                if high - low > snap:
                    at = wp.atomic_add(used, 0, 1)
                    if at < room:
                        edge[at] = i
                        places[at] = vec2(low, high)
                        cuts[at] = wp.vec4i(behind[0], behind[1], ahead[0], ahead[1])
                here = stop

    return expose


@no_type_check
def _nearest(scalar):
    plane = plane_functions(scalar)
    vec2, pixel_box = plane.vec2, plane.pixel_box
    steps = wp.constant(scalar(STEPS))

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def nearest(
        image: wp.array(dtype=wp.int32),
        starts: wp.array(dtype=vec2),
        ends: wp.array(dtype=vec2),
        width: int,
        height: int,
        reach: scalar,
        best: wp.array(dtype=wp.int64),
    ):
        i = wp.tid()
        a = starts[i]
        way = ends[i] - a
        over = scalar(1.0) / wp.dot(way, way)
        box = pixel_box(wp.min(a, ends[i]), wp.max(a, ends[i]), reach, width, height)
        for y in range(box[1], box[3] + 1):
            for x in range(box[0], box[2] + 1):
                to = vec2(scalar(x), scalar(y)) - a
                t = wp.clamp(wp.dot(to, way) * over, scalar(0.0), scalar(1.0))
                distance = wp.length(to - t * way)
                if distance < reach:
                    key = (wp.int64(distance / reach * steps) << wp.int64(32)) | wp.int64(i)
                    wp.atomic_min(best, (image[i] * height + y) * width + x, key)

    return nearest


@no_type_check
def _cover(scalar):
    plane = plane_functions(scalar)
    vec2, vec3, cross, pixel_box = plane.vec2, plane.vec3, plane.cross, plane.pixel_box
    tolerance = wp.constant(scalar(TOLERANCE_PX[scalar]))

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def cover(
        corners: wp.array2d(dtype=vec2),
        windings: wp.array(dtype=wp.int8),
        n_faces: int,
        width: int,
        height: int,
        covered: wp.array(dtype=wp.uint8),
    ):
        i = wp.tid()
        rotation = scalar(windings[i])
        if rotation == scalar(0.0):
            return
        a, b, c = corners[i, 0], corners[i, 1], corners[i, 2]
        ab, bc, ca = rotation * (b - a), rotation * (c - b), rotation * (a - c)
        least = -tolerance * vec3(wp.length(ab), wp.length(bc), wp.length(ca))
        box = pixel_box(wp.min(a, wp.min(b, c)), wp.max(a, wp.max(b, c)), tolerance, width, height)
        for y in range(box[1], box[3] + 1):
            for x in range(box[0], box[2] + 1):
                p = vec2(scalar(x), scalar(y))
                if (
                    cross(ab, p - a) >= least[0]
                    and cross(bc, p - b) >= least[1]
                    and cross(ca, p - c) >= least[2]
                ):
                    covered[((i / n_faces) * height + y) * width + x] = wp.uint8(1)

    return cover


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
    nearest = _nearest_segments(meshes, contour, pixels, (edge, low, high), reach_px)
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


def _nearest_segments(
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
