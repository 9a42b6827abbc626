"""Starts of surfaces without limbs to go by: the principal axes of both, in all their turns."""

import numpy as np
from scipy.spatial import cKDTree

from smilfit.registrants.registration.limb_matching import RigidStart


def axis_starts(body: np.ndarray, scan: np.ndarray, count: int, rounds: int = 15) -> list[RigidStart]:
    """Lay principal axes upon each other in 24 ways, let each come to rest by closest points, and keep the best.

    Args:
        body: points of the body's surface at rest.
        scan: points of the scan's.
        count: most starts.
        rounds: of closest points.
    """
    rng = np.random.default_rng(0)
    scan = scan[rng.permutation(len(scan))[:1500]]
    body = body[rng.permutation(len(body))[:1500]]
    own, own_middle, own_size = _axes(body)
    other, other_middle, other_size = _axes(scan)
    tree, scale = cKDTree(scan), other_size / own_size
    found = []
    for turn in _cube_turns():
        rotation = other @ turn @ own.T
        shift, size = other_middle - scale * rotation @ own_middle, scale
        for _ in range(rounds):
            placed = size * body @ rotation.T + shift
            away, index = tree.query(placed)
            near = away <= np.quantile(away, 0.8)
            x, y = body[near], scan[index[near]]
            mx, my = x.mean(0), y.mean(0)
            u, s, vt = np.linalg.svd((y - my).T @ (x - mx))
            sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
            rotation = (u * sign) @ vt
            size = float(np.clip((s * sign).sum() / np.square(x - mx).sum(), 0.7 * scale, 1.4 * scale))
            shift = my - size * rotation @ mx
        placed = size * body @ rotation.T + shift
        cost = np.sort(tree.query(placed)[0])[: int(0.9 * len(placed))].mean()
        cost += np.sort(cKDTree(placed).query(scan)[0])[: int(0.9 * len(scan))].mean()
        found.append(RigidStart(rotation, shift, size, (), float(cost)))
    found.sort(key=lambda s: s.cost)
    kept: list[RigidStart] = []
    for start in found:
        if all(np.trace(start.turn.T @ k.turn) < 2.6 for k in kept):
            kept.append(start)
    return kept[:count]


def _axes(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    middle = points.mean(0)
    _, s, vt = np.linalg.svd(points - middle, full_matrices=False)
    axes = vt.T
    axes[:, 2] *= np.sign(np.linalg.det(axes))
    return axes, middle, float(np.sqrt(np.square(s).sum() / len(points)))


def _cube_turns() -> list[np.ndarray]:
    out = []
    for i, j in ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)):
        for a in (1, -1):
            for b in (1, -1):
                turn = np.zeros((3, 3))
                turn[0, i], turn[1, j] = a, b
                turn[2] = np.cross(turn[0], turn[1])
                out.append(turn)
    return out
