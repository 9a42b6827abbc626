"""Girths of parts, their skin cut by a plane across a bone, and the volume inside the skin."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import ConvexHull, QhullError

from smilfit.rigs.triangles import connected_nodes
from smilfit.scans.measurements.surface import NotMeasurableError, Surface


@dataclass(frozen=True)
class Section:
    """One line in which a plane cuts the skin: its points in the plane, its length, and whether it is closed."""

    points: Float[np.ndarray, 'n 2']
    length: float
    closed: bool

    @property
    def hull_length(self) -> float:
        """How long a tape around it is: the perimeter of its convex hull."""
        try:
            # Of two dimensions scipy calls the perimeter area.
            return float(ConvexHull(self.points).area)
        except QhullError:
            return 2 * float(np.ptp(self.points, axis=0).max())


def section_across(
    vertices: Float[np.ndarray, 'V 3'],
    surface: Surface,
    start: Float[np.ndarray, '3'],
    end: Float[np.ndarray, '3'],
    at: float,
    joints: tuple[int, ...],
) -> Section:
    """Cut the skin of some joints by the plane across the line from `start` to `end`, at a share of its way.

    Of several lines the one around the bone is taken, else the nearest.

    Raises:
        NotMeasurableError: the ends are one point, or the plane meets no skin of the joints.
    """
    along = end - start
    length = np.linalg.norm(along)
    if not length > 0:
        raise NotMeasurableError('the ends of the bone are one point')
    normal = along / length
    centre = start + at * along
    height = (vertices - centre) @ normal
    # A vertex in the plane would be met by no edge, or by several.
    height = np.where(np.abs(height) < 1e-12 * length, 1e-12 * length, height)
    mine = surface.belongs_to(np.array(joints))
    above = height[surface.edges] > 0
    cut = above[:, 0] != above[:, 1]
    crossed = cut[surface.face_edges] & mine[:, None]
    faces = crossed.sum(1) == 2
    if not faces.any():
        raise NotMeasurableError('no skin of the bone lies where the plane cuts')
    segments = surface.face_edges[faces][crossed[faces]].reshape(-1, 2)
    used, ends = np.unique(segments, return_inverse=True)
    ends = ends.reshape(-1, 2)
    low, high = surface.edges[used].T
    share = height[low] / (height[low] - height[high])
    places = vertices[low] + share[:, None] * (vertices[high] - vertices[low])
    first = np.cross(normal, np.eye(3)[np.abs(normal).argmin()])
    first /= np.linalg.norm(first)
    flat = (places - centre) @ np.stack((first, np.cross(normal, first)), 1)
    return _around(flat, ends)


def _around(points: np.ndarray, ends: np.ndarray) -> Section:
    """Pick the line that goes round the origin; of several the shortest, of none the one that comes nearest."""
    line = connected_nodes(len(points), ends)
    a, b = points[ends[:, 0]], points[ends[:, 1]]
    lengths = np.linalg.norm(a - b, axis=1)
    rotation = np.arctan2(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], (a * b).sum(1))
    best: tuple[tuple[bool, float], Section] | None = None
    for number in range(line.max() + 1):
        own = line[ends[:, 0]] == number
        rows = np.flatnonzero(line == number)
        degree = np.bincount(ends[own].ravel(), minlength=len(points))[rows]
        result = Section(points[rows], float(lengths[own].sum()), bool((degree == 2).all()))
        round_it = _winds(ends[own], rotation[own]) if result.closed else False
        key = (not round_it, result.length if round_it else float(np.linalg.norm(points[rows], axis=1).min()))
        if best is None or key < best[0]:
            best = key, result
    assert best is not None
    return best[1]


def _winds(ends: np.ndarray, angles: np.ndarray) -> bool:
    """Check whether a closed line goes round the origin: its angles, walked along, come to a whole turn."""
    where: dict[int, list[tuple[int, int, float]]] = {}
    for i, ((a, b), t) in enumerate(zip(ends.tolist(), angles.tolist())):
        where.setdefault(a, []).append((i, b, t))
        where.setdefault(b, []).append((i, a, -t))
    node, total, used = int(ends[0, 0]), 0.0, set()
    for _ in range(len(ends)):
        step = next(((i, to, t) for i, to, t in where[node] if i not in used), None)
        if step is None:
            break
        used.add(step[0])
        node, total = step[1], total + step[2]
    return abs(total) > np.pi


@dataclass(frozen=True)
class Volume:
    """A volume, unit cubed, and how sure it is.

    `open_percent` is how much of it rests on how holes are closed: between caps that bulge as far as a cone to the
    body's middle and caps through the middle of each hole's border. `n_border_edges` and `n_pieces` are counts.
    """

    value: float
    open_percent: float
    n_border_edges: int
    n_pieces: int
    n_against: int

    def remarks(self) -> list[str]:
        """Return what speaks against it."""
        result = []
        if self.n_border_edges:
            result.append(
                f'volume: the surface is open ({self.n_border_edges} border edges); holes are closed by caps, which '
                f'matters by {self.open_percent:.2g} % of the volume'
            )
        if self.n_pieces > 1:
            result.append(
                f'volume: the surface has {self.n_pieces} separate pieces; where they overlap, space counts twice'
            )
        if self.n_against:
            result.append(
                f'volume: {self.n_against} edges have triangles of opposite sense; the volume is not to be trusted'
            )
        return result


def volume_of(vertices: Float[np.ndarray, 'V 3'], surface: Surface) -> Volume:
    """Sum the tetrahedra between triangles and the middle (divergence theorem), holes closed by fans.

    Each border is closed by triangles to its mean point. Pieces of the surface are summed as they are; a piece whose
    normals point inwards counts by its size.
    """
    faces = surface.faces
    centre = vertices[np.unique(faces)].mean(0) if len(faces) else np.zeros(3)
    placed = vertices - centre
    border = _border(surface)
    loop = connected_nodes(len(vertices), border)
    n = int(loop.max()) + 1 if len(loop) else 0
    count = np.bincount(loop[border[:, 0]], minlength=n).clip(1)
    caps = np.stack([np.bincount(loop[border[:, 0]], placed[border[:, 0], i], n) for i in range(3)], 1)
    caps = caps / count[:, None]
    # A cap's triangles run against the border, as the missing ones would.
    closing = np.stack((placed[border[:, 1]], placed[border[:, 0]], caps[loop[border[:, 0]]]), 1)
    piece = surface.piece
    total, n_pieces = np.zeros((2, int(piece.max(initial=0)) + 1)), surface.n_pieces
    np.add.at(total[0], piece[faces[:, 0]], _tetrahedra(placed[faces]))
    np.add.at(total[1], piece[border[:, 0]], _tetrahedra(closing))
    value = float(np.abs(total.sum(0)).sum())
    left_open = float(np.abs(total[0]).sum())
    percent = 100 * abs(value - left_open) / value if value > 0 else 0.0
    return Volume(value, percent, len(border), n_pieces, surface.against_neighbours)


def _border(surface: Surface) -> Int[np.ndarray, 'n 2']:
    """Return the edges of one triangle, in the triangle's sense."""
    alone = surface.edge_faces[surface.face_edges] == 1
    ends = np.stack((surface.faces, np.roll(surface.faces, -1, 1)), -1)
    return ends[alone]


def _tetrahedra(corners: Float[np.ndarray, 'n 3 3']) -> Float[np.ndarray, ' n']:
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    return np.einsum('ni,ni->n', a, np.cross(b, c)) / 6
