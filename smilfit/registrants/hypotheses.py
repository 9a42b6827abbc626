"""Several starts for every frame, and which of them each frame goes on from."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.handlers import BaseInput

# Frames of different starts are never neighbours in time: so far apart are their numbers.
GAP = 10


def repeated(
    inputs: Mapping[str, BaseInput], frames: Tensor, count: int
) -> tuple[dict[str, BaseInput], Tensor]:
    """Give every frame's observations to `count` bodies, all frames of the first start first, and their numbers."""
    batch = len(frames)
    rows = torch.arange(batch).repeat(count)
    span = int(frames.max() - frames.min()) + GAP if batch else 0
    numbers = frames.repeat(count) + span * torch.arange(count, device=frames.device).repeat_interleave(batch)
    return {key: item[rows] for key, item in inputs.items()}, numbers


def best_path(
    loss: Float[Tensor, 'H B'],
    rotation: Float[Tensor, 'H B 3 3'],
    continues: Bool[Tensor, ' B'],
    turn_weight: float,
) -> Int[Tensor, ' B']:
    """Choose one start for each frame so that losses and turns from frame to frame are least (Viterbi 1967).

    Args:
        loss: of every start and frame.
        rotation: of the body.
        continues: whether a frame follows the one before it; where not, its choice is free.
        turn_weight: what a turn of one radian from one frame to the next costs, squared; 0 lets every frame choose.
    """
    count, batch = loss.shape
    total, came_from = loss[:, 0], torch.zeros(batch, count, dtype=torch.long, device=loss.device)
    for frame in range(1, batch):
        if not bool(continues[frame]) or not turn_weight:
            came_from[frame] = total.argmin()
            total = total.min() + loss[:, frame]
            continue
        turn = angle_between(rotation[:, None, frame], rotation[None, :, frame - 1])
        through = total + turn_weight * turn.square()
        least, came_from[frame] = through.min(1)
        total = least + loss[:, frame]
    path = [int(total.argmin())]
    for frame in range(batch - 1, 0, -1):
        path.append(int(came_from[frame, path[-1]]))
    return torch.tensor(path[::-1], device=loss.device)


def angle_between(a: Float[Tensor, '*#n 3 3'], b: Float[Tensor, '*#n 3 3']) -> Float[Tensor, '*n']:
    """Measure the angle (rad) between rotations, without a derivative."""
    return (((a * b).sum((-1, -2)) - 1) / 2).clamp(-1, 1).acos()
