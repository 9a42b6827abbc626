"""An animal of stiff parts: the geoms that MuJoCo shows become its skin, each bound whole to its body.

Models of insects (and of robots) have no skin: every body carries meshes or simple solids. Shown are the geoms of
the groups that MuJoCo's viewer shows, unless they are invisible; floors are none of an animal.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import ConvexHull, QhullError

from smilfit.files import BadFileError, accounted, charge, check_budget, inside, reading, shorten
from smilfit.rigs.mjcf.bodies import MjcfBody
from smilfit.rigs.mjcf.document import (
    MAIN,
    WAYS,
    WORLD,
    Frame,
    MjcfDocument,
    frame_of,
    quaternion_rotation,
    shortest_rotation,
    vector,
)
from smilfit.rigs.mjcf.skin import MjcfSkin, SkinBone
from smilfit.rigs.read_rig import listed

# Round solids lie within 2 % of their radius.
_SIDES, _RINGS = 16, 4
# Numbers of `size` that each kind uses; with `fromto` the half length is not among them.
SIZES = {'sphere': 1, 'capsule': 2, 'cylinder': 2, 'ellipsoid': 3, 'box': 3}
_WHAT = 'a mesh of MuJoCo (.msh)'
_MOST_BYTES = 1 << 28
# Of a hull, which takes long to find.
_MOST_POINTS = 50_000
_FORMATS = ('.obj', '.stl', '.ply', '.msh')
# Groups of geoms that MuJoCo's viewer shows unless asked otherwise.
SHOWN_GROUPS = 3
_NO_SOLID = ('plane', 'hfield')
_NAMED = 6


class Mesh(NamedTuple):
    """Vertices in the frame of a geom, and triangles that turn outwards."""

    vertices: Float[np.ndarray, 'V 3']
    faces: Int[np.ndarray, 'F 3']


def solid(kind: str, size: Float[np.ndarray, ' n'], where: str) -> Mesh:
    """Return a solid about the origin.

    Args:
        kind: a key of `SIZES`.
        size: as MuJoCo has it: radius; radius and half length; three half axes.

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
    """Return points (distance from the axis, height) of a unit circle between two latitudes, degrees."""
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


def find_asset(document: MjcfDocument, name: str, where: str) -> Path | None:
    """Look for a file of a model where its compiler settings say, and beside it; None where it is not.

    Raises:
        BadFileError: a name that leads out of the model's folder.
    """
    return next((place for place in asset_places(document, name, where) if place.is_file()), None)


def asset_places(document: MjcfDocument, name: str, where: str) -> list[Path]:
    """Return the places at which a file of a model may be.

    Raises:
        BadFileError: a name that leads out of the model's folder.
    """
    folder, compiler = document.path.parent, document.compiler
    places = [inside(folder, Path(key) / name, where) for key in (compiler.meshdir, compiler.assetdir)]
    return list(dict.fromkeys([*places, inside(folder, name, where)]))


class MjcfMeshes:
    """The meshes of a model by name, each read once, when a geom shows it."""

    def __init__(self, document: MjcfDocument) -> None:
        self.document = document
        self.elements: dict[str, dict[str, str]] = {}
        for element in document.every('asset'):
            if element.tag == 'mesh':
                given = document.attributes(element, MAIN)
                self.elements[given.get('name') or Path(given.get('file', '')).stem] = given
        self.missing: list[str] = []
        self._read: dict[str, Mesh | None] = {}

    def mesh(self, name: str, where: str) -> Mesh | None:
        """Return vertices and triangles in the geom's frame; None (and its file in `missing`) if it is not there.

        Corners on one place are one vertex: formats without indices state each for every triangle.

        Raises:
            BadFileError: no mesh of such a name, or a file that is none.
        """
        if name not in self.elements:
            raise BadFileError(
                f'{where}: mesh must name a <mesh> of <asset>; got {shorten(name)!r}. Is an included file missing?'
            )
        if name not in self._read:
            self._read[name] = self._whole(name)
        return self._read[name]

    def _whole(self, name: str) -> Mesh | None:
        given = self.elements[name]
        where = f'{self.document.path}: mesh {shorten(name)}'
        if 'file' in given:
            place = find_asset(self.document, given['file'], where)
            if place is None:
                self.missing.append(given['file'])
                return None
            vertices, faces = _read(place, where)
        else:
            vertices, faces = _stated(given, where)
        if not len(faces) or not np.isfinite(vertices).all():
            raise BadFileError(
                f'{where}: a mesh must have triangles and finite numbers; got {len(faces)} triangles. Export it anew.'
            )
        if faces.min() < 0 or faces.max() >= len(vertices):
            raise BadFileError(
                f'{where}: triangles must name vertices 0 to {len(vertices) - 1}; got {faces.min()} to '
                f'{faces.max()}. Export it again.'
            )
        rotation = quaternion_rotation(vector(given, 'refquat', '1 0 0 0', where), where)
        vertices = (vertices - vector(given, 'refpos', '0 0 0', where)) @ rotation
        scale = vector(given, 'scale', '1 1 1', where)
        unique, place_of = np.unique(vertices, axis=0, return_inverse=True)
        faces = place_of.reshape(-1)[faces]
        # A mirror turns triangles inside out.
        return Mesh(unique * scale, faces[:, ::-1] if np.prod(scale) < 0 else faces)


def _read(path: Path, where: str) -> Mesh:
    kind = path.suffix.lower()
    if kind not in _FORMATS:
        raise BadFileError(
            f'{where}: its file must be one of {", ".join(_FORMATS)}; got {path.name}. Convert it.'
        )
    if kind != '.msh':
        # Imported where it is used: it is of a lower room, and brings trimesh.
        from smilfit.io.meshes.scan_files import read_mesh

        return Mesh(*read_mesh(path))
    with reading(path, _WHAT), accounted(path, _WHAT):
        charge('its meshes', n_bytes=4 * check_budget(path, _WHAT, path.stat().st_size, _MOST_BYTES))
        data = path.read_bytes()
        counts = np.frombuffer(data[:16], '<i4').astype(np.int64)
        good = len(counts) == 4 and (counts >= 0).all()
        n_vertices, n_normals, n_uv, n_faces = counts if good else (0, 0, 0, 0)
        floats = 3 * n_vertices + 3 * n_normals + 2 * n_uv
        if not good or len(data) != 16 + 4 * (floats + 3 * n_faces):
            raise BadFileError(
                f'{path}: {_WHAT} must hold what it announces; got {len(data)} bytes. Copy it again.'
            )
        vertices = np.frombuffer(data, '<f4', 3 * n_vertices, 16).astype(float)
        faces = np.frombuffer(data, '<i4', 3 * n_faces, 16 + 4 * floats).astype(np.int64)
        return Mesh(vertices.reshape(-1, 3), faces.reshape(-1, 3))


def _stated(given: dict[str, str], where: str) -> Mesh:
    """Read a mesh that is written into the model; without faces it is the hull of its vertices, as MuJoCo has it."""
    words = {name: len(given.get(name, '').split()) for name in ('vertex', 'face')}
    if not words['vertex'] or any(n % 3 for n in words.values()):
        raise BadFileError(
            f'{where}: must have a file, or vertex and face as rows of 3 numbers; got {words["vertex"]} and '
            f'{words["face"]}. Name its file.'
        )
    vertices = vector(given, 'vertex', ' '.join('0' * words['vertex']), where).reshape(-1, 3)
    if words['face']:
        faces = vector(given, 'face', ' '.join('0' * words['face']), where)
        return Mesh(vertices, faces.astype(np.int64).reshape(-1, 3))
    check_budget(where, 'vertices without faces', len(vertices), _MOST_POINTS, 'of them')
    try:
        hull = ConvexHull(vertices)
    except (QhullError, ValueError) as error:
        raise BadFileError(f'{where}: vertices must span a body; they do not. State its faces.') from error
    faces = hull.simplices.astype(np.int64)
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inward = (normals * hull.equations[:, :3]).sum(1) < 0
    faces[inward] = faces[inward][:, ::-1]
    return Mesh(vertices, faces)


@dataclass(frozen=True)
class GeomSkin:
    """The skin of geoms, and in words how it came about."""

    skin: MjcfSkin
    notes: tuple[str, ...]


def skin_of_geoms(
    document: MjcfDocument, bodies: Sequence[MjcfBody], frames: Sequence[Frame]
) -> GeomSkin | None:
    """Make a skin of the geoms of the largest animal of a model.

    Args:
        bodies: its bodies, parents first.
        frames: in the world at rest.

    Returns:
        None if no geom is shown.

    Raises:
        BadFileError: files of meshes are missing, or numbers that cannot be.
    """
    meshes, chosen = MjcfMeshes(document), _largest_tree(bodies)
    hidden: list[str] = []
    parts: list[tuple[str, Frame, Mesh]] = []
    for i in chosen:
        for number in range(len(bodies[i].geoms)):
            result = _geom(document, bodies[i], number, meshes, hidden)
            if result is not None:
                local, mesh = result
                taken = 2 * (mesh.vertices.nbytes + mesh.faces.nbytes)
                charge('vertices and triangles of its geoms', taken, len(mesh.vertices) + len(mesh.faces))
                parts.append((bodies[i].name, frames[i].then(local), mesh))
    if meshes.missing:
        names = list(dict.fromkeys(meshes.missing))
        raise BadFileError(
            f'{document.path}: files of the meshes of its geoms must be there; {len(names)} are not: '
            f'{shorten(", ".join(names[:_NAMED]), 200)}. Copy them beside it (into its meshdir), or give a skin.'
        )
    if not parts:
        return None
    standing = {bodies[i].name: frames[i] for i in chosen}
    return GeomSkin(_joined(parts, standing), _notes(parts, hidden))


def _largest_tree(bodies: Sequence[MjcfBody]) -> list[int]:
    """Return the bodies of the tree that has most: the animal, not what it plays with."""
    roots: list[int] = []
    for i, body in enumerate(bodies):
        roots.append(i if body.parent < 0 else roots[body.parent])
    sizes = Counter(roots)
    most = max(sizes, key=lambda root: (sizes[root], -root))
    return [i for i, root in enumerate(roots) if root == most]


def _geom(
    document: MjcfDocument, body: MjcfBody, number: int, meshes: MjcfMeshes, hidden: list[str]
) -> tuple[Frame, Mesh] | None:
    """Read one geom: its frame in the body's, and its triangles; None where it is not shown."""
    geom = body.geoms[number]
    given = document.attributes(geom.element, geom.childclass)
    name = given.get('name') or f'geom_{number}'
    where = f'{document.path}: body {shorten(body.name)}, geom {shorten(name)}'
    if set(WAYS) & geom.element.attrib.keys():
        # What the geom says of its turn replaces what its class says, whichever way it is said.
        given = {k: v for k, v in given.items() if k not in WAYS or k in geom.element.attrib}
    group = vector(given, 'group', '0', where)[0]
    kind = given.get('type', 'sphere')
    if kind in _NO_SOLID:
        return None
    if not 0 <= group < SHOWN_GROUPS or _alpha(given, where) == 0:
        hidden.append(name)
        return None
    if 'mesh' in given:
        mesh = meshes.mesh(given['mesh'], where)
        local = frame_of(given, document.compiler, where)
        return None if mesh is None else (geom.around.then(local), mesh)
    if kind not in SIZES:
        known = ', '.join((*SIZES, 'mesh'))
        raise BadFileError(f'{where}: type must be one of {known}; got {shorten(kind)!r}. Leave it out.')
    words = given.get('size', '').split()[:3]
    size = vector(given, 'size', ' '.join('0' * len(words)), where) if words else np.zeros(0)
    if 'fromto' not in given:
        local = frame_of(given, document.compiler, where)
    else:
        ends = vector(given, 'fromto', '0 0 0 0 0 0', where)
        along = ends[:3] - ends[3:]
        length = float(np.linalg.norm(along))
        if kind == 'sphere' or length == 0:
            raise BadFileError(f'{where}: fromto must be two ends of a long solid; got {kind}. Correct it.')
        local = Frame(shortest_rotation(along / length), (ends[:3] + ends[3:]) / 2)
        radius = size[:1]
        size = np.concatenate((radius if SIZES[kind] == 2 else np.tile(radius, 2), [length / 2]))
    return geom.around.then(local), solid(kind, size, where)


def _alpha(given: dict[str, str], where: str) -> float:
    return float(vector(given, 'rgba', '0.5 0.5 0.5 1', where)[3])


def _joined(parts: Sequence[tuple[str, Frame, Mesh]], standing: dict[str, Frame]) -> MjcfSkin:
    """Put all parts into one skin, in the world at rest; a body is a bone that has its parts whole."""
    vertices, faces = [], []
    of_body: dict[str, list[np.ndarray]] = {name: [] for name, _, _ in parts}
    first = 0
    for name, frame, (points, corners) in parts:
        vertices.append(points @ frame.rotation.T + frame.place)
        faces.append(corners + first)
        of_body[name].append(np.arange(first, first + len(points)))
        first += len(points)
    bones = []
    for name, rows in of_body.items():
        mine = np.concatenate(rows)
        bones.append(SkinBone(name, standing.get(name, WORLD), mine, np.ones(len(mine))))
    return MjcfSkin(np.concatenate(vertices), np.concatenate(faces), tuple(bones))


def _notes(parts: Sequence[tuple[str, Frame, Mesh]], hidden: Sequence[str]) -> tuple[str, ...]:
    n_bodies = len({name for name, _, _ in parts})
    notes = [
        f'the model has no skin: the {len(parts)} geoms that MuJoCo shows are the mesh, each stiff on its body '
        f'({n_bodies} bodies)'
    ]
    if hidden:
        notes.append(
            f'{len(hidden)} geoms are not shown (group {SHOWN_GROUPS} and above, or transparent) and left out: '
            f'{listed(hidden, _NAMED)}'
        )
    return tuple(notes)
