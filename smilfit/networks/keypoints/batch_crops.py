"""Cut square crops out of batches of images, on whatever device they are.

A box (x0, y0, side) is px of the stored image: its first pixel is x0, its last x0 + side - 1. An affine map (2, 3)
takes px of the stored image to px of the crop, `u' = A u + b`. What lies outside of the image is black.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

# Shrinking up to 2^levels-fold is averaged well: more than that from a stored image to a crop is a poor choice of
# store.
_LEVELS = 3


# A box is at least so wide, px of the stored image.
_LEAST_SIDE = 8.0


def box_affine(boxes: Float[Tensor, 'N 3'], side: int) -> Float[Tensor, 'N 2 3']:
    """Return the maps from stored images to crops of `side` px that show the boxes (x0, y0, side)."""
    scale = side / boxes[:, 2]
    offset = (0.5 - boxes[:, :2]) * scale.unsqueeze(-1) - 0.5
    eye = torch.eye(2, dtype=boxes.dtype, device=boxes.device)
    return torch.cat((scale[:, None, None] * eye, offset.unsqueeze(-1)), -1)


def whole_boxes(n: int, size: Sequence[int], like: Tensor) -> Float[Tensor, 'N 3']:
    """Return the smallest square boxes around whole images of (H, W) px."""
    height, width = size
    side = max(height, width)
    box = like.new_tensor([(width - side) / 2, (height - side) / 2, side])
    return box.expand(n, 3)


def compose_affine(after: Float[Tensor, 'N 2 3'], before: Float[Tensor, 'N 2 3']) -> Float[Tensor, 'N 2 3']:
    """Return the map that does `before`, then `after`."""
    matrix = after[..., :2] @ before[..., :2]
    offset = after[..., :2] @ before[..., 2:] + after[..., 2:]
    return torch.cat((matrix, offset), -1)


def invert_affine(affine: Float[Tensor, 'N 2 3']) -> Float[Tensor, 'N 2 3']:
    """Return the inverse map, in closed form."""
    a, b, c, d = affine[..., :2].flatten(-2).unbind(-1)
    inverse = torch.stack((d, -b, -c, a), -1).unflatten(-1, (2, 2)) / (a * d - b * c)[..., None, None]
    return torch.cat((inverse, -inverse @ affine[..., 2:]), -1)


def map_px(affine: Float[Tensor, 'N 2 3'], px: Float[Tensor, 'N K 2']) -> Float[Tensor, 'N K 2']:
    """Apply `u' = A u + b` to points."""
    return px @ affine[..., :2].transpose(-1, -2) + affine[..., 2].unsqueeze(-2)


def cut(
    images: Float[Tensor, 'N 3 H W'], affine: Float[Tensor, 'N 2 3'], side: int
) -> Float[Tensor, 'N 3 side side']:
    """Sample crops, bilinearly; an image that shrinks by 1.4 or more is averaged over blocks first.

    Args:
        images: the stored images.
        affine: px of these -> px of the crops; mirrored ones have a negative determinant.
        side: px of the crops.
    """
    to_image = invert_affine(affine.float())
    shrink = torch.linalg.det(to_image[..., :2]).abs().sqrt()
    # A box that is none has a level all the same: its crop is no number, and not whatever memory held.
    level = shrink.log2().round().clamp(0, _LEVELS).nan_to_num(0.0)
    if images.device.type != 'cpu' or torch.compiler.is_compiling():
        # On a GPU, asking how far any shrinks would wait for it.
        return _sampled(_averaged(images, level), to_image, 2.0**level, side)
    crops = images.new_empty(len(images), images.shape[1], side, side)
    rows, coarse = torch.arange(len(images)), images
    for i in range(_LEVELS + 1):
        here = level[rows] == i
        if bool(here.any()):
            chosen = rows[here]
            crops[chosen] = _sampled(coarse[here], to_image[chosen], 2.0 ** level[chosen], side)
        rows, coarse = rows[~here], coarse[~here]
        if not len(rows):
            break
        coarse = halved(coarse)
    return crops


def _sampled(
    source: Float[Tensor, 'N D h w'],
    to_image: Float[Tensor, 'N 2 3'],
    block: Float[Tensor, ' N'],
    side: int,
) -> Float[Tensor, 'N D side side']:
    """Sample images that are averages over blocks of `block` px, from their first corner on."""
    # Pixel u of the image is (u + 0.5) / block - 0.5 of the averaged one.
    scale = (1 / block)[:, None, None]
    to_source = torch.cat((to_image[..., :2] * scale, (to_image[..., 2:] + 0.5) * scale - 0.5), -1)
    axis = torch.arange(side, device=source.device, dtype=to_source.dtype)
    grid = torch.stack((axis.expand(side, side), axis.unsqueeze(-1).expand(side, side)), -1).reshape(1, -1, 2)
    place = map_px(to_source, grid.expand(len(source), -1, -1)).unflatten(1, (side, side))
    size = place.new_tensor([source.shape[-1], source.shape[-2]])
    return functional.grid_sample(
        source, ((place + 0.5) * 2 / size - 1).to(source.dtype), padding_mode='zeros', align_corners=False
    )


def _averaged(images: Float[Tensor, 'N 3 H W'], level: Float[Tensor, ' N']) -> Float[Tensor, 'N 3 H W']:
    """Average each image over blocks of 2^level px, into the first corner of a canvas of its size."""
    height, width = images.shape[-2:]
    source, coarse = images, images
    for i in range(1, _LEVELS + 1):
        coarse = halved(coarse)
        canvas = functional.pad(coarse, (0, width - coarse.shape[-1], 0, height - coarse.shape[-2]))
        source = torch.where((level == i)[:, None, None, None], canvas, source)
    return source


def halved(images: Float[Tensor, 'N D H W']) -> Float[Tensor, 'N D h w']:
    """Average over blocks of 2 x 2 px; a last odd row or column counts twice."""
    height, width = images.shape[-2:]
    if height % 2 or width % 2:
        images = functional.pad(images, (0, width % 2, 0, height % 2), mode='replicate')
    # Four times as fast as average pooling on a CPU.
    rows = images[..., 0::2, :] + images[..., 1::2, :]
    return (rows[..., 0::2] + rows[..., 1::2]) * 0.25


def point_boxes(
    px: Float[Tensor, 'N K 2'], weight: Float[Tensor, 'N K'], size: Sequence[int], margin: float
) -> Float[Tensor, 'N 3']:
    """Return square boxes around the points that are known and inside the image; the whole image where none is.

    Args:
        px: points.
        weight: 0 for unknown ones.
        size: (H, W) of the image, px.
        margin: side of the box over the points' larger extent.
    """
    limit = px.new_tensor([size[1], size[0]]) - 0.5
    known = (weight > 0) & ((px > -0.5) & (px < limit)).all(-1)
    boxes = square_around(px, known, margin)
    return torch.where(known.any(1, keepdim=True), boxes, whole_boxes(len(px), size, px))


def square_around(
    px: Float[Tensor, '*n K 2'], known: Bool[Tensor, '*n K'], margin: float
) -> Float[Tensor, '*n 3']:
    """Return the square box around the known of some points, by a margin on the larger extent; NaN round none."""
    low = torch.where(known.unsqueeze(-1), px, math.inf).amin(-2)
    high = torch.where(known.unsqueeze(-1), px, -math.inf).amax(-2)
    side = ((high - low).amax(-1, keepdim=True) + 1).clamp_min(_LEAST_SIDE) * margin
    return torch.cat(((high + low - side + 1) / 2, side), -1)
