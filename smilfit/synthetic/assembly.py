"""Join a trunk and its limbs into one mesh that knows its weights and joints."""

from collections.abc import Set
from dataclasses import dataclass, field

import numpy as np

from smilfit.synthetic.rigging import chain_weights
from smilfit.synthetic.tube_surface import (
    CrossSection,
    Limb,
    LimbSurface,
    Trunk,
    build_limb,
    build_trunk,
    outline,
)


@dataclass(frozen=True)
class AnimalPlan:
    """Proportions of an animal; the right limbs are mirror images of the left ones, which are given.

    `tree` lists (joint, parent) from the root outwards, the parent of the root None. Names of left limbs contain
    `_L`, those of right ones `_R`.
    """

    sections: list[CrossSection]
    back: tuple[float, float]
    front: tuple[float, float]
    limbs: list[Limb]
    tree: list[tuple[str, str | None]]
    n_sides: int
    n_between: int = 2


@dataclass
class RawMesh:
    """A mesh under construction; vertices are given once, weights are named by joint."""

    vertices: list[np.ndarray] = field(default_factory=list)
    weights: list[dict[str, float]] = field(default_factory=list)
    quads: list[tuple[int, int, int, int]] = field(default_factory=list)
    triangles: list[tuple[int, int, int]] = field(default_factory=list)
    regressor: dict[str, dict[int, float]] = field(default_factory=dict)
    landmarks: dict[str, dict[int, float]] = field(default_factory=dict)

    def add(self, points: np.ndarray, weights: dict[str, float]) -> list[int]:
        """Append vertices that share their weights; give their indices."""
        start = len(self.vertices)
        self.vertices.extend(points)
        self.weights.extend(dict(weights) for _ in points)
        return list(range(start, start + len(points)))

    def tube(self, rings: list[list[int]], flip: bool, hole: Set[tuple[int, int]] = frozenset()) -> None:
        """Join consecutive rings by quads, but for those (ring, column) in `hole`."""
        for r, (low, high) in enumerate(zip(rings, rings[1:])):
            n = len(low)
            for c in range(n):
                if (r, c) not in hole:
                    d = (c + 1) % n
                    quad = (low[c], low[d], high[d], high[c])
                    self.quads.append(quad[::-1] if flip else quad)

    def close_ring(self, ring: list[int], pole: int, flip: bool) -> None:
        """Close a tube's end; `ring` counter-clockwise seen from the pole's side, unless `flip`."""
        for a, b in zip(ring, ring[1:] + ring[:1]):
            self.triangles.append((b, a, pole) if flip else (a, b, pole))


def assemble(plan: AnimalPlan) -> RawMesh:
    """Build the mesh of a plan; the same plan with other proportions gives the same vertices in the same order."""
    trunk = build_trunk(plan.sections, plan.back, plan.front, plan.n_sides, plan.n_between)
    mesh = RawMesh()
    rings = _add_trunk(mesh, trunk, plan)
    for limb in plan.limbs:
        surface = build_limb(trunk, limb)
        for side in 'LR':
            _add_limb(mesh, rings, limb, surface, plan.n_sides, side)
    return mesh


def _add_trunk(mesh: RawMesh, trunk: Trunk, plan: AnimalPlan) -> list[list[int]]:
    weights = _trunk_weights(trunk, plan)
    rings = [mesh.add(ring, w) for ring, w in zip(trunk.rings, weights)]
    hole = {
        (r, column % plan.n_sides)
        for limb in plan.limbs
        for r in range(*limb.patch[:2])
        for c in range(*limb.patch[2:])
        for column in (c, plan.n_sides // 2 - c - 1)
    }
    mesh.tube(rings, flip=False, hole=hole)
    (back,), (front,) = mesh.add(trunk.poles[:1], weights[0]), mesh.add(trunk.poles[1:], weights[-1])
    mesh.close_ring(rings[0], back, flip=True)
    mesh.close_ring(rings[-1], front, flip=False)
    mesh.landmarks |= {'back': {back: 1.0}, 'front': {front: 1.0}}
    for name, r in trunk.joint_ring.items():
        mesh.regressor[name] = dict.fromkeys(rings[r], 1 / plan.n_sides)
    for r, ring in enumerate(rings):
        for c, vertex in enumerate(ring):
            mesh.landmarks[f'trunk {r} {c}'] = {vertex: 1.0}
    return rings


def _trunk_weights(trunk: Trunk, plan: AnimalPlan) -> list[dict[str, float]]:
    """Weigh the rings in front of the root by the joints in front of it, the others by those behind."""
    root = plan.tree[0][0]
    at = {name: trunk.arc[r] for name, r in trunk.joint_ring.items()}
    size = {name: np.linalg.norm(trunk.rings[r] - trunk.rings[r].mean(0), axis=1).max()
            for name, r in trunk.joint_ring.items()}  # fmt: skip
    ahead = sorted((n for n in at if at[n] >= at[root]), key=lambda n: at[n])
    behind = sorted((n for n in at if at[n] <= at[root]), key=lambda n: -at[n])
    result = []
    for arc in trunk.arc:
        names, sign = (ahead, 1.0) if arc >= at[root] else (behind, -1.0)
        place = np.array([sign * (at[n] - at[root]) for n in names])
        share = chain_weights(sign * (arc - at[root]), place, np.array([size[n] for n in names]))
        result.append({name: float(w) for name, w in zip(names, share) if w > 0})
    return result


def _add_limb(
    mesh: RawMesh, trunk_rings: list[list[int]], limb: Limb, surface: LimbSurface, n_sides: int, side: str
) -> None:
    """Add the left limb, or its mirror image with all faces turned."""
    right = side == 'R'
    mirror = np.array([1.0, -1.0, 1.0]) if right else np.ones(3)
    joints = [name.replace('_L', '_R') if right else name for name in limb.joints]
    rim = []
    for r, c in outline(limb.patch):
        column = n_sides // 2 - c if right else c
        rim.append(trunk_rings[r][column % n_sides])
    shares = chain_weights_of_rings(surface)
    parent_share = 0.4 * np.clip(1 - surface.arc / max(surface.arc[0] * 2.5, 1e-9), 0, 1)
    rings = [rim]
    for ring, share, outer in zip(surface.rings, shares, parent_share):
        weights = {name: float(w * (1 - outer)) for name, w in zip(joints, share) if w > 0}
        weights[limb.parent] = weights.get(limb.parent, 0.0) + float(outer)
        rings.append(mesh.add(ring * mirror, weights))
    for vertex in rim:
        kept = {name: 0.75 * w for name, w in mesh.weights[vertex].items()}
        mesh.weights[vertex] = kept | {joints[0]: 0.25 + kept.get(joints[0], 0.0)}
    (tip,) = mesh.add((surface.tip * mirror)[None], {joints[-1]: 1.0})
    mesh.tube(rings, flip=right)
    mesh.close_ring(rings[-1], tip, flip=right)

    inside = trunk_rings[limb.patch[0]] + trunk_rings[limb.patch[1]]
    first = dict.fromkeys(inside, limb.depth / len(inside))
    for vertex in rim:
        first[vertex] = first.get(vertex, 0.0) + (1 - limb.depth) / len(rim)
    mesh.regressor[joints[0]] = first
    for name, r in zip(joints[1:], surface.joint_ring):
        mesh.regressor[name] = dict.fromkeys(rings[r + 1], 1 / len(rim))
    mesh.landmarks[f'{limb.name.replace("_L", "_R") if right else limb.name} tip'] = {tip: 1.0}


def chain_weights_of_rings(surface: LimbSurface) -> list[np.ndarray]:
    """Weigh each ring of a limb by the limb's joints."""
    bone = np.diff(np.append(surface.joint_arc, surface.arc[-1]))
    near = np.minimum(np.append(bone[0], bone[:-1]), bone)
    reach = np.minimum(1.6 * np.array(surface.radii[: len(bone)]), 0.45 * near)
    reach[0] = 0.0
    return [chain_weights(arc, surface.joint_arc, reach) for arc in surface.arc]
