"""The limbs of a surface as curves: the middles of their cross-sections, and where a scan has the body's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
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


@dataclass(frozen=True)
class LimbCurves:
    """The limbs of one surface, each as the middles of its cross-sections, tip first.

    Attributes:
        limbs: the limbs.
        points: (L, BANDS, 3) the middles at equal steps from the tip.
        middle: of the trunk.
        n_left_out: how many shorter limbs there are, which count as the trunk's.
    """

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
    return LimbCurves(limbs, np.array(points), centre, left_out)


def limb_places(
    rest: np.ndarray, body: LimbCurves, graph: csr_matrix, scan_vertices: np.ndarray, scan: LimbCurves,
    scan_graph: csr_matrix, pairs: Sequence[tuple[int, int]], scale: float, sigma: float,
) -> PlaceTargets | None:  # fmt: skip
    """Return where the middles of the body's limbs lie, by distance from the tip.

    Args:
        rest: the body's vertices at rest.
        body: its limbs.
        graph: of its surface.
        scan_vertices: of the scan.
        scan: its limbs.
        scan_graph: of its surface.
        pairs: which limb is which.
        scale: of the body.
        sigma: how well middles are known.
    """
    rows, cols, values, targets = [], [], [], []
    for mine, theirs in pairs:
        own, other = body.limbs.limbs[mine], scan.limbs.limbs[theirs]
        missing, ratio = _missing_length(own, other, scale)
        edges = np.linspace(0, min(own.length - missing, other.length / ratio), BANDS + 1)
        pieces = zip(limb_bands(own, graph, missing + edges), limb_bands(other, scan_graph, edges * ratio))
        for here, valid in pieces:
            if len(here) and len(valid):
                rows += [len(targets)] * len(here)
                cols += here.tolist()
                values += [1 / len(here)] * len(here)
                targets.append(scan_vertices[valid].mean(0))
    if not targets:
        return None
    table = csr_matrix((values, (rows, cols)), (len(targets), len(rest)))
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
