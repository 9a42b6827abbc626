"""From one keypoint convention to another, by the names of the points."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smilfit.body_models.keypoint_conventions import (
    Convention,
    KeypointConvention,
    load_convention,
    load_links,
)
from smilfit.structures import Keypoints2d, Keypoints3d


def convert_keypoints(
    keypoints: Tensor | np.ndarray | Keypoints2d | Keypoints3d,
    src: Convention | None,
    dst: Convention,
    approximate: bool = False,
) -> tuple[Tensor | np.ndarray | Keypoints2d | Keypoints3d, Tensor | np.ndarray]:
    """Put keypoints into another convention's order; points that the source lacks become 0, confidence and all.

    Args:
        keypoints: (..., K, D), or observed keypoints.
        src: their convention: a name, the path of a file, or the names. None takes those that observed
            keypoints carry.
        dst: the convention wanted.
        approximate: let a missing point be taken from one that nearly agrees, such as a hip from an annotator's hip.

    Returns:
        The keypoints, of the kind given, and a mask (K of `dst`) of which were found.

    Raises:
        KeyError: an unknown convention, with the near ones.
        ValueError: another number of keypoints than the convention has, or an array without a convention.
    """
    if src is None:
        if not isinstance(keypoints, (Keypoints2d, Keypoints3d)):
            raise ValueError(
                'convert_keypoints: an array must come with its convention src; got None. Name it.'
            )
        src = keypoints.names
    source, target = load_convention(src), load_convention(dst)
    count = len(keypoints.names) if isinstance(keypoints, (Keypoints2d, Keypoints3d)) else keypoints.shape[-2]
    if len(source) != count:
        raise ValueError(
            f'convert_keypoints: {source.name!r} must have as many names as keypoints; got {len(source)} and {count}.'
        )
    places = match_names(source, target, approximate)
    if isinstance(keypoints, Tensor):
        return _gather(keypoints, places, -2)
    if isinstance(keypoints, np.ndarray):
        index = np.array(places)
        there = index >= 0
        picked = keypoints[..., np.maximum(index, 0), :]
        return np.where(there[:, None], picked, np.zeros((), picked.dtype)), there
    coordinates = 'xy' if isinstance(keypoints, Keypoints2d) else 'xyz'
    moved, mask = _gather(getattr(keypoints, coordinates), places, -2)
    confidence, _ = _gather(keypoints.confidence, places, -1)
    changes: dict[str, Any] = {coordinates: moved, 'names': target.names, 'confidence': confidence}
    return replace(keypoints, **changes), mask


def match_names(
    source: KeypointConvention, target: KeypointConvention, approximate: bool = False
) -> list[int]:
    """Give, for every name of the target, the place of that point in the source; -1 where it is not there."""
    # Each file's aliases are its own; what nearly agrees, both may say.
    of_source, of_target, of_both = load_links([source]), load_links([target]), load_links([source, target])
    places = {of_source.point(name): place for place, name in enumerate(source.names)}
    found = []
    for name in target.names:
        point = of_target.point(name)
        candidates = [point, *of_both.near(point)] if approximate else [point]
        found.append(next((places[c] for c in candidates if c in places), -1))
    return found


def _gather(values: Tensor, places: list[int], dim: int) -> tuple[Tensor, Tensor]:
    index = torch.tensor(places, device=values.device)
    mask = index >= 0
    picked = values.index_select(dim, index.clamp_min(0))
    shape = [1] * values.ndim
    shape[dim] = len(places)
    return torch.where(mask.reshape(shape), picked, torch.zeros_like(picked)), mask
