"""Distances along a surface, and the limbs that stick out of it: what a pose leaves as it is.

A limb is a branch of the surface's tree of level sets: followed down from its tip (a place from which every way along
the surface leads nearer to the middle) until it meets a longer one. Poses bend limbs and leave these distances.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree

# Of the mesh's size: vertices nearer to each other lie on one place.
SAME_PLACE = 1e-6


def first_of_place(
    vertices: Float[np.ndarray, 'V 3'], tolerance: float = SAME_PLACE
) -> Int[np.ndarray, ' V']:
    """Return of every vertex the first one that lies on its place; itself where it lies there alone.

    Vertices are on one place where one leads to the other in steps of at most the tolerance. Those that are closer
    count once before neighbours are looked for, so that time and memory do not grow with how many lie together.

    Args:
        vertices: finite.
        tolerance: share of the longest side of the vertices' box.
    """
    count = len(vertices)
    step = tolerance * float(np.ptp(vertices, axis=0).max()) if count else 0.0
    if not step > 0:
        return np.zeros(count, dtype=np.int64)
    cells = np.floor((vertices - vertices.min(0)) / step).astype(np.int64)
    _, one, cell = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    cell = cell.reshape(-1)
    pairs = cKDTree(vertices[one]).query_pairs(step, output_type='ndarray')
    joined = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (len(one), len(one)))
    place = connected_components(joined, directed=False)[1][cell]
    first = np.full(count, count)
    np.minimum.at(first, place, np.arange(count))
    return first[place]


# Pieces up to so many are each joined to the nearest vertex of all others; of more, to one of so many nearest ones.
MOST_BRIDGED, NEAR_VERTICES = 64, 16
# Of the edges of borders: such that are nearer touch; of so many nearest vertices.
TORN, NEAR_BORDER = 0.35, 6


def surface_graph(vertices: Float[np.ndarray, 'V 3'], faces: Int[np.ndarray, 'F 3']) -> csr_matrix:
    """Join the vertices of every edge, and those across an edge, by the length between them; pieces are bridged.

    Ways across an edge keep paths of coarse meshes from running in zigzag. Vertices on one place, as at the seams of
    an image, are one for distances, and keep their numbers; borders that nearly touch, as of seams under noise, are
    joined. A piece of its own is joined to the nearest vertex of the others: scans have holes and loose parts.
    """
    n = len(vertices)
    first = first_of_place(vertices)
    split = np.nonzero(first != np.arange(n))[0]
    faces = first[faces]
    sides = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    across = np.concatenate([faces[:, 2], faces[:, 0], faces[:, 1]])
    sides = np.sort(sides, 1)
    key = sides[:, 0].astype(np.int64) * n + sides[:, 1]
    order = key.argsort(kind='stable')
    twin = np.nonzero(key[order][1:] == key[order][:-1])[0]
    over = np.stack([across[order[twin]], across[order[twin + 1]]], 1)
    pairs = np.concatenate([sides, over])
    pairs = np.concatenate([pairs, np.stack([first[split], split], 1), _across_tears(vertices, sides)])
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], 1), axis=0)
    graph = _joined(vertices, pairs)
    while True:
        count, piece = connected_components(graph, directed=False)
        if count == 1:
            return graph
        bridges = (_bridges if count <= MOST_BRIDGED else _many_bridges)(vertices, piece, count)
        pairs = np.concatenate([pairs, bridges])
        graph = _joined(vertices, pairs)


def _across_tears(vertices: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Pair vertices of borders that lie nearer to each other than borders are fine, but do not follow one another."""
    n = len(vertices)
    edges, count = np.unique(sides[sides[:, 0] != sides[:, 1]], axis=0, return_counts=True)
    edges = edges[count == 1]
    border = np.unique(edges)
    if len(border) < 2:
        return np.empty((0, 2), dtype=np.int64)
    length = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    ends = edges.ravel()
    fine = np.bincount(ends, np.repeat(length, 2), n) / np.bincount(ends, minlength=n).clip(1)
    distance, index = cKDTree(vertices[border]).query(vertices[border], k=min(NEAR_BORDER, len(border)))
    pairs = np.sort(np.stack([np.repeat(border, distance.shape[1]), border[index.ravel()]], 1), 1)
    near = distance.ravel() <= TORN * np.minimum(fine[pairs[:, 0]], fine[pairs[:, 1]])
    key = pairs[:, 0].astype(np.int64) * n + pairs[:, 1]
    follows = np.isin(key, edges[:, 0].astype(np.int64) * n + edges[:, 1])
    return pairs[near & ~follows & (pairs[:, 0] != pairs[:, 1])]


def _joined(vertices: np.ndarray, pairs: np.ndarray) -> csr_matrix:
    # A length of 0 would be no edge.
    length = np.linalg.norm(vertices[pairs[:, 0]] - vertices[pairs[:, 1]], axis=1).clip(1e-12)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    return coo_matrix(
        (np.concatenate([length, length]), (both[:, 0], both[:, 1])), (len(vertices),) * 2
    ).tocsr()


def _bridges(vertices: np.ndarray, piece: np.ndarray, count: int) -> np.ndarray:
    """Join every piece but the largest to the nearest vertex of another."""
    largest = np.bincount(piece).argmax()
    result = []
    for k in range(count):
        if k == largest:
            continue
        own, other = np.nonzero(piece == k)[0], np.nonzero(piece != k)[0]
        distance, index = cKDTree(vertices[other]).query(vertices[own])
        best = distance.argmin()
        result.append((own[best], other[index[best]]))
    return np.array(result, dtype=np.int64)


def _many_bridges(vertices: np.ndarray, piece: np.ndarray, count: int) -> np.ndarray:
    """Join every one of many pieces to another that is near: in one search, whatever their number."""
    tree = cKDTree(vertices)
    near = min(NEAR_VERTICES, len(vertices))
    result: dict[int, tuple[float, int, int]] = {}
    for rows in np.array_split(np.arange(len(vertices)), len(vertices) // 100_000 + 1):
        distance, index = tree.query(vertices[rows], k=near)
        other = piece[index] != piece[rows, None]
        for i in np.nonzero(other.any(1))[0].tolist():
            j = int(other[i].argmax())
            bridge = (float(distance[i, j]), int(rows[i]), int(index[i, j]))
            own = int(piece[rows[i]])
            result[own] = min(result.get(own, bridge), bridge)
    # Pieces of many vertices see none but their own: the middles of all pieces are joined in a row.
    lone = np.setdiff1d(np.arange(count), list(result))
    some = np.unique(piece, return_index=True)[1]
    bridges = [(a, b) for _, a, b in result.values()]
    bridges += [(int(some[k]), int(some[(k + 1) % count])) for k in lone.tolist()]
    return np.array(bridges, dtype=np.int64)


def farthest_points(graph: csr_matrix, count: int, start: int = 0) -> Int[np.ndarray, ' n']:
    """Choose vertices far from each other along the surface, the first far from `start`."""
    nearest = dijkstra(graph, indices=start)
    chosen = [int(nearest.argmax())]
    nearest = dijkstra(graph, indices=chosen[0])
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, dijkstra(graph, indices=chosen[-1]))
    return np.array(chosen)


def central_vertex(graph: csr_matrix, samples: int = 12) -> int:
    """Find the vertex that is nearest to all ends of the surface: its geodesic centre.

    Root mean square of the distances from far vertices; a single long limb moves it less than it moves the centre of
    the smallest ball.
    """
    ends = farthest_points(graph, samples)
    distances = dijkstra(graph, indices=ends)
    return int(np.square(distances).sum(0).argmin())


@dataclass(frozen=True)
class SurfaceLimb:
    """A part that sticks out.

    Attributes:
        tip: the vertex at its end.
        reach: of the tip from the middle, along the surface.
        length: from the tip to where the limb meets a longer one, by distance from the middle.
        vertices: of the limb.
    """

    tip: int
    reach: float
    length: float
    vertices: Int[np.ndarray, ' n']


@dataclass(frozen=True)
class Limbs:
    """The limbs of a surface, longest first, and every vertex's distance from the middle."""

    middle: int
    height: Float[np.ndarray, ' V']
    limbs: tuple[SurfaceLimb, ...]

    @property
    def trunk(self) -> Int[np.ndarray, ' n']:
        """The vertices that belong to no limb."""
        free = np.ones(len(self.height), dtype=bool)
        for limb in self.limbs:
            free[limb.vertices] = False
        return np.nonzero(free)[0]


def find_limbs(
    graph: csr_matrix, least_length: float, middle: int | None = None, height: np.ndarray | None = None
) -> Limbs:
    """Find the limbs that are at least so long, by the merge tree of the distance from the middle.

    Going through the vertices from the farthest inwards, pieces appear at tips and join at saddles; where two join,
    the one with the nearer tip ends (persistence of connected components; Edelsbrunner, Letscher, Zomorodian 2002).

    Args:
        graph: of the surface.
        least_length: shorter ones belong to what they stand on.
        middle: from where distances are taken; the geodesic centre if None.
        height: distances, where the caller has them.
    """
    middle = central_vertex(graph) if middle is None else middle
    height = dijkstra(graph, indices=middle) if height is None else height
    order = (-height).argsort(kind='stable')
    root = [-1] * len(height)
    tip: dict[int, int] = {}
    members: dict[int, list[int]] = {}
    limbs: list[SurfaceLimb] = []
    ended: set[int] = set()

    def top(v: int) -> int:
        while root[v] != v:
            root[v] = root[root[v]]
            v = root[v]
        return v

    indptr, indices = graph.indptr, graph.indices
    for v in order.tolist():
        neighbours = indices[indptr[v] : indptr[v + 1]]
        near = {top(u) for u in neighbours.tolist() if root[u] >= 0}
        root[v] = v
        if not near:
            tip[v], members[v] = v, [v]
            continue
        keep = max(near, key=lambda r: height[tip[r]])
        root[v] = keep
        members[keep].append(v)
        for other in near - {keep}:
            if float(height[tip[other]] - height[v]) >= least_length:
                # Where two long ones meet both end: what lies below is of the trunk, whoever reaches on.
                for r in (other, keep):
                    if tip[r] not in ended:
                        ended.add(tip[r])
                        own = float(height[tip[r]] - height[v])
                        limbs.append(SurfaceLimb(tip[r], float(height[tip[r]]), own, np.array(members[r])))
                    members[r] = []
            members[keep].extend(members.pop(other))
            root[other] = keep
    if not limbs:
        far = order[0]
        limbs.append(SurfaceLimb(int(far), float(height[far]), float(height[far]), np.nonzero(height > 0)[0]))
    limbs.sort(key=lambda limb: -limb.length)
    return Limbs(middle, height, tuple(limbs))


def limb_bands(
    limb: SurfaceLimb, graph: csr_matrix, edges: Float[np.ndarray, ' _']
) -> list[Int[np.ndarray, ' _']]:
    """Cut a limb into bands by distance along the surface from its tip; a band may be empty.

    Args:
        limb: the limb.
        graph: of the surface.
        edges: distances between which bands lie, ascending.
    """
    own = graph[limb.vertices][:, limb.vertices]
    start = int(np.nonzero(limb.vertices == limb.tip)[0][0])
    distance = dijkstra(own, indices=start)
    return [limb.vertices[(distance >= a) & (distance < b)] for a, b in zip(edges, edges[1:])]


def mean_curvature(
    vertices: Float[np.ndarray, 'V 3'], faces: Int[np.ndarray, 'F 3'], normals: Float[np.ndarray, 'V 3']
) -> Float[np.ndarray, ' V']:
    """Return the mean curvature at vertices, 1 / length: 1 / r on a sphere of radius r, 1 / (2 r) on a cylinder.

    Half of the Laplacian by cotangents, along the normal (Meyer, Desbrun, Schroeder and Barr 2003), by a third of
    the area around. At the edge of an open surface, and without area, it is 0.

    Args:
        vertices: of the surface.
        faces: triangles, counter-clockwise from outside.
        normals: unit normals of the vertices, outwards.
    """
    corners = vertices[faces]
    pull = np.zeros_like(vertices)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    around = np.zeros(len(vertices))
    for k in range(3):
        np.add.at(around, faces[:, k], area / 3)
        a, b, c = faces[:, k], faces[:, (k + 1) % 3], faces[:, (k + 2) % 3]
        # The angle at a weighs the side from b to c.
        cosine = ((vertices[b] - vertices[a]) * (vertices[c] - vertices[a])).sum(1)
        half = np.divide(cosine, 4 * area, out=np.zeros_like(area), where=area > 0)
        side = half[:, None] * (vertices[c] - vertices[b])
        np.add.at(pull, b, side)
        np.add.at(pull, c, -side)
    bent = np.divide(-(pull * normals).sum(1), 2 * around, out=np.zeros(len(vertices)), where=around > 0)
    bent[_edge_of(faces)] = 0.0
    return bent


def _edge_of(faces: np.ndarray) -> np.ndarray:
    """Return the vertices on sides of one triangle alone."""
    sides = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    unique, count = np.unique(sides, axis=0, return_counts=True)
    return np.unique(unique[count == 1])
