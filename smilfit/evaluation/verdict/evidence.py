"""How much was seen of an animal, and how large it is in the images."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.structures import Keypoints2d

# Keypoints nearer to each other than this share of the image are one place.
_SAME_PLACE = 0.002


def places_seen(seen: Keypoints2d) -> Int[Tensor, ' B']:
    """Count the different places of keypoints in each frame's best view."""
    side = seen.rig.size.amax(-1).reshape(-1, seen.xy.shape[1], 1, 1).to(seen.xy)
    apart = torch.cdist(seen.xy, seen.xy) > _SAME_PLACE * side
    visible = seen.visible
    again = (~apart & visible.unsqueeze(-1) & visible.unsqueeze(-2)).tril(-1).any(-1)
    return (visible & ~again).sum(-1).amax(1)


def names_seen(seen: Keypoints2d) -> Int[Tensor, ' B']:
    """Count the keypoints that at least one view of a frame saw."""
    return seen.visible.any(1).sum(1)


def extents_px(seen: Keypoints2d, pooled: bool = True) -> Float[Tensor, 'B C']:
    """Measure how large the animal is in each image: the diagonal of its keypoints' box, px.

    Args:
        seen: the labels.
        pooled: whether a camera's frames share the 90th percentile, as the frames of one recording do: where few
            keypoints are in sight the animal is no smaller. Else each frame stands for itself.

    Returns:
        NaN where nothing was seen.
    """
    hidden = ~seen.visible.unsqueeze(-1)
    low = seen.xy.masked_fill(hidden, torch.inf).amin(2)
    high = seen.xy.masked_fill(hidden, -torch.inf).amax(2)
    size = (high - low).norm(dim=-1)
    size = torch.where(seen.visible.any(-1), size, torch.nan).double()
    return size.nanquantile(0.9, dim=0, keepdim=True).expand_as(size) if pooled else size


def kept_share(seen: Keypoints2d) -> Float[Tensor, ' C']:
    """Return the share of its keypoints, of all frames, that each camera has labels of."""
    return seen.visible.double().mean((0, 2))
