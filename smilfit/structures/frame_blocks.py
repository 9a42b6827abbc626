"""Numbers of all frames of a recording, computed some frames at a time."""

from collections.abc import Callable

import torch
from torch import Tensor

# What lies between is small beside the libraries' own memory, and a block is long enough to be as fast as the whole.
FRAMES = 2048


def by_blocks(n: int, compute: Callable[[slice], Tensor], size: int = FRAMES) -> Tensor:
    """Join what is computed of each block of frames: the memory of what lies between does not grow with n.

    Args:
        n: frames in all.
        compute: gives the numbers of the frames of a slice, one row a frame, on its own for each.
        size: frames of a block.
    """
    starts = range(0, max(n, 1), size)
    return torch.cat([compute(slice(start, min(start + size, n))) for start in starts])
