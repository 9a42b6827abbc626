"""An animal of stiff parts: the geoms that MuJoCo shows become its skin, each bound whole to its body.

Models of insects (and of robots) have no skin: every body carries meshes or simple solids. Shown are the geoms of
the groups that MuJoCo's viewer shows, unless they are invisible; floors are none of an animal.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smilfit.files import BadFileError, charge, shorten
from smilfit.rigs.mjcf_bodies import MjcfBody
from smilfit.rigs.mjcf_document import MjcfDocument
from smilfit.rigs.mjcf_frames import WAYS, WORLD, Frame, frame_of, shortest_turn, vector
from smilfit.rigs.mjcf_meshes import MjcfMeshes
from smilfit.rigs.mjcf_primitives import SIZES, Mesh, solid
from smilfit.rigs.mjcf_skin import MjcfSkin, SkinBone

# Groups of geoms that MuJoCo's viewer shows unless asked otherwise.
SHOWN_GROUPS = 3
_NO_SOLID = ('plane', 'hfield')
_NAMED = 6


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
        document: the model.
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
            found = _geom(document, bodies[i], number, meshes, hidden)
            if found is not None:
                local, mesh = found
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
    """Give the bodies of the tree that has most: the animal, not what it plays with."""
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
        local = Frame(shortest_turn(along / length), (ends[:3] + ends[3:]) / 2)
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
        vertices.append(points @ frame.turn.T + frame.place)
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
        more = f' and {len(hidden) - _NAMED} more' if len(hidden) > _NAMED else ''
        notes.append(
            f'{len(hidden)} geoms are not shown (group {SHOWN_GROUPS} and above, or transparent) and left out: '
            f'{shorten(", ".join(hidden[:_NAMED]), 200)}{more}'
        )
    return tuple(notes)
