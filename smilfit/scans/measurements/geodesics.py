"""Shortest paths on a surface, by points on its edges that are refined around the path.

Paths along edges alone are too long by up to tens of per cent. Here a path may cross a triangle between points on its
sides: first few a side over the whole surface, then more on the triangles around the path that was found (selective
refinement of Kanai and Suzuki 2001, Computer-Aided Design 33), and last the points slide along their edges to where
the path is shortest, which is a convex problem. Nothing is asked of the mesh: holes, borders, edges of three
triangles, several pieces and flat angles are all right.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from smilfit.scans.measurements.surface import NotMeasurableError, Surface

# Points between the ends of an edge: over the whole surface, then near the path.
COARSE, FINE = 2, 8
# Where points of a path meet its length is rounded, by less and less of a step; and the most steps of each sliding.
_ROUNDED, _STEPS = (0.3, 0.03, 1e-3), 30
# Of the nearest vertices to a point the triangles are looked at.
_NEIGHBOURS = 12


@dataclass(frozen=True)
class SurfacePoint:
    """A point of the surface: a triangle and the shares of its corners."""

    face: int
    shares: tuple[float, float, float]

    def on(self, vertices: Float[np.ndarray, 'V 3'], faces: Int[np.ndarray, 'F 3']) -> Float[np.ndarray, '3']:
        """Return where it is."""
        return np.asarray(self.shares) @ vertices[faces[self.face]]


@dataclass(frozen=True)
class SurfacePath:
    """A path: points each on an edge (the two vertices) at a share of its way."""

    edges: Int[np.ndarray, 'n 2']
    shares: Float[np.ndarray, ' n']
    start: SurfacePoint
    end: SurfacePoint

    def points(
        self, vertices: Float[np.ndarray, 'V 3'], faces: Int[np.ndarray, 'F 3']
    ) -> Float[np.ndarray, 'm 3']:
        """Return the points, both ends included."""
        a, b = vertices[self.edges[:, 0]], vertices[self.edges[:, 1]]
        between = a + self.shares[:, None] * (b - a)
        ends = (self.start.on(vertices, faces)[None], self.end.on(vertices, faces)[None])
        return np.concatenate((ends[0], between, ends[1]))

    def length(self, vertices: Float[np.ndarray, 'V 3'], faces: Int[np.ndarray, 'F 3']) -> float:
        """Return how long it is where the vertices are now: to first order the shortest path's length."""
        return float(np.linalg.norm(np.diff(self.points(vertices, faces), axis=0), axis=1).sum())


def nearest_point(
    vertices: Float[np.ndarray, 'V 3'], surface: Surface, point: Float[np.ndarray, '3']
) -> SurfacePoint:
    """Find the point of the surface nearest to one, among the triangles around its nearest vertices."""
    used = np.unique(surface.faces)
    _, near = cKDTree(vertices[used]).query(point, k=min(_NEIGHBOURS, len(used)))
    faces = np.flatnonzero(np.isin(surface.faces, used[np.atleast_1d(near)]).any(1))
    # Imported late: torch need not be there for the rest.
    import torch

    from smilfit.geometry.surface_search import closest_on_triangles

    corners = torch.from_numpy(vertices[surface.faces[faces]])
    shares = closest_on_triangles(torch.from_numpy(point).expand(len(faces), 3), corners).numpy()
    places = np.einsum('nc,nci->ni', shares, vertices[surface.faces[faces]])
    best = int(np.linalg.norm(places - point, axis=1).argmin())
    a, b, c = (float(x) for x in shares[best])
    return SurfacePoint(int(faces[best]), (a, b, c))


def shortest_path(
    vertices: Float[np.ndarray, 'V 3'], surface: Surface, start: SurfacePoint, end: SurfacePoint
) -> SurfacePath:
    """Find the shortest path between two points of the surface.

    Raises:
        NotMeasurableError: the points lie on separate pieces of the surface.
    """
    ends = surface.faces[[start.face, end.face], 0]
    if surface.piece[ends[0]] != surface.piece[ends[1]]:
        raise NotMeasurableError(
            f'its ends lie on separate pieces of the surface (of {surface.n_pieces}): there is no path between them'
        )
    faces = np.flatnonzero(surface.piece[surface.faces[:, 0]] == surface.piece[ends[0]])
    edges, shares, walked = _graph_path(vertices, surface, faces, COARSE, start, end)
    for _ in range(2):
        around = np.isin(surface.faces[faces], surface.faces[walked]).any(1)
        edges, shares, walked = _graph_path(vertices, surface, faces[around], FINE, start, end)
    path = SurfacePath(edges, shares, start, end)
    return _straightened(vertices, surface, path)


def _graph_path(
    vertices: np.ndarray,
    surface: Surface,
    rows: np.ndarray,
    between: int,
    start: SurfacePoint,
    end: SurfacePoint,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the shortest path over points on the edges of some triangles; gives its points and its triangles."""
    faces, of_face = surface.faces[rows], surface.face_edges[rows]
    used_edges, local = np.unique(of_face, return_inverse=True)
    local = local.reshape(-1, 3)
    corners, corner = np.unique(faces, return_inverse=True)
    corner = corner.reshape(-1, 3)
    n_corners, n_edges = len(corners), len(used_edges)
    steps = np.arange(1, between + 1) / (between + 1)
    on_edge = n_corners + np.arange(n_edges)[:, None] * between + np.arange(between)
    # Nodes: corners, points of edges (from the lower vertex on), the two ends.
    pairs = surface.edges[used_edges]
    a, b = vertices[pairs[:, 0]], vertices[pairs[:, 1]]
    inner = (a[:, None] + steps[:, None] * (b - a)[:, None]).reshape(-1, 3)
    tips = np.stack([p.on(vertices, surface.faces) for p in (start, end)])
    places = np.concatenate((vertices[corners], inner, tips))
    first = n_corners + n_edges * between
    arcs = _arcs(corner, on_edge[local])
    chains = np.concatenate(
        (np.searchsorted(corners, pairs[:, :1]), on_edge, np.searchsorted(corners, pairs[:, 1:])), 1
    )
    along = np.stack((chains[:, :-1], chains[:, 1:]), -1).reshape(-1, 2)
    ring = np.concatenate((corner, on_edge[local].reshape(len(rows), -1)), 1)
    leave, reach = (ring[np.flatnonzero(rows == p.face)[0]] for p in (start, end))
    ways = [
        arcs,
        along,
        *(np.stack((np.full(len(r), first + i), r), 1) for i, r in enumerate((leave, reach))),
    ]
    if start.face == end.face:
        ways.append(np.array([[first, first + 1]]))
    joined = np.concatenate(ways)
    lengths = np.linalg.norm(places[joined[:, 0]] - places[joined[:, 1]], axis=1)
    # Zero would be no arc.
    lengths = np.maximum(lengths, 1e-12 * max(float(lengths.max()), 1e-300))
    graph = coo_matrix((lengths, (joined[:, 0], joined[:, 1])), (first + 2, first + 2)).tocsr()
    _, before = dijkstra(graph, directed=False, indices=first, return_predecessors=True)
    nodes, node = [], int(before[first + 1])
    while node >= 0 and node != first:
        nodes.append(node)
        node = int(before[node])
    if node < 0:
        raise NotMeasurableError('no path over the surface joins its ends')
    return _named(np.array(nodes[::-1], np.int64), corners, pairs, between, ring, rows, start, end)


def _arcs(corner: np.ndarray, on_edge: np.ndarray) -> np.ndarray:
    """Join the points of each triangle's border that do not lie on one edge."""
    between = on_edge.shape[2]
    result = []
    for i in range(3):
        # Edge i runs from corner i to i + 1: its points see the opposite corner, and those of the next edge.
        mine, ahead = on_edge[:, i], on_edge[:, (i + 1) % 3]
        opposite = np.repeat(corner[:, (i + 2) % 3, None], between, 1)
        result.append(np.stack((mine, opposite), -1).reshape(-1, 2))
        grid = np.broadcast_arrays(mine[:, :, None], ahead[:, None, :])
        result.append(np.stack(grid, -1).reshape(-1, 2))
    return np.concatenate(result)


def _named(
    nodes: np.ndarray,
    corners: np.ndarray,
    pairs: np.ndarray,
    between: int,
    ring: np.ndarray,
    rows: np.ndarray,
    start: SurfacePoint,
    end: SurfacePoint,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return nodes as points of edges, and the triangles that they border."""
    at_corner = nodes < len(corners)
    edge, place = np.divmod(np.where(at_corner, 0, nodes - len(corners)), between)
    ends = np.where(at_corner[:, None], corners[np.where(at_corner, nodes, 0)][:, None], pairs[edge])
    shares = np.where(at_corner, 0.0, (place + 1) / (between + 1))
    walked = rows[np.isin(ring, nodes).any(1)]
    return ends, shares, np.union1d(walked, [start.face, end.face])


def _straightened(vertices: np.ndarray, surface: Surface, path: SurfacePath) -> SurfacePath:
    """Slide the points along their edges until the path is shortest; points at corners stay.

    By Newton's steps, cut at the ends of edges (projected Newton, Bertsekas 1982, SIAM J. Control Optim. 20).
    """
    size = path.length(vertices, surface.faces)
    if not (size > 0 and (path.edges[:, 0] != path.edges[:, 1]).any()):
        return path
    ends = [p.on(vertices, surface.faces) for p in (path.start, path.end)]
    a = vertices[path.edges[:, 0]]
    way = vertices[path.edges[:, 1]] - a
    shares = path.shares.copy()
    for rounded in _ROUNDED:
        shares = _slid(shares, a, way, ends, rounded * size / (len(shares) + 1), size)
    straight = SurfacePath(path.edges, shares, path.start, path.end)
    return straight if straight.length(vertices, surface.faces) < size else path


def _slid(
    shares: np.ndarray, a: np.ndarray, way: np.ndarray, ends: list[np.ndarray], rounding: float, size: float
) -> np.ndarray:
    """Slide points by Newton's steps until the path becomes no shorter."""
    cost, gradient, hessian = _sliding(shares, a, way, ends, rounding)
    for _ in range(_STEPS):
        free = way.any(1) & ~((shares <= 0) & (gradient > 0)) & ~((shares >= 1) & (gradient < 0))
        rows = np.flatnonzero(free)
        if not len(rows):
            break
        step = np.zeros_like(shares)
        step[rows] = -np.linalg.solve(hessian[np.ix_(rows, rows)], gradient[rows])
        # Where the length is straight Newton's step has no end.
        step *= min(1.0, 0.5 / max(float(np.abs(step).max()), 1e-300))
        before = cost
        for halvings in range(12):
            tried = (shares + 0.5**halvings * step).clip(0.0, 1.0)
            result = _sliding(tried, a, way, ends, rounding)
            if result[0] < cost:
                shares, (cost, gradient, hessian) = tried, result
                break
        if before - cost < 1e-10 * size:
            break
    return shares


def _sliding(
    shares: np.ndarray, a: np.ndarray, way: np.ndarray, ends: list[np.ndarray], rounding: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return a path's length, rounded where two points meet, with gradient and hessian by its points' shares."""
    points = np.concatenate((ends[0][None], a + shares[:, None] * way, ends[1][None]))
    steps = np.diff(points, axis=0)
    lengths = np.sqrt((steps**2).sum(1) + rounding**2)
    unit = steps / lengths[:, None]
    gradient = ((unit[:-1] - unit[1:]) * way).sum(1)
    bend = (np.eye(3) - unit[:, :, None] * unit[:, None]) / lengths[:, None, None]
    own = np.einsum('ni,nij,nj->n', way, bend[:-1] + bend[1:], way)
    next_to = -np.einsum('ni,nij,nj->n', way[:-1], bend[1:-1], way[1:])
    floor = 1e-9 * max(float(own.max()), 1e-300)
    hessian = np.diag(own + floor) + np.diag(next_to, 1) + np.diag(next_to, -1)
    return float(lengths.sum()), gradient, hessian
