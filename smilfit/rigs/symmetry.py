"""Left and right of a rig: the mirror in which its mesh looks the same, and pairs of joints by place and by name."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix, diags
from scipy.spatial import cKDTree

from smilfit.body_models.data import BodyModelData, SparseMatrix
from smilfit.body_models.sides import names_of_other_side

# Of the mesh's size: how far a vertex's image may be from a vertex, and a joint's from a joint.
_MESH, _JOINT = 0.005, 0.02
# Of the vertices: a mirror in which fewer have an image is none.
_LEAST = 0.8
_MOST_VERTICES = 4000
# A vertex this near to the plane lies on it, of the size.
_ON_PLANE = 1e-4
_LEFT = re.compile(r'left|(?<![a-z])l(?![a-z])', re.IGNORECASE)
SIDES = ('mean', 'left', 'right')
# Of the mesh's size: vertices of two sides are partners where one's image is that near to the other.
_PARTNER = 0.02
_ONE_PLACE = 1e-6
# Vertices that one without a partner follows.
_ABOUT = 4
# Cosine of the angle to an axis.
_ALMOST_ALONG = 0.999
# A mirror is believed whose images lie within this share of the skeleton's size.
_MOST_OFF = 0.2


def joint_pairs(data: BodyModelData) -> list[tuple[int, int]]:
    """Return the pairs of joints of two sides that the model states; by their names where it states none."""
    index = {name: j for j, name in enumerate(data.joint_names)}
    if data.joint_symmetry:
        return [(index[a], index[b]) for a, b in data.joint_symmetry if a in index and b in index]
    return pairs_by_name(data)


def pairs_by_name(data: BodyModelData) -> list[tuple[int, int]]:
    """Return the pairs of joints, equally deep in the tree, whose names say that they are left and right."""
    index = {name: j for j, name in enumerate(data.joint_names)}
    depth: list[int] = []
    for j, parent in enumerate(data.parents.tolist()):
        depth.append(depth[parent] + 1 if 0 <= parent < j else 0)
    result = []
    for name, left in index.items():
        others = (index[other] for other in names_of_other_side(name, only_left=True) if other in index)
        right = next((j for j in others if depth[j] == depth[left]), None)
        if right is not None:
            result.append((left, right))
    return result


def mirror_axis(data: BodyModelData, pairs: list[tuple[int, int]]) -> int | None:
    """Return the axis (0, 1, 2) along which joints of the two sides are each other's image; None without one."""
    if not pairs:
        return None
    off = [float(np.median(mirror_distances(data, pairs, axis))) for axis in range(3)]
    axis = int(np.argmin(off))
    return axis if off[axis] < _MOST_OFF * np.ptp(data.joints, axis=0).max() else None


def mirror_centre(data: BodyModelData, pairs: list[tuple[int, int]], axis: int) -> float:
    """Return where the mirror stands on its axis: half way between the sides, median over pairs."""
    return float(np.median([data.joints[list(pair), axis].mean() for pair in pairs]))


def mirror_distances(data: BodyModelData, pairs: list[tuple[int, int]], axis: int) -> Float[np.ndarray, ' n']:
    """Measure how far the images of joints lie from the joints of the other side, model unit."""
    left, right = (data.joints[list(side)] for side in zip(*pairs))
    image = left.copy()
    image[:, axis] = 2 * mirror_centre(data, pairs, axis) - left[:, axis]
    return np.linalg.norm(image - right, axis=1)


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
    result = [*by_name, *((names[a], names[b]) for a, b in pairs)]
    return Symmetry(mirror, tuple(result), on_plane, len(pairs), len(by_name), tuple(odd))


def _name_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pair names of two sides, each with one other."""
    known, taken, result = set(names), set(), []
    for name in names:
        if name in taken:
            continue
        others = [o for o in names_of_other_side(name, only_left=True) if o in known and o not in taken]
        if others:
            result.append((name, others[0]))
            taken |= {name, others[0]}
    return result


def _best_mirror(
    vertices: np.ndarray, joints: np.ndarray, pairs: list[tuple[int, int]], size: float
) -> Mirror | None:
    step = max(1, len(vertices) // _MOST_VERTICES)
    # Of vertices at one place one is enough; a tree of the same point many times would look at all of them.
    tree, few = cKDTree(np.unique(vertices, axis=0)), vertices[::step]
    centre = (vertices.min(0) + vertices.max(0)) / 2
    candidates = [(axis, float(centre @ axis)) for axis in np.eye(3)]
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
    distance = np.linalg.norm(joints[off][:, None] - image[off][None], axis=-1)
    other = distance.argmin(1)
    return [
        (off[i], off[k])
        for i, k in enumerate(other.tolist())
        if i < k and other[k] == i and distance[i, k] <= _JOINT * size
    ]


def symmetrise(data: BodyModelData, side: str = 'mean') -> tuple[BodyModelData, tuple[str, ...]]:
    """Make skin, weights, joints, regressor and shape directions of both sides mirror images of each other.

    Across the plane that mirrors the mesh, wherever it lies. Vertices are partners where each is nearest to the
    other's image; what has none keeps its weights, moves as those about it do, and is counted. Order and number of
    vertices stay.

    Args:
        side: 'mean' gives both sides half; 'left' or 'right' gives the other side the image of this one.

    Raises:
        ValueError: another side; no mirror; nothing says which side is left.
    """
    if side not in SIDES:
        raise ValueError(f'symmetrise: the side must be one of {", ".join(SIDES)}; got {side!r}.')
    pairs = joint_pairs(data)
    mirror = _mirror(data, pairs)
    joints = np.arange(data.n_joints)
    for a, b in pairs:
        joints[[a, b]] = b, a
    partner = _partners(data.v_template, mirror)
    taken = _taken(data, mirror, side, pairs)
    other = 0.5 if side == 'mean' else 1.0
    valid = partner >= 0
    partner = np.where(valid, partner, np.arange(data.n_vertices))
    # On the plane a vertex is its own partner, and half of it is its image in any case.
    centre = valid & (np.linalg.norm(data.v_template[partner] - data.v_template, axis=1) == 0)
    share_other = np.where(centre, 0.5, np.where(valid & taken(data.v_template), other, 0.0))
    # A joint without another side is mirrored onto the plane where it is near to it, else it stays.
    near = np.abs(data.joints @ mirror.normal - mirror.at) <= _PARTNER * np.ptp(data.v_template, 0).max()
    paired = joints != np.arange(data.n_joints)
    joint_other = np.where(paired, np.where(taken(data.joints), other, 0.0), np.where(near, 0.5, 0.0))
    vertices = _symmetric(data.v_template, mirror.image(data.v_template), partner, share_other)
    if not valid.all():
        vertices[~valid] += _followed(data.v_template, vertices, valid)
    rest = _symmetric(data.joints, mirror.image(data.joints), joints, joint_other)
    regressor = data.joint_regressor
    if regressor is not None:
        regressor = _mixed(regressor, joints, partner, joint_other)
        rest = regressor @ vertices
    reflection = np.eye(3) - 2 * np.outer(mirror.normal, mirror.normal)
    shapedirs, scaledirs, transdirs = data.shapedirs, data.scaledirs, data.transdirs
    if shapedirs is not None:
        image = np.einsum('ab,vbs->vas', reflection, shapedirs)
        shapedirs = _symmetric(shapedirs, image, partner, share_other)
    if scaledirs is not None:
        of_joints = scaledirs.swapaxes(0, 1)
        scaledirs = _symmetric(of_joints, of_joints, joints, joint_other).swapaxes(0, 1)
    if transdirs is not None:
        of_joints = transdirs.swapaxes(0, 1)
        image = np.einsum('ab,jsb->jsa', reflection, of_joints)
        transdirs = _symmetric(of_joints, image, joints, joint_other).swapaxes(0, 1)
    mended = replace(
        data,
        v_template=vertices,
        joints=rest,
        weights=_mixed(data.weights, partner, joints, share_other),
        joint_regressor=regressor,
        shapedirs=shapedirs,
        scaledirs=scaledirs,
        transdirs=transdirs,
        symmetry_plane_vertices=np.flatnonzero(centre),
        joint_symmetry=data.joint_symmetry
        or tuple((data.joint_names[a], data.joint_names[b]) for a, b in pairs),
    )
    return mended, _notes(data.v_template, vertices, mirror, valid, centre)


def _symmetric(values: np.ndarray, image: np.ndarray, order: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Mix values with the image of those on the other side, whose places are an order, by shares."""
    share = share.reshape(-1, *(1,) * (values.ndim - 1))
    return (1 - share) * values + share * image[order]


def _notes(
    before: np.ndarray, after: np.ndarray, mirror: Mirror, valid: np.ndarray, centre: np.ndarray
) -> tuple[str, ...]:
    """Report how vertices moved, and which have no partner."""
    moved = np.linalg.norm(after - before, axis=1)
    normal = ', '.join(f'{abs(x):.3g}' if abs(x) < 1e-9 else f'{x:.3g}' for x in mirror.normal)
    notes = [
        f'mirrored across ({normal}) at {mirror.at:.4g}: {int((valid & ~centre).sum()) // 2} pairs of vertices, '
        f'{int(centre.sum())} on the plane; they moved by up to {moved.max():.3g} of '
        f'{np.ptp(before, 0).max():.3g}'
    ]
    if not valid.all():
        notes.append(
            f'{int((~valid).sum())} vertices have no partner on the other side and moved as those about them'
        )
    return tuple(notes)


def _mirror(data: BodyModelData, pairs: list[tuple[int, int]]) -> Mirror:
    """Find the plane: that in which the mesh looks the same, else that between the joints of two sides.

    A plane that is almost across an axis is taken to be, where the mesh looks no worse in that.
    """
    result = find_symmetry(data.v_template, data.joint_names, data.joints).mirror
    planes = [] if result is None else [result]
    axis = mirror_axis(data, pairs) if result is None else int(np.abs(result.normal).argmax())
    if axis is not None and (result is None or abs(result.normal[axis]) > _ALMOST_ALONG):
        places = [0.0, float(np.ptp(data.v_template[:, axis]) / 2 + data.v_template[:, axis].min())]
        if pairs:
            places.append(mirror_centre(data, pairs, axis))
        planes += [Mirror(np.eye(3)[axis], at, 0.0) for at in places]
    if not planes:
        raise ValueError(
            f'{data.name}: must have two sides: a plane in which the mesh looks the same, or joints whose names are '
            'those of two sides (`left` and `right`, `_l` and `_r`); it has neither.'
        )
    tree = cKDTree(data.v_template)
    return min(planes, key=lambda plane: float(tree.query(plane.image(data.v_template))[0].mean()))


def _partners(vertices: Float[np.ndarray, 'V 3'], mirror: Mirror) -> Int[np.ndarray, ' V']:
    """Return each vertex the one that is nearest to its image, where that holds the other way round too; else -1.

    Vertices at one place, as at seams, are as good as each other.
    """
    size = np.ptp(vertices, axis=0).max()
    distance, nearest = cKDTree(vertices).query(mirror.image(vertices))
    back = np.linalg.norm(vertices[nearest[nearest]] - vertices, axis=1) <= _ONE_PLACE * size
    return np.where(back & (distance <= _PARTNER * size), nearest, -1)


def _followed(
    before: Float[np.ndarray, 'V 3'], after: Float[np.ndarray, 'V 3'], valid: Bool[np.ndarray, ' V']
) -> Float[np.ndarray, 'n 3']:
    """Return by how much vertices that are not `valid` move where they go with those about them."""
    count = min(_ABOUT, int(valid.sum()))
    if not count:
        return np.zeros((len(before), 3))
    near = cKDTree(before[valid]).query(before[~valid], count)[1].reshape(-1, count)
    return (after - before)[valid][near].mean(1)


def _taken(
    data: BodyModelData, mirror: Mirror, side: str, pairs: list[tuple[int, int]]
) -> Callable[[Float[np.ndarray, 'N 3']], Bool[np.ndarray, ' N']]:
    """Return a function that says which points take the other's image: all, or those of the other side."""
    if side == 'mean':
        return lambda points: np.ones(len(points), bool)
    if not pairs:
        raise ValueError(
            f'{data.name}: nothing says which side is left: no pairs of joints, neither stated nor by name. Take the '
            'mean of both.'
        )
    left = np.median([(data.joints[a] - data.joints[b]) @ mirror.normal for a, b in pairs])
    towards = np.sign(left) * (1 if side == 'left' else -1)

    def other_side(points: Float[np.ndarray, 'N 3']) -> Bool[np.ndarray, ' N']:
        return (points @ mirror.normal - mirror.at) * towards < 0

    return other_side


def _mixed(matrix: SparseMatrix, rows: np.ndarray, cols: np.ndarray, share: np.ndarray) -> SparseMatrix:
    """Mix each row with its partner's, whose columns are those of the other side; rows keep their sums."""
    own = csr_matrix((matrix.values, (matrix.rows, matrix.cols)), matrix.shape)
    other = csr_matrix((matrix.values, (matrix.rows, cols[matrix.cols])), matrix.shape)[rows]
    result = (diags(1 - share) @ own + diags(share) @ other).tocoo()
    kept = result.data != 0
    return SparseMatrix(
        result.row[kept].astype(np.int64), result.col[kept].astype(np.int64), result.data[kept], matrix.shape
    )
