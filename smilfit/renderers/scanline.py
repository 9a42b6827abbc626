"""Which face does each pixel see: triangles cut into spans of pixels, spans written into one z-buffer.

In the image, the barycentric coordinates of a triangle are affine in the pixel, and so is 1/z. A row of pixels
meets a triangle in one span; its ends follow from where the three coordinates are zero. So only covered
pixels are ever enumerated, each with one multiply and one add, and no loop runs over faces.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.renderers.projected import LEAST_AREA_PX2, ProjectedMeshes, cross

# A pixel centre this near to an edge, px, counts as inside, so that no gap opens between neighbours.
EDGE_TOLERANCE_PX = 1e-7


@dataclass(frozen=True)
class ImageTriangles:
    """Triangles that may be seen: their index, their affine barycentrics and their box of pixels."""

    index: Int[Tensor, 'F']
    barycentric: Float[Tensor, 'F 3 3']  # coordinate i at (x, y) is [i, 0] x + [i, 1] y + [i, 2]
    inverse_z: Float[Tensor, 'F 3']  # affine in (x, y, 1)
    low: Int[Tensor, 'F 2']
    high: Int[Tensor, 'F 2']


def image_triangles(
    pixels: Float[Tensor, 'V 2'],
    depth: Float[Tensor, 'V'],
    faces: Int[Tensor, 'F 3'],
    width: int,
    height: int,
) -> ImageTriangles:
    """Prepare the triangles whose box meets the image and that are not seen edge-on."""
    corners = pixels.double()[faces]
    tolerance = EDGE_TOLERANCE_PX
    limit = pixels.new_tensor([width - 1, height - 1], dtype=torch.float64)
    low = (corners.amin(1) - tolerance).ceil().clamp_min(0)
    high = torch.minimum((corners.amax(1) + tolerance).floor(), limit)
    index = (low <= high).all(1).nonzero().squeeze(1)
    corners = corners[index]
    first, second = corners[:, (1, 2, 0)], corners[:, (2, 0, 1)]
    along = second - first
    area = along[:, 0, 0] * along[:, 1, 1] - along[:, 0, 1] * along[:, 1, 0]
    x_part, y_part = -along[..., 1], along[..., 0]
    constant = along[..., 1] * first[..., 0] - along[..., 0] * first[..., 1]
    keep = area.abs() > LEAST_AREA_PX2
    barycentric = (torch.stack((x_part, y_part, constant), -1) / area[:, None, None])[keep]
    index = index[keep]
    over_z = barycentric / depth.double()[faces[index]].unsqueeze(-1)
    inverse_z = over_z[:, 0] + over_z[:, 1] + over_z[:, 2]  # much faster than a sum over three
    return ImageTriangles(index, barycentric, inverse_z, low[index].long(), high[index].long())


def _spans(triangles: ImageTriangles, chosen: slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cut triangles into rows: triangle, row, first pixel and number of pixels of each span."""
    low, high = triangles.low[chosen], triangles.high[chosen]
    n_rows = high[:, 1] - low[:, 1] + 1
    start = n_rows.cumsum(0) - n_rows
    which = torch.repeat_interleave(n_rows)
    row = torch.arange(len(which), device=low.device) - (start - low[:, 1])[which]
    affine = triangles.barycentric[chosen][which]
    slope = affine[..., 0]
    at_zero = affine[..., 1] * row.unsqueeze(1) + affine[..., 2]
    crossing = -at_zero / slope
    infinity = torch.full((), torch.inf, dtype=crossing.dtype, device=crossing.device)
    left = torch.where(slope > 0, crossing, -infinity).amax(1)
    right = torch.where(slope < 0, crossing, infinity).amin(1)
    first = torch.maximum((left - EDGE_TOLERANCE_PX).ceil(), low[which, 0].double())
    last = torch.minimum((right + EDGE_TOLERANCE_PX).floor(), high[which, 0].double())
    # A side that runs along the row has no crossing; the row is then on its inner side or on its outer.
    outside = ((slope == 0) & (at_zero < -EDGE_TOLERANCE_PX)).any(1)
    count = torch.where(outside, 0.0, (last - first + 1).clamp_min(0)).long()
    used = count > 0
    return which[used], row[used], first[used].long(), count[used]


def _write(buffer: Tensor, triangles: ImageTriangles, chosen: slice, width: int) -> None:
    """Write triangles into the z-buffer: the greatest 1/z wins, the lowest face where they are equal."""
    which, row, first, count = _spans(triangles, chosen)
    affine = triangles.inverse_z[chosen][which]
    slope = affine[:, 0].float()
    inverse_z = (affine[:, 0] * first + affine[:, 1] * row + affine[:, 2]).float()
    span = torch.repeat_interleave(count)
    step = torch.arange(len(span), device=count.device) - (count.cumsum(0) - count)[span]
    pixel = (row * width + first)[span] + step
    nearness = inverse_z[span] + slope[span] * step
    # Positive floats keep their order as integers, so one integer carries the depth and then the face.
    bits = nearness.clamp_min(torch.finfo(torch.float32).tiny).view(torch.int32).long()
    face = 0x7FFFFFFF - triangles.index[chosen][which]
    buffer.scatter_reduce_(0, pixel, (bits << 32) | face[span], 'amax')


def visible_faces(triangles: ImageTriangles, width: int, height: int, max_pixels: int) -> Int[Tensor, 'P']:
    """Find the nearest face of every pixel, row by row; -1 where there is none.

    Args:
        width: of the image, px.
        height: of the image, px.
        max_pixels: how many (face, pixel) pairs of the faces' boxes may be in memory at once.
    """
    buffer = torch.zeros(width * height, dtype=torch.int64, device=triangles.index.device)
    total = (triangles.high - triangles.low + 1).prod(1).cumsum(0)
    n_triangles, start = len(total), 0
    while start < n_triangles:
        done = int(total[start - 1]) if start else 0
        end = max(int(torch.searchsorted(total, done + max_pixels, right=True)), start + 1)
        _write(buffer, triangles, slice(start, end), width)
        start = end
    return torch.where(buffer > 0, 0x7FFFFFFF - (buffer & 0x7FFFFFFF), -1)


@torch.no_grad()
def faces_by_scanlines(meshes: ProjectedMeshes, max_pixels: int) -> Int[Tensor, 'N H W']:
    """Find the face that each pixel of each image sees; -1 where there is none."""
    images = []
    for n in range(len(meshes)):
        kept = meshes.drawable[n].nonzero().squeeze(1)
        triangles = image_triangles(
            meshes.pixels[n], meshes.in_camera[n, :, 2], meshes.faces[kept], meshes.width, meshes.height
        )
        face = visible_faces(triangles, meshes.width, meshes.height, max_pixels)
        images.append(torch.where(face >= 0, kept[face.clamp_min(0)], -1) if len(kept) else face)
    shape = (len(meshes), meshes.height, meshes.width)
    return torch.stack(images).reshape(shape) if images else meshes.faces.new_zeros(shape)


def locate(
    corners: Float[Tensor, 'M 3 2'], corner_depth: Float[Tensor, 'M 3'], at: Int[Tensor, 'M 2']
) -> tuple[Float[Tensor, 'M 3'], Float[Tensor, 'M']]:
    """Return the barycentric coordinates in space and the depth at pixels (x, y) that see a triangle.

    Args:
        corners: px.
        corner_depth: z of the corners.
        at: pixels inside.
    """
    # The inverse of a small triangle's area needs more digits than single precision has.
    to_corner = corners.double() - at.unsqueeze(1)
    area = cross(to_corner.roll(-1, 1), to_corner.roll(-2, 1))
    in_image = (area / (area[:, :1] + area[:, 1:2] + area[:, 2:])).clamp(0, 1)
    weights = in_image / corner_depth.double()
    inverse = weights[:, 0] + weights[:, 1] + weights[:, 2]
    return (weights / inverse.unsqueeze(1)).to(corners.dtype), (1 / inverse).to(corners.dtype)
