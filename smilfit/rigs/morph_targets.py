"""Morph targets of a rig of several meshes: those of one name become one."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from smilfit.rigs.rig import Clip
from smilfit.rigs.unique_names import unique_names


def merge_targets(
    targets: Sequence[str], moves: Sequence[np.ndarray], clips: Sequence[Clip]
) -> tuple[dict[str, np.ndarray], list[Clip]]:
    """Make targets of one name one, where no clip moves them differently; those that move nothing go.

    A mouth of several meshes (skin, teeth, tongue) is one shape.

    Args:
        targets: their names (M).
        moves: displacements of all vertices at weight 1 (V, 3), in that order.
        clips: with weights of the targets in that order.
    """
    weights = [clip.morph_weights for clip in clips if clip.morph_weights is not None]
    first: list[int] = []
    merged: list[np.ndarray] = []
    for k, (name, move) in enumerate(zip(targets, moves)):
        same = [
            i for i, other in enumerate(first)
            if targets[other] == name and all(np.array_equal(w[:, k], w[:, other]) for w in weights)
        ]  # fmt: skip
        if not move.any():
            continue
        if same:
            merged[same[0]] = merged[same[0]] + move
        else:
            first.append(k)
            merged.append(move)
    names, _ = unique_names([targets[k] for k in first])
    kept = [
        replace(c, morph_weights=None if c.morph_weights is None else c.morph_weights[:, first])
        for c in clips
    ]
    return dict(zip(names, merged)), kept
