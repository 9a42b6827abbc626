"""The kernels that find the outline of what meshes cover."""

# Warp's kernels are annotated by values, made for a float type: no checker knows them as types.
# mypy: disable-error-code="valid-type"

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.renderers.outline import OFFSET_PX, SNAP_PX, STEPS
from smilfit.renderers.warp_memory import OPTIONS
from smilfit.renderers.warp_plane import plane_functions

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
