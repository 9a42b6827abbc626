"""Skin that passes through skin: triangles that cross, without those that cross at rest."""

import numpy as np
from jaxtyping import Bool, Float, Int

# A triangle that reaches so many times the median one is torn, counted as such, and not searched here. Those that
# reach less than the second number are searched all at once.
_LONGEST, _USUAL = 6.0, 1.5
# A corner so near to a plane, in units of a triangle's extent times twice its area, may lie on either side of it.
_FLAT = 1e-9
# Vertices nearer to each other, as a share of the extent, are in one place.
_SAME = 1e-6


def crossing_triangles(
    vertices: Float[np.ndarray, 'V 3'], faces: Int[np.ndarray, 'F 3']
) -> Bool[np.ndarray, ' F']:
    """Say which triangles of a mesh are crossed by another with which they share no vertex.

    An edge of one that passes through the inside of the other (Moller and Trumbore 1997) is a crossing.
    """
    corners = vertices[faces]
    centres = corners.mean(1)
    radii = np.linalg.norm(corners - centres[:, None], axis=-1).max(1)
    asked = np.flatnonzero(radii < _LONGEST * np.median(radii))
    hit = np.zeros(len(faces), bool)
    if len(asked) < 2:
        return hit
    a, b = _neighbours(centres, radii, asked)
    near = np.linalg.norm(centres[a] - centres[b], axis=-1) < radii[a] + radii[b]
    a, b = a[near], b[near]
    joined = (faces[a][:, :, None] == faces[b][:, None, :]).any((1, 2))
    a, b = a[~joined], b[~joined]
    # Most pairs are told apart by the plane of one of them, at a tenth of the cost.
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    # Triangles without an area have no plane, and are not told apart.
    margin = _FLAT * radii**3
    for _ in range(2):
        side = ((corners[b] - corners[a][:, :1]) * normals[a][:, None]).sum(-1)
        through = (side.min(1) <= margin[a]) & (side.max(1) >= -margin[a])
        a, b = b[through], a[through]
    crossed = _pierces(corners[a], corners[b]) | _pierces(corners[b], corners[a])
    hit[a[crossed]] = hit[b[crossed]] = True
    return hit


def new_crossings(
    poses: Float[np.ndarray, 'B V 3'], rest: Float[np.ndarray, 'V 3'], faces: Int[np.ndarray, 'F 3']
) -> Float[np.ndarray, ' B']:
    """Give the share of the skin, of its area at rest, that crosses other skin in a pose and does not at rest.

    Vertices in one place at rest (seams of an image of the skin) are one: triangles on both sides of a seam touch.
    """
    a, b, c = (rest[faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=-1)
    faces = _first_in_place(rest)[faces]
    before = crossing_triangles(rest, faces)
    return np.array([area[crossing_triangles(pose, faces) & ~before].sum() / area.sum() for pose in poses])


def _first_in_place(rest: Float[np.ndarray, 'V 3']) -> Int[np.ndarray, ' V']:
    """Give for each vertex the first one in its place; places are told apart by `_SAME` of the extent."""
    step = _SAME * max(float(np.ptp(rest, axis=0).max()), np.finfo(float).tiny)
    _, first, place = np.unique(np.round(rest / step), axis=0, return_index=True, return_inverse=True)
    return first[place.ravel()]


def _neighbours(centres: np.ndarray, radii: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find pairs of triangles whose spheres may touch."""
    # Imported late: scipy takes a third of a second, and few ask for this.
    from scipy.spatial import cKDTree

    usual = asked[radii[asked] < _USUAL * np.median(radii)]
    large = np.setdiff1d(asked, usual)
    tree = cKDTree(centres[usual])
    pairs = [usual[tree.query_pairs(2 * radii[usual].max(initial=0.0), output_type='ndarray')]]
    if len(large):
        reach = radii[large] + radii[asked].max()
        around = cKDTree(centres[asked]).query_ball_point(centres[large], reach)
        first = np.repeat(large, [len(found) for found in around])
        pairs.append(np.stack((first, asked[np.concatenate(around).astype(int)]), 1))
    a, b = np.concatenate(pairs).T
    return a, b


def _pierces(edges_of: np.ndarray, into: np.ndarray) -> np.ndarray:
    """Say of pairs of triangles whether an edge of the first passes through the inside of the second."""
    first, second, third = into.transpose(1, 0, 2)
    one, two = second - first, third - first
    found = np.zeros(len(into), bool)
    for i in range(3):
        start, ray = edges_of[:, i], edges_of[:, (i + 1) % 3] - edges_of[:, i]
        p = np.cross(ray, two)
        determinant = (one * p).sum(-1)
        with np.errstate(divide='ignore', invalid='ignore', over='ignore'):
            q = start - first
            u = (q * p).sum(-1) / determinant
            r = np.cross(q, one)
            v = (ray * r).sum(-1) / determinant
            t = (two * r).sum(-1) / determinant
            found |= (u > 0) & (v > 0) & (u + v < 1) & (t > 0) & (t < 1)
    return found
