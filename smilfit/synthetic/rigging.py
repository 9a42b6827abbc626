"""Skinning weights and faces of a mesh that was swept along bones."""

import numpy as np
from scipy.sparse import coo_matrix, diags

MAX_JOINTS_A_VERTEX = 4


def chain_weights(arc: float, joints: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Share a place on a chain among its joints, smoothly.

    A joint moves what lies beyond it. Within `reach` before and after a joint, its share grows by a cubic step.

    Args:
        arc: length along the chain.
        joints: where the joints are, ascending; the first one moves everything before it too.
        reach: half the length of each joint's step; that of the first is not used.
    """
    beyond = np.ones(len(joints) + 1)
    beyond[-1] = 0.0
    for j in range(1, len(joints)):
        x = np.clip((arc - joints[j] + reach[j]) / (2 * reach[j]), 0, 1)
        # Two steps that overlap must not make a share negative.
        beyond[j] = min(beyond[j - 1], x * x * (3 - 2 * x))
    return beyond[:-1] - beyond[1:]


def smooth_over_surface(weights: np.ndarray, edges: np.ndarray, rounds: int, rate: float = 0.5) -> np.ndarray:
    """Let weights (V, J) diffuse along the edges (n, 2) of a mesh, so that limbs near in space do not mix."""
    ones = np.ones(len(edges))
    n = len(weights)
    neighbours = coo_matrix((ones, (edges[:, 0], edges[:, 1])), shape=(n, n)).tocsr()
    neighbours = neighbours.maximum(neighbours.T)
    mean = diags(1 / np.asarray(neighbours.sum(1)).ravel()) @ neighbours
    for _ in range(rounds):
        weights = (1 - rate) * weights + rate * (mean @ weights)
    return weights


def keep_largest(weights: np.ndarray, n: int = MAX_JOINTS_A_VERTEX, least: float = 5e-3) -> np.ndarray:
    """Keep at most the n largest weights of each vertex, none below `least`; rows sum to 1 again.

    Weights that tie for the last place are all dropped, so that mirror images stay so; where nothing would be
    left, the first n stay.
    """
    if weights.shape[1] > n:
        too_small = -np.partition(-weights, n, axis=1)[:, n : n + 1] + 1e-9
        kept = np.where((weights > too_small) & (weights >= least), weights, 0.0)
        empty = kept.sum(1) == 0
        first = np.argsort(-weights[empty], axis=1, kind='stable')[:, :n]
        kept[np.flatnonzero(empty)[:, None], first] = np.take_along_axis(weights[empty], first, 1)
    else:
        kept = np.where(weights >= least, weights, 0.0)
    return kept / kept.sum(1, keepdims=True)


def split_quads(quads: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Cut quads (n, 4) along their shorter diagonal; ties go one way."""
    a, b, c, d = (vertices[quads[:, i]] for i in range(4))
    first = np.linalg.norm(a - c, axis=1) <= np.linalg.norm(b - d, axis=1) + 1e-9
    one = np.where(first[:, None], quads[:, [0, 1, 2]], quads[:, [0, 1, 3]])
    two = np.where(first[:, None], quads[:, [0, 2, 3]], quads[:, [1, 2, 3]])
    return np.stack((one, two), 1).reshape(-1, 3)
