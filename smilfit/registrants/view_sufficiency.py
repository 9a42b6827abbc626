"""Whether a single view shows enough of an animal to fit one: a mask, or keypoints in several places."""

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.handlers import BaseHandler, BaseInput, MultiviewKeypoint2dMSEHandler
from smilfit.registrants.stage import Stage

# Keypoints nearer to each other, px, are in one place.
APART_PX = 1.0


def missing_evidence(
    inputs: Mapping[str, BaseInput],
    handlers: Mapping[str, BaseHandler],
    stages: Iterable[tuple[Stage, Mapping[str, float]]],
    least: int,
) -> dict[int, str]:
    """Say of frames that show too little what is missing.

    Enough are `least` keypoints in different places that have a weight in some stage, those of all views together, or
    any other observation that has a weight, such as a mask.

    Returns:
        By row, what was seen and what is asked for.
    """
    stages = list(stages)
    batch = next(iter(inputs.values())).batch_size
    other = torch.zeros(batch, dtype=torch.bool)
    seen, places = torch.zeros(batch, dtype=torch.long), torch.zeros(batch, dtype=torch.long)
    for key, given in inputs.items():
        factors = [w for s, w in stages if s.weights.get(key)]
        if not factors:
            continue
        if not isinstance(handlers[key], MultiviewKeypoint2dMSEHandler):
            other |= torch.stack([handlers[key].observed(given, w).cpu() for w in factors]).any(0)
            continue
        points = given.keypoints
        counts = torch.tensor([any(w.get(name, 1.0) != 0 for w in factors) for name in points.names])
        visible = points.visible.cpu() & counts
        seen += visible.flatten(1).sum(1)
        places += places_of(points.xy.cpu(), visible)
    short = (~other & (places < least)).nonzero().flatten().tolist()
    return {row: _sentence(int(seen[row]), int(places[row]), least) for row in short}


def places_of(points: Float[Tensor, 'B C K 2'], visible: Bool[Tensor, 'B C K']) -> Int[Tensor, ' B']:
    """Count keypoints that no earlier one of their image stands beside."""
    points = torch.where(visible.unsqueeze(-1), points, torch.zeros_like(points))
    near = (points.unsqueeze(-2) - points.unsqueeze(-3)).norm(dim=-1) < APART_PX
    near &= visible.unsqueeze(-1) & visible.unsqueeze(-2)
    return (visible & ~near.tril(-1).any(-1)).flatten(1).sum(1)


def _sentence(seen: int, places: int, least: int) -> str:
    some = f'{seen} keypoint{"" if seen == 1 else "s"}'
    where = '' if places == seen else f' in {places} place{"" if places == 1 else "s"}'
    return f'{some}{where} and no mask; {least} keypoints in different places, or a mask, are asked for'
