"""Join a trunk and its limbs into one mesh that knows its weights and joints."""

from collections.abc import Set
from dataclasses import dataclass, field

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.sparse import coo_matrix, diags

MAX_JOINTS_A_VERTEX = 4


def chain_weights(arc: float, joints: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Share a place on a chain among its joints, smoothly.

    A joint moves what lies beyond it. Within `reach` before and after a joint, its share grows by a cubic step.

    Args:
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


# Where rings lie along a limb's bone, as shares of its length: close to the joints, so that they bend well.
BONE_RINGS = (0.0, 0.1, 0.3, 0.6, 0.88)
TIP_RINGS = (0.0, 0.1, 0.3, 0.55, 0.78, 0.92, 0.98)


@dataclass(frozen=True)
class CrossSection:
    """A cross-section of the trunk: centre (x, z), half width along y, half height; maybe a joint's place."""

    x: float
    z: float
    width: float
    height: float
    joint: str | None = None


@dataclass(frozen=True)
class Limb:
    """A chain of bones that leaves the trunk on the left; the right one is its mirror image.

    `patch` is (first ring, last ring, first column, last column) of the outline in the trunk. The first joint lies
    `depth` of the way from the outline's centre to the trunk's. `bones` are the vectors from joint to joint and
    to the tip, `radii` at each joint and before the tip. `across` is a direction that no bone points along;
    rings keep their orientation towards it. `flat` is how thick rings are in the other direction. `exit` is the share
    of the first bone that lies inside the trunk.
    """

    name: str
    parent: str
    joints: tuple[str, ...]
    patch: tuple[int, int, int, int]
    bones: np.ndarray  # (n, 3)
    radii: tuple[float, ...]
    across: tuple[float, float, float]
    depth: float = 0.5
    flat: float = 1.0
    exit: float = 0.4


@dataclass(frozen=True)
class Trunk:
    """The rings of the body's tube, (R, n_sides, 3), its two poles, and the curve of the centres."""

    rings: np.ndarray
    poles: np.ndarray
    arc: np.ndarray  # (R,) length along the centres
    joint_ring: dict[str, int]


@dataclass(frozen=True)
class LimbSurface:
    """Rings (R, m, 3) of one left limb, its tip, and the place of each ring along the bones."""

    rings: np.ndarray
    tip: np.ndarray
    arc: np.ndarray  # (R,) length from the first joint
    joint_arc: np.ndarray  # (n,)
    joint_ring: tuple[int, ...]  # of the joints from the second on
    radii: tuple[float, ...]


def build_trunk(
    sections: list[CrossSection],
    back: tuple[float, float],
    front: tuple[float, float],
    n_sides: int,
    n_between: int,
) -> Trunk:
    """Sweep rings through the stations; `n_between` rings an interval, the poles at `back` and `front` (x, z)."""
    u = np.arange(len(sections))
    fine = np.linspace(0, len(sections) - 1, (len(sections) - 1) * n_between + 1)
    table = np.array([[s.x, s.z, s.width, s.height] for s in sections])
    curve = PchipInterpolator(u, table)
    x, z, width, height = curve(fine).T
    tangent = curve(fine, 1)[:, :2]
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    angle = np.arange(n_sides) * (2 * np.pi / n_sides)
    centre = np.stack((x, np.zeros_like(x), z), 1)
    up = np.stack((-tangent[:, 1], np.zeros_like(x), tangent[:, 0]), 1)
    left = np.array([0.0, 1.0, 0.0])
    rings = (
        centre[:, None]
        + (width[:, None] * np.cos(angle))[..., None] * left
        + (height[:, None] * np.sin(angle))[..., None] * up[:, None]
    )
    arc = np.concatenate(([0.0], np.linalg.norm(np.diff(centre, axis=0), axis=1).cumsum()))
    poles = np.array([[back[0], 0, back[1]], [front[0], 0, front[1]]])
    joint_ring = {s.joint: i * n_between for i, s in enumerate(sections) if s.joint is not None}
    return Trunk(rings, poles, arc, joint_ring)


def outline(patch: tuple[int, int, int, int]) -> list[tuple[int, int]]:
    """List (ring, column) around a rectangle of the trunk's quads, counter-clockwise seen from outside."""
    r0, r1, c0, c1 = patch
    return (
        [(r0, c) for c in range(c0, c1)]
        + [(r, c1) for r in range(r0, r1)]
        + [(r1, c) for c in range(c1, c0, -1)]
        + [(r, c0) for r in range(r1, r0, -1)]
    )


def first_joint(trunk: Trunk, limb: Limb) -> np.ndarray:
    """Return the place of a limb's first joint: between its outline's centre and the trunk's."""
    n_sides = trunk.rings.shape[1]
    rim = np.mean([trunk.rings[r, c % n_sides] for r, c in outline(limb.patch)], axis=0)
    inside = trunk.rings[list(limb.patch[:2])].mean((0, 1))
    return (1 - limb.depth) * rim + limb.depth * inside


def build_limb(trunk: Trunk, limb: Limb) -> LimbSurface:
    """Sweep rings along the bones of a left limb."""
    points = np.concatenate((first_joint(trunk, limb)[None], limb.bones)).cumsum(0)
    length = np.linalg.norm(limb.bones, axis=1)
    direction = limb.bones / length[:, None]
    start = np.concatenate(([0.0], length.cumsum()))
    n_bones = len(limb.bones)
    places: list[float] = []
    tangents: list[np.ndarray] = []
    joint_ring: list[int] = []
    for b in range(n_bones):
        if b:
            joint_ring.append(len(places))
        for ring in TIP_RINGS if b == n_bones - 1 else BONE_RINGS:
            share = ring if b else limb.exit + (1 - limb.exit) * ring
            before, after = direction[max(b - 1, 0)], direction[min(b + 1, n_bones - 1)]
            mixed = direction[b] + max(0.0, 1 - share / 0.2) * before + max(0.0, (share - 0.8) / 0.2) * after
            tangents.append(mixed / np.linalg.norm(mixed))
            places.append(start[b] + share * length[b])
    arc, tangent = np.array(places), np.array(tangents)
    centre = np.stack([np.interp(arc, start, points[:, axis]) for axis in range(3)], 1)
    radius = PchipInterpolator(start, limb.radii)(arc) * _rounded_end(arc, start)

    across = np.asarray(limb.across) - tangent * (tangent @ np.asarray(limb.across))[:, None]
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    other = np.cross(tangent, across)
    rim = [trunk.rings[r, c % trunk.rings.shape[1]] for r, c in outline(limb.patch)]
    angle = _phase(np.array(rim), across[0], other[0]) + np.arange(len(rim)) * (2 * np.pi / len(rim))
    rings = centre[:, None] + radius[:, None, None] * (
        np.cos(angle)[:, None] * across[:, None] + limb.flat * np.sin(angle)[:, None] * other[:, None]
    )
    return LimbSurface(rings, points[-1], arc, start[:-1], tuple(joint_ring), limb.radii)


def _rounded_end(arc: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Shrink the last rings of the last bone to a rounded tip."""
    share = np.clip((arc - start[-2]) / (start[-1] - start[-2]), 0, 1)
    return np.sqrt(1 - (np.clip(share - 0.7, 0, None) / 0.3) ** 2)


def _phase(rim: np.ndarray, across: np.ndarray, other: np.ndarray) -> float:
    """Find the turn of evenly spaced ring vertices that follows an outline best."""
    offset = rim - rim.mean(0)
    angle = np.arctan2(offset @ other, offset @ across)
    difference = angle - np.arange(len(rim)) * (2 * np.pi / len(rim))
    return float(np.angle(np.exp(1j * difference).sum()))


@dataclass(frozen=True)
class AnimalPlan:
    """Proportions of an animal; the right limbs are mirror images of the left ones, which are given.

    `spine` lists (joint, parent) of the trunk from the root outwards, the parent of the root None. Names of left
    limbs contain `_L`, those of right ones `_R`.
    """

    sections: list[CrossSection]
    back: tuple[float, float]
    front: tuple[float, float]
    limbs: list[Limb]
    spine: tuple[tuple[str, str | None], ...]
    n_sides: int = 20
    n_between: int = 2

    @property
    def tree(self) -> list[tuple[str, str | None]]:
        """All joints with their parents: the trunk's, then those of the limbs, the left one of each pair first."""
        tree = list(self.spine)
        for limb in self.limbs:
            for side in 'LR':
                names = [name.replace('_L', f'_{side}') for name in limb.joints]
                tree += zip(names, [limb.parent, *names])
        return tree


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
