"""Meshes of an MJCF model: files that it names or numbers that it states, as its geoms show them."""

from pathlib import Path

import numpy as np
from scipy.spatial import ConvexHull, QhullError

from smilfit.files import BadFileError, accounted, charge, check_budget, inside, reading, shorten
from smilfit.rigs.mjcf_document import MAIN, MjcfDocument
from smilfit.rigs.mjcf_frames import quaternion_turn, vector
from smilfit.rigs.mjcf_primitives import Mesh

_WHAT = 'a mesh of MuJoCo (.msh)'
_MOST_BYTES = 1 << 28
# Of a hull, which takes long to find.
_MOST_POINTS = 50_000
_FORMATS = ('.obj', '.stl', '.ply', '.msh')


def find_asset(document: MjcfDocument, name: str, where: str) -> Path | None:
    """Look for a file of a model where its compiler settings say, and beside it; None where it is not.

    Raises:
        BadFileError: a name that leads out of the model's folder.
    """
    return next((place for place in asset_places(document, name, where) if place.is_file()), None)


def asset_places(document: MjcfDocument, name: str, where: str) -> list[Path]:
    """Give the places at which a file of a model may be.

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
        """Give vertices and triangles in the geom's frame; None (and its file in `missing`) if it is not there.

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
        turn = quaternion_turn(vector(given, 'refquat', '1 0 0 0', where), where)
        vertices = (vertices - vector(given, 'refpos', '0 0 0', where)) @ turn
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
        from smilfit.io.scan_files import read_mesh

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
