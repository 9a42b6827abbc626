"""Left and right of a rig: the mirror in which its mesh looks the same, and pairs of joints by place and by name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from smilfit.body_models.sides import names_of_other_side

# Of the mesh's size: how far a vertex's image may be from a vertex, and a joint's from a joint.
_MESH, _JOINT = 0.005, 0.02
# Of the vertices: a mirror in which fewer have an image is none.
_LEAST = 0.8
_MOST_VERTICES = 4000
# A vertex this near to the plane lies on it, of the size.
_ON_PLANE = 1e-4
_LEFT = re.compile(r'left|(?<![a-z])l(?![a-z])', re.IGNORECASE)


@dataclass(frozen=True)
class Mirror:
    """A plane `normal . x = at`, and the share of the mesh that looks the same in it."""

    normal: np.ndarray
    at: float
    share: float

    def image(self, points: Float[np.ndarray, '... 3']) -> Float[np.ndarray, '... 3']:
        """Mirror points."""
        return points - 2 * (points @ self.normal - self.at)[..., None] * self.normal


@dataclass(frozen=True)
class Symmetry:
    """What was found; `pairs` are (left, right), or in no order where nothing says which is left.

    `by_place` of them stand where the mirror says, `by_name` have names of two sides. `odd` are pairs by name that do
    not stand so, and names of a side without another.
    """

    mirror: Mirror | None
    pairs: tuple[tuple[str, str], ...]
    plane_vertices: np.ndarray | None
    by_place: int
    by_name: int
    odd: tuple[str, ...]


def find_symmetry(
    vertices: Float[np.ndarray, 'V 3'], names: Sequence[str], joints: Float[np.ndarray, 'J 3']
) -> Symmetry:
    """Find left and right.

    Names have the first word (`.L` and `.R`, `Left` and `Right`, `_l` and `_r`); joints without such names are pairs
    where one is the mirror image of the other. Planes are tried across all axes, across the mesh's principal axes and
    between the joints that names pair.
    """
    size = float(np.ptp(vertices, axis=0).max())
    by_name = _name_pairs(names)
    mirror = _best_mirror(vertices, joints, [(names.index(a), names.index(b)) for a, b in by_name], size)
    if mirror is None:
        return Symmetry(None, tuple(by_name), None, 0, len(by_name), ())
    image = mirror.image(joints)
    place = {name: j for j, name in enumerate(names)}
    odd = [
        f'{a} and {b}'
        for a, b in by_name
        if np.linalg.norm(image[place[a]] - joints[place[b]]) > 2 * _JOINT * size
    ]
    named = {name for pair in by_name for name in pair}
    free = [j for j, name in enumerate(names) if name not in named]
    pairs = _place_pairs(free, joints, image, mirror, size)
    on_plane = np.flatnonzero(np.abs(vertices @ mirror.normal - mirror.at) <= _ON_PLANE * size)
    found = [*by_name, *((names[a], names[b]) for a, b in pairs)]
    return Symmetry(mirror, tuple(found), on_plane, len(pairs), len(by_name), tuple(odd))


def _name_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pair names of two sides, each with one other."""
    known, taken, found = set(names), set(), []
    for name in names:
        if name in taken:
            continue
        others = [o for o in names_of_other_side(name, only_left=True) if o in known and o not in taken]
        if others:
            found.append((name, others[0]))
            taken |= {name, others[0]}
    return found


def _best_mirror(
    vertices: np.ndarray, joints: np.ndarray, pairs: list[tuple[int, int]], size: float
) -> Mirror | None:
    step = max(1, len(vertices) // _MOST_VERTICES)
    # Of vertices at one place one is enough; a tree of the same point many times would look at all of them.
    tree, few = cKDTree(np.unique(vertices, axis=0)), vertices[::step]
    middle = (vertices.min(0) + vertices.max(0)) / 2
    candidates = [(axis, float(middle @ axis)) for axis in np.eye(3)]
    candidates += [(axis, 0.0) for axis in np.eye(3)]
    mean = vertices.mean(0)
    principal = np.linalg.svd(few - mean, full_matrices=False)[2]
    candidates += [(axis, float(mean @ axis)) for axis in principal]
    if pairs:
        left, right = (joints[[p[i] for p in pairs]] for i in range(2))
        across = (left - right)[np.linalg.norm(left - right, axis=1) > _JOINT * size]
        if len(across):
            normal = np.linalg.svd(across, full_matrices=False)[2][0]
            candidates.insert(0, (normal, float(np.median((left + right) / 2 @ normal))))
    best: Mirror | None = None
    for normal, at in candidates:
        mirror = Mirror(normal, at, 0.0)
        distance, _ = tree.query(mirror.image(few), distance_upper_bound=_MESH * size)
        share = float(np.isfinite(distance).mean())
        # The thickness across a plane says whether there are two sides at all.
        if np.ptp(vertices @ normal) > _MESH * size and (best is None or share > best.share + 0.01):
            best = Mirror(normal, at, share)
    return best if best is not None and best.share >= _LEAST else None


def _place_pairs(
    free: list[int], joints: np.ndarray, image: np.ndarray, mirror: Mirror, size: float
) -> list[tuple[int, int]]:
    """Pair joints that are each other's mirror image, off the plane."""
    off = [j for j in free if abs(joints[j] @ mirror.normal - mirror.at) > _JOINT * size / 2]
    if not off:
        return []
    apart = np.linalg.norm(joints[off][:, None] - image[off][None], axis=-1)
    other = apart.argmin(1)
    return [
        (off[i], off[k])
        for i, k in enumerate(other.tolist())
        if i < k and other[k] == i and apart[i, k] <= _JOINT * size
    ]
