"""Simple solids of MuJoCo as triangles: sphere, ellipsoid, capsule, cylinder, box; z is their long axis."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from smilfit.files import BadFileError, shorten

# Round solids lie within 2 % of their radius.
_SIDES, _RINGS = 16, 4
# Numbers of `size` that each kind uses; with `fromto` the half length is not among them.
SIZES = {'sphere': 1, 'capsule': 2, 'cylinder': 2, 'ellipsoid': 3, 'box': 3}


class Mesh(NamedTuple):
    """Vertices in the frame of a geom, and triangles that turn outwards."""

    vertices: Float[np.ndarray, 'V 3']
    faces: Int[np.ndarray, 'F 3']


def solid(kind: str, size: Float[np.ndarray, ' n'], where: str) -> Mesh:
    """Give a solid about the origin.

    Args:
        kind: a key of `SIZES`.
        size: as MuJoCo has it: radius; radius and half length; three half axes.
        where: for messages.

    Raises:
        BadFileError: sizes that are not above 0.
    """
    size = size[: SIZES[kind]]
    if len(size) < SIZES[kind] or (size <= 0).any():
        raise BadFileError(
            f'{where}: size of a {kind} must be {SIZES[kind]} numbers above 0; got {shorten(size.tolist())}. '
            'Correct it.'
        )
    if kind == 'box':
        return _box(size)
    if kind == 'cylinder':
        radius, half = size
        return _revolved([(0, -half), (radius, -half), (radius, half), (0, half)])
    if kind == 'capsule':
        radius, half = size
        lower = [(radius * r, radius * z - half) for r, z in _arc(-90, 0)]
        return _revolved(lower + [(radius * r, radius * z + half) for r, z in _arc(0, 90)])
    vertices, faces = _revolved(_arc(-90, 90))
    return Mesh(vertices * (size[0] if kind == 'sphere' else size), faces)


def _arc(start: float, stop: float) -> list[tuple[float, float]]:
    """Give points (distance from the axis, height) of a unit circle between two latitudes, degrees."""
    steps = round((stop - start) / 90) * _RINGS
    angles = np.radians(np.linspace(start, stop, steps + 1))
    return [(float(np.cos(a)), float(np.sin(a))) for a in angles]


def _revolved(profile: list[tuple[float, float]]) -> Mesh:
    """Turn a profile, from the lower pole to the upper, about z."""
    turns = np.arange(_SIDES) * 2 * np.pi / _SIDES
    ring = np.stack((np.cos(turns), np.sin(turns)), 1)
    inner = profile[1:-1]
    vertices = [(0.0, 0.0, profile[0][1]), (0.0, 0.0, profile[-1][1])]
    rows = [np.array(vertices)]
    rows += [np.concatenate((r * ring, np.full((_SIDES, 1), z)), 1) for r, z in inner]
    k, after = np.arange(_SIDES), (np.arange(_SIDES) + 1) % _SIDES
    first = [2 + i * _SIDES for i in range(len(inner))]
    faces = [np.stack((np.zeros(_SIDES, int), first[0] + after, first[0] + k), 1)]
    for a, b in zip(first, first[1:]):
        faces.append(np.stack((a + k, a + after, b + after), 1))
        faces.append(np.stack((a + k, b + after, b + k), 1))
    faces.append(np.stack((np.ones(_SIDES, int), first[-1] + k, first[-1] + after), 1))
    return Mesh(np.concatenate(rows), np.concatenate(faces))


def _box(size: np.ndarray) -> Mesh:
    vertices = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float) * size
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return Mesh(vertices, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]))
