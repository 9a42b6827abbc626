"""Choose a few frames that show an animal from as many sides as a recording has."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def spread_frames(points: Float[Tensor, 'B P 3'], count: int, time_weight: float = 0.5) -> Int[Tensor, ' n']:
    """Choose frames whose bodies and times lie far apart: each next one is the farthest from those chosen before.

    Bodies are compared about their middle, not turned: one that has turned shows the cameras another side. The first
    is the one nearest the mean.

    Args:
        points: of the fitted body, such as its joints, world unit.
        count: how many are wanted; all frames where there are no more.
        time_weight: what the whole recording's time counts for, in units of the body's size.

    Returns:
        Rows, in order of time.
    """
    if len(points) <= count:
        return torch.arange(len(points))
    centred = points.double() - points.double().mean(1, keepdim=True)
    size = centred.square().sum(-1).mean().sqrt().clamp_min(1e-12)
    time = torch.linspace(0, time_weight, len(points), dtype=torch.float64, device=points.device)
    root = points.shape[1] ** 0.5
    features = torch.cat((centred.flatten(1) / (size * root), time[:, None]), 1)
    chosen = [int((features - features.mean(0)).norm(dim=1).argmin())]
    apart = (features - features[chosen[0]]).norm(dim=1)
    while len(chosen) < count:
        # What is chosen is not chosen again, even where all frames are alike.
        apart[chosen] = -1.0
        chosen.append(int(apart.argmax()))
        apart = torch.minimum(apart, (features - features[chosen[-1]]).norm(dim=1))
    return torch.tensor(sorted(chosen))
