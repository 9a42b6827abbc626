"""A body as capsules along its bones, so that it can be asked where it meets itself without its surface."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from smilfit.body_models.data import BodyModelData
from smilfit.geometry.surface_search import closest_of_segments

# Percentiles of the surface's distance that are a radius: of a bone, and of a ball, whose part of the body is
# longer than it is thick, so that its nearer surface counts.
BONE_SPREAD = 50
BALL_SPREAD = 25


@dataclass(frozen=True)
class BoneCapsules:
    """Bones with a thickness, in the model's unit.

    A bone goes from a joint to one of its children and moves with the joint; a joint without children is a ball.

    Args:
        ends: the two joints of each bone (M, 2); a ball names one joint twice.
        radius: of each (M,).
        pairs: of bones that may not overlap (P, 2).
    """

    ends: np.ndarray
    radius: np.ndarray
    pairs: np.ndarray

    @classmethod
    def of(cls, data: BodyModelData) -> 'BoneCapsules':
        """Fit capsules to the rest mesh of the mean shape.

        A bone's radius is a percentile of the distances of the vertices that follow its joint most, each counted
        at the nearest of the joint's bones. A bone without vertices is left out. Pairs
        that share a joint, or that overlap at rest already, are left out.
        """
        ends = np.array(_bones(data))
        radius = _radii(data, ends)
        ends, radius = ends[radius > 0], radius[radius > 0]
        separate = [(a, b) for a, b in combinations(range(len(ends)), 2) if not set(ends[a]) & set(ends[b])]
        pairs = np.array(separate, dtype=np.int64).reshape(-1, 2)
        gap = _distance(data.joints[ends[pairs[:, 0]]], data.joints[ends[pairs[:, 1]]])
        return cls(ends, radius, pairs[gap > radius[pairs].sum(1)])


def _bones(data: BodyModelData) -> list[tuple[int, int]]:
    bones = []
    for joint in range(data.n_joints):
        children = np.flatnonzero(data.parents == joint)
        bones += [(joint, int(child)) for child in children] or [(joint, joint)]
    return bones


def _radii(data: BodyModelData, ends: np.ndarray) -> np.ndarray:
    weights = data.weights.to_dense()
    follows = weights.argmax(1)
    radius = np.zeros(len(ends))
    for joint in np.unique(ends[:, 0]):
        mine = np.flatnonzero(ends[:, 0] == joint)
        vertices = data.v_template[follows == joint]
        if len(vertices):
            points = np.repeat(vertices[:, None, None], 2, 2)
            away = _distance(
                np.broadcast_to(points, (len(vertices), len(mine), 2, 3)),
                np.broadcast_to(data.joints[ends[mine]], (len(vertices), len(mine), 2, 3)),
            )
            nearest = away.argmin(1)
            for k, bone in enumerate(mine):
                if (nearest == k).any():
                    spread = BALL_SPREAD if ends[bone, 0] == ends[bone, 1] else BONE_SPREAD
                    radius[bone] = np.percentile(away[nearest == k, k], spread)
    return radius


def _distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    a, b = (torch.tensor(np.array(x), dtype=torch.float64) for x in (first, second))
    s, t = (x.unsqueeze(-1) for x in closest_of_segments(a, b))
    between = a[..., 0, :] * (1 - s) + a[..., 1, :] * s - b[..., 0, :] * (1 - t) - b[..., 1, :] * t
    return between.norm(dim=-1).numpy()
