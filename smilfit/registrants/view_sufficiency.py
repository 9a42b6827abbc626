"""Whether a single view shows enough of an animal to fit one: a mask, or keypoints in several places.

A place in an image is two numbers. Where a body stands and how it is turned are six, and a pose and a shape that its
priors alone tell are no fit: as many again are asked for, so that the body's place is known twice over.
"""

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.handlers import BaseHandler, BaseInput, MultiviewKeypoint2dMSEHandler
from smilfit.registrants.stage import Stage

# Turn and place of a body; scale and focal length are one more each where a stage fits them.
PLACE_UNKNOWNS = 6
# Numbers that are asked for, for each of these unknowns.
KNOWNS_PER_UNKNOWN = 2
# Keypoints nearer to each other than this share of all keypoints' extent, or px, are in one place.
APART_SHARE, APART_PX = 0.02, 1.0
# Keypoints whose extent (the diagonal of their box) is less, px, tell no turn: as much as four are off by.
LEAST_EXTENT_PX = 16.0


def least_places(stages: Iterable[tuple[Stage, Mapping[str, float]]]) -> int:
    """Say how many places keypoints must be in, for what the stages fit of a body's place."""
    fitted = {name for stage, _ in stages for name in stage.fit}
    unknowns = PLACE_UNKNOWNS + len(fitted & {'scale', 'focal'})
    # Two numbers a place.
    return -(-KNOWNS_PER_UNKNOWN * unknowns // 2)


def missing_evidence(
    inputs: Mapping[str, BaseInput],
    handlers: Mapping[str, BaseHandler],
    stages: Iterable[tuple[Stage, Mapping[str, float]]],
    least: int | None = None,
) -> dict[int, str]:
    """Say of frames that show too little what is missing.

    Enough are keypoints in `least` different places that have a weight in some stage, those of all views together, or
    any other observation that has a weight, such as a mask.

    Args:
        inputs: what was seen.
        handlers: the terms.
        stages: with the keypoints' weights in each.
        least: places that are asked for; `least_places` if None.

    Returns:
        By row, what was seen and what is asked for.
    """
    stages = list(stages)
    least = least_places(stages) if least is None else least
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
    """Count keypoints that no earlier one of their image stands beside; those of a tiny image are one place."""
    there = visible.unsqueeze(-1)
    low = torch.where(there, points, torch.inf).amin(2)
    high = torch.where(there, points, -torch.inf).amax(2)
    extent = (high - low).clamp_min(0).norm(dim=-1)
    apart = torch.where(extent < LEAST_EXTENT_PX, torch.inf, (APART_SHARE * extent).clamp_min(APART_PX))
    points = torch.where(there, points, torch.zeros_like(points))
    near = (points.unsqueeze(-2) - points.unsqueeze(-3)).norm(dim=-1) < apart[..., None, None]
    near &= visible.unsqueeze(-1) & visible.unsqueeze(-2)
    return (visible & ~near.tril(-1).any(-1)).flatten(1).sum(1)


def _sentence(seen: int, places: int, least: int) -> str:
    some = f'{seen} keypoint{"" if seen == 1 else "s"}'
    where = '' if places == seen else f' in {places} place{"" if places == 1 else "s"}'
    return (
        f'{some}{where} and no mask: {2 * places} numbers for a pose, a place and a shape; keypoints in {least} '
        'different places, or a mask, are asked for'
    )
