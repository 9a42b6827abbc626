"""One closed surface of a trunk with limbs: rings along a curve, and limbs that grow out of the trunk's quads.

The trunk is a tube in the plane y = 0 with a pole at either end. A limb replaces a rectangle of the trunk's quads:
the rectangle's outline is the limb's first ring. So the mesh is closed and one-sided by construction, its
topology does not depend on the proportions, and every vertex knows which part of which tube it is on.

Axes: +x forward, +y left, +z up.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

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
    """Give the place of a limb's first joint: between its outline's centre and the trunk's."""
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
    arc, tangent, joint_ring = [], [], []
    for b in range(n_bones):
        shares = TIP_RINGS if b == n_bones - 1 else BONE_RINGS
        if b == 0:
            shares = [limb.exit + (1 - limb.exit) * s for s in shares]
        else:
            joint_ring.append(len(arc))
        for share in shares:
            before, after = direction[max(b - 1, 0)], direction[min(b + 1, n_bones - 1)]
            mixed = direction[b] + max(0.0, 1 - share / 0.2) * before + max(0.0, (share - 0.8) / 0.2) * after
            tangent.append(mixed / np.linalg.norm(mixed))
            arc.append(start[b] + share * length[b])
    arc, tangent = np.array(arc), np.array(tangent)
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
