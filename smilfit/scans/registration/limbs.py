"""The limbs of a surface as curves, and which limb of a scan is which of the body's: by place and by reach."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix

from smilfit.geometry.surface_graph import Limbs, SurfaceLimb, find_limbs, limb_bands
from smilfit.scans.registration.surface_terms import PlaceTargets

# Cross-sections along a limb.
BANDS = 10
# Shorter than this share of the extent is no limb.
LEAST_LIMB = 0.04
# So many limbs of a surface are compared, the longest: starts grow with their number's fourth power.
MOST_LIMBS = 18
# Of the length that is expected: a shorter limb is broken off.
STUMP = 0.75
# So many of its own errors count fully.
ROBUST = 3.0
# Starts that turn by less from a better one are the same, rad.
SAME_TURN = 0.35
# Of the extent: a limb that stands farther off is not the one.
FARTHEST = 0.35


@dataclass(frozen=True)
class LimbCurves:
    """The limbs of one surface, each as the middles of its cross-sections, tip first.

    Attributes:
        vertices: of the surface.
        graph: its edges.
        limbs: the limbs.
        points: (L, BANDS, 3) the middles at equal steps from the tip.
        middle: of the trunk.
        n_left_out: how many shorter limbs there are, which count as the trunk's.
    """

    vertices: Float[np.ndarray, 'V 3']
    graph: csr_matrix
    limbs: Limbs
    points: Float[np.ndarray, 'L n 3']
    middle: Float[np.ndarray, '3']
    n_left_out: int = 0

    @property
    def reach(self) -> Float[np.ndarray, ' L']:
        """How far each tip is from the middle, along the surface."""
        return np.array([limb.reach for limb in self.limbs.limbs])


def limb_curves(vertices: np.ndarray, graph: csr_matrix, least: float = LEAST_LIMB) -> LimbCurves:
    """Find the limbs of a surface and their middles; of very many the longest `MOST_LIMBS`."""
    extent = float(np.ptp(vertices, axis=0).max())
    limbs = find_limbs(graph, least * extent)
    left_out = max(0, len(limbs.limbs) - MOST_LIMBS)
    limbs = replace(limbs, limbs=limbs.limbs[:MOST_LIMBS])
    points = []
    for limb in limbs.limbs:
        bands = limb_bands(limb, graph, np.linspace(0, limb.length * 1.02, BANDS + 1))
        points.append(_filled([vertices[b].mean(0) if len(b) else None for b in bands], vertices[limb.tip]))
    trunk = limbs.trunk
    centre = vertices[trunk].mean(0) if len(trunk) else vertices.mean(0)
    return LimbCurves(vertices, graph, limbs, np.array(points), centre, left_out)


def limb_places(
    body: LimbCurves, scan: LimbCurves, pairs: Sequence[tuple[int, int]], scale: float, sigma: float
) -> PlaceTargets | None:
    """Return where the middles of the body's limbs lie in a scan, by distance from the tip."""
    rows, cols, values = [], [], []
    targets: list[np.ndarray] = []
    for mine, theirs in pairs:
        own, other = body.limbs.limbs[mine], scan.limbs.limbs[theirs]
        missing, ratio = _missing_length(own, other, scale)
        edges = np.linspace(0, min(own.length - missing, other.length / ratio), BANDS + 1)
        pieces = zip(
            limb_bands(own, body.graph, missing + edges), limb_bands(other, scan.graph, edges * ratio)
        )
        for here, valid in pieces:
            if len(here) and len(valid):
                rows += [len(targets)] * len(here)
                cols += here.tolist()
                values += [1 / len(here)] * len(here)
                targets.append(scan.vertices[valid].mean(0))
    if not targets:
        return None
    table = csr_matrix((values, (rows, cols)), (len(targets), len(body.vertices)))
    n = len(targets)
    return PlaceTargets(table, np.array(targets), np.full(n, sigma), np.full(n, ROBUST))


def _missing_length(own: SurfaceLimb, other: SurfaceLimb, scale: float) -> tuple[float, float]:
    """Return how much of a limb's end a scan lacks, and how long the scan's limb is beside what it shows.

    A limb that is somewhat short is short; one that is far too short is a stump, and its end no tip.
    """
    ratio = other.reach / own.reach
    if ratio > STUMP * scale:
        return 0.0, ratio
    return min(own.reach - other.reach / scale, 0.9 * own.length), scale


def _filled(points: list[np.ndarray | None], tip: np.ndarray) -> np.ndarray:
    last, out = tip, []
    for p in points:
        last = last if p is None else p
        out.append(last)
    return np.array(out)


@dataclass(frozen=True)
class RigidStart:
    """A similarity of the body's rest pose, `scale * turn @ x + shift`, and the limbs that it pairs.

    `pairs` holds (limb of the body, limb of the scan).
    """

    rotation: Float[np.ndarray, '3 3']
    shift: Float[np.ndarray, '3']
    scale: float
    pairs: tuple[tuple[int, int], ...]
    cost: float


def rigid_starts(
    body: LimbCurves, scan: LimbCurves, extent: float, count: int, known: Sequence[tuple[int, int]] = ()
) -> list[RigidStart]:
    """Propose similarities from pairs of limbs: every two limbs of the one as every two of the other.

    Args:
        known: pairs (limb of the body, limb of the scan) that are certain.
    """
    n, m = len(body.points), len(scan.points)
    if n < 2 or m < 2:
        return []
    base, tip, mid = BANDS - 1, 0, BANDS // 2
    use, share = [base, mid, tip], np.array([1.0, 0.6, 0.3])
    of_body, of_scan = body.points[:, use], scan.points[:, use]
    i, j = (x.ravel() for x in np.meshgrid(np.arange(n), np.arange(n), indexing='ij'))
    i, j = i[i != j], j[i != j]
    a, b = (x.ravel() for x in np.meshgrid(np.arange(m), np.arange(m), indexing='ij'))
    a, b = a[a != b], b[a != b]
    first, second = (x.ravel() for x in np.meshgrid(np.arange(len(i)), np.arange(len(a)), indexing='ij'))
    i, j, a, b = i[first], j[first], a[second], b[second]
    allowed = _allowed(n, m, known)
    i, j, a, b = (x[allowed[i, a] & allowed[j, b]] for x in (i, j, a, b))
    weight = np.concatenate([share, share, [1.0]])
    x = np.concatenate([of_body[i], of_body[j], np.broadcast_to(body.middle, (len(i), 1, 3))], 1)
    y = np.concatenate([of_scan[a], of_scan[b], np.broadcast_to(scan.middle, (len(a), 1, 3))], 1)
    scale = (scan.reach[a] + scan.reach[b]) / (body.reach[i] + body.reach[j])
    likely = np.abs(np.log(scale / np.median(scale))) < 0.7
    x, y, scale = x[likely], y[likely], scale[likely]
    rotation, shift = _rotations(x, y, weight, scale)
    cost = _one_way(of_body, of_scan, share, rotation, shift, scale, extent)
    result: list[RigidStart] = []
    for k in cost.argsort()[: 40 * count]:
        start = _refined(body, scan, rotation[k], shift[k], scale[k], extent, allowed)
        if all(_differ(start, other) for other in result):
            result.append(start)
    return sorted(result, key=lambda s: s.cost)[:count]


def _allowed(n: int, m: int, known: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return which limbs may be each other's, where some are known."""
    allowed = np.ones((n, m), dtype=bool)
    for mine, theirs in known:
        allowed[mine], allowed[:, theirs] = False, False
        allowed[mine, theirs] = True
    return allowed


def _rotations(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Align many small clouds, scale given (Kabsch)."""
    w = weight / weight.sum()
    mx, my = (w[:, None] * x).sum(1), (w[:, None] * y).sum(1)
    cross = np.einsum('n,bni,bnj->bij', w, y - my[:, None], x - mx[:, None])
    u, _, vt = np.linalg.svd(cross)
    flip = np.ones((len(x), 3))
    flip[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * flip[:, None]) @ vt
    return rotation, my - scale[:, None] * np.einsum('bij,bj->bi', rotation, mx)


def _one_way(
    body: np.ndarray, scan: np.ndarray, share: np.ndarray, rotation: np.ndarray, shift: np.ndarray,
    scale: np.ndarray, extent: float,
) -> np.ndarray:  # fmt: skip
    """Score many similarities: each limb of the one to the nearest of the other, both ways, cut off."""
    out = []
    for at in range(0, len(rotation), 512):
        part = slice(at, at + 512)
        placed = scale[part, None, None, None] * np.einsum('bij,lkj->blki', rotation[part], body)
        placed = placed + shift[part, None, None]
        away = np.linalg.norm(placed[:, :, None] - scan[None, None], axis=-1)
        cost = ((away * share).sum(-1) / share.sum()).clip(max=FARTHEST * extent)
        out.append(cost.min(2).sum(1) + cost.min(1).sum(1))
    return np.concatenate(out)


def _refined(
    body: LimbCurves, scan: LimbCurves, rotation: np.ndarray, shift: np.ndarray, scale: float, extent: float,
    allowed: np.ndarray,
) -> RigidStart:  # fmt: skip
    """Pair limbs one to one and align all of them, twice."""
    share = np.linspace(0.3, 1.0, BANDS)
    most = FARTHEST * extent
    pairs: tuple[tuple[int, int], ...] = ()
    cost = np.inf
    for _ in range(2):
        table = _pair_costs(body, scan, rotation, shift, scale)
        # A pair that is known is made wherever it stands.
        table = np.where(allowed, table, most)
        table = np.where(allowed & (allowed.sum(1, keepdims=True) == 1), 0.0, table)
        rows, cols = linear_sum_assignment(table.clip(max=most))
        kept = table[rows, cols] < most
        cost = float(table[rows, cols].clip(max=most).sum()) + most * abs(len(body.points) - len(scan.points))
        rows, cols = rows[kept], cols[kept]
        pairs = tuple(zip(rows.tolist(), cols.tolist()))
        if len(pairs) < 2:
            break
        scale = float(np.median(scan.reach[cols] / body.reach[rows]))
        x = np.concatenate([body.points[rows].reshape(-1, 3), body.middle[None]])[None]
        y = np.concatenate([scan.points[cols].reshape(-1, 3), scan.middle[None]])[None]
        weight = np.concatenate([np.tile(share, len(rows)), [float(BANDS)]])
        turns, shifts = _rotations(x, y, weight, np.array([scale]))
        rotation, shift = turns[0], shifts[0]
    return RigidStart(rotation, shift, float(scale), pairs, cost)


def exchanged_starts(start: RigidStart, body: LimbCurves, scan: LimbCurves, count: int) -> list[RigidStart]:
    """Propose the pairings in which a limb that has no counterpart takes that of another, likeliest first.

    Where a scan lacks limbs, those that it has may be their neighbours' as well, and which is told by the surfaces.
    """
    free = sorted(set(range(len(body.points))) - {mine for mine, _ in start.pairs})
    table = _pair_costs(body, scan, start.rotation, start.shift, start.scale)
    result = []
    for mine, theirs in start.pairs:
        for other in free:
            pairs = tuple((other if m == mine else m, t) for m, t in start.pairs)
            cost = start.cost + float(table[other, theirs] - table[mine, theirs])
            result.append(replace(start, pairs=pairs, cost=cost))
    return sorted(result, key=lambda s: s.cost)[:count]


def _pair_costs(
    body: LimbCurves, scan: LimbCurves, rotation: np.ndarray, shift: np.ndarray, scale: float
) -> Float[np.ndarray, 'n m']:
    """Return how badly each limb of the body goes with each of the scan, under a similarity."""
    share = np.linspace(0.3, 1.0, BANDS)
    placed = scale * body.points @ rotation.T + shift
    away = np.linalg.norm(placed[:, None] - scan.points[None], axis=-1)
    # A limb whose reach is not the scan's is less likely the one.
    unlike = np.abs(scale * body.reach[:, None] - scan.reach[None])
    return (away * share).sum(-1) / share.sum() + 0.3 * unlike


def _differ(a: RigidStart, b: RigidStart) -> bool:
    angle = np.arccos(((np.trace(a.rotation.T @ b.rotation) - 1) / 2).clip(-1, 1))
    return bool(angle > SAME_TURN) or a.pairs != b.pairs
