"""Meshes of a glTF file as they are stored: corners, weights by joint of their skin, morph targets, uv."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from smilfit.files import check_budget, shorten
from smilfit.rigs.gltf.file import AccessorReader, Entry, GltfFile
from smilfit.rigs.read_rig import Clip, unique_names

_TRIANGLES, _STRIP, _FAN = 4, 5, 6
# More influences a vertex has no rig; sets are of four.
_MOST_SETS = 64
_MOST_VERTICES = 1 << 22


@dataclass
class MeshPiece:
    """What one node shows of its mesh, in the mesh's own space: (n, 3) vertices and (F, 3) faces.

    Weights are entries: `rows` of vertices, `slots` of the skin's list of joints, `values`.
    """

    node: int
    vertices: np.ndarray
    faces: list[np.ndarray]
    rows: np.ndarray
    slots: np.ndarray
    values: np.ndarray
    morphs: list[np.ndarray]
    uv: np.ndarray | None
    image: int | None
    morph_names: tuple[str, ...] = ()
    colour: tuple[float, ...] | None = None
    weighted: bool = field(default=False)


def read_mesh(
    file: GltfFile, reader: AccessorReader, node: int, n_slots: int, notes: list[str]
) -> Iterator[MeshPiece]:
    """Read the primitives of a node's mesh; those that share their vertices are one piece.

    Args:
        node: a node that shows a mesh.
        n_slots: how many joints the node's skin has; 0 without a skin.
    """
    number = file.index('meshes', file.entries('nodes')[node].get('mesh'), f'mesh of nodes[{node}]')
    mesh = file.entries('meshes')[number]
    pieces: dict[str, MeshPiece] = {}
    total = 0
    for i, primitive in enumerate(file.objects(mesh, 'primitives', f'meshes[{number}]')):
        where = f'meshes[{number}].primitives[{i}]'
        mode = primitive.get('mode', _TRIANGLES)
        if mode not in (_TRIANGLES, _STRIP, _FAN):
            notes.append(f'{where} is made of points or lines: left out.')
            continue
        attributes = primitive.get('attributes')
        if not isinstance(attributes, dict) or 'POSITION' not in attributes:
            notes.append(f'{where} has no positions: left out.')
            continue
        reader.check_stored(primitive, attributes['POSITION'])
        count = reader.count(attributes['POSITION'], f'{where}.POSITION')
        key = repr((sorted(attributes.items(), key=str), primitive.get('targets')))
        if key not in pieces:
            total += count
            check_budget(file.path, f'the vertices of meshes[{number}]', total, _MOST_VERTICES, 'vertices')
            names = _morph_names(mesh, len(file.objects(primitive, 'targets', where)))
            pieces[key] = _piece(reader, node, primitive, attributes, names, n_slots, where, notes)
        pieces[key].faces.append(_faces(reader, primitive, mode, count, where))
    yield from pieces.values()


def _piece(
    reader: AccessorReader,
    node: int,
    primitive: Entry,
    attributes: Entry,
    names: tuple[str, ...],
    n_slots: int,
    where: str,
    notes: list[str],
) -> MeshPiece:
    file = reader.file
    vertices = reader.floats(attributes['POSITION'], 'VEC3', f'{where}.POSITION')
    rows, slots, values = _weights(file, reader, attributes, len(vertices), n_slots, where)
    morphs, lost = [], 0
    for k, target in enumerate(file.objects(primitive, 'targets', where)):
        what = f'{where}.targets[{k}].POSITION'
        moved = np.zeros_like(vertices)
        if 'POSITION' in target:
            result = reader.floats(target['POSITION'], 'VEC3', what)
            if len(result) == len(vertices):
                moved = result
            else:
                lost += 1
        morphs.append(moved)
    if lost:
        # Assimp splits corners and leaves the targets; the rig is whole without them.
        notes.append(f'{lost} morph targets of {where} have not a row a vertex: left out.')
    uv, image, colour = _looks(file, reader, primitive, attributes, len(vertices), where)
    return MeshPiece(
        node, vertices, [], rows, slots, values, morphs, uv, image, names, colour, 'JOINTS_0' in attributes
    )


def _weights(
    file: GltfFile, reader: AccessorReader, attributes: Entry, count: int, n_slots: int, where: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read all sets of four influences; a joint that stands twice in a vertex has the sum."""
    every: list[tuple[np.ndarray, np.ndarray]] = []
    for k in range(_MOST_SETS if n_slots else 0):
        if f'JOINTS_{k}' not in attributes or f'WEIGHTS_{k}' not in attributes:
            break
        slots = reader.whole(attributes[f'JOINTS_{k}'], 'VEC4', f'{where}.JOINTS_{k}', 1 << 32)
        values = reader.shares(attributes[f'WEIGHTS_{k}'], 'VEC4', f'{where}.WEIGHTS_{k}')
        if len(slots) != count or len(values) != count:
            got = f'{len(slots)} and {len(values)}'
            raise file.fail(f'JOINTS and WEIGHTS of {where} must have {count} rows', got)
        used = values != 0
        if used.any() and slots[used].max() >= n_slots:
            rule = f'{where}.JOINTS_{k} must name joints 0 to {n_slots - 1} of its skin'
            raise file.fail(
                rule, int(slots[used].max()), 'Is the mesh bound to another skeleton? Export anew.'
            )
        every.append((slots, values))
    if not every:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    slots, values = (np.concatenate([pair[i] for pair in every], 1) for i in range(2))
    rows = np.repeat(np.arange(count), slots.shape[1])
    kept = values.ravel() != 0
    flat = rows[kept] * n_slots + slots.ravel()[kept]
    unique, place = np.unique(flat, return_inverse=True)
    return unique // n_slots, unique % n_slots, np.bincount(place, values.ravel()[kept], len(unique))


def _faces(reader: AccessorReader, primitive: Entry, mode: int, count: int, where: str) -> np.ndarray:
    if 'indices' in primitive:
        corners = reader.whole(primitive['indices'], 'SCALAR', f'{where}.indices', count)[:, 0]
    else:
        corners = np.arange(count)
    if mode == _TRIANGLES:
        return corners[: len(corners) // 3 * 3].reshape(-1, 3)
    if mode == _FAN:
        return np.stack((np.broadcast_to(corners[:1], len(corners[2:])), corners[1:-1], corners[2:]), 1)
    strip = np.stack((corners[:-2], corners[1:-1], corners[2:]), 1)
    strip[1::2] = strip[1::2][:, [1, 0, 2]]
    return strip


def _morph_names(mesh: Entry, count: int) -> tuple[str, ...]:
    extras = mesh.get('extras')
    names = extras.get('targetNames') if isinstance(extras, dict) else None
    names = names if isinstance(names, list) else []
    return tuple(
        shorten(names[k], 80) if k < len(names) and isinstance(names[k], str) else f'morph_{k}'
        for k in range(count)
    )


def _looks(
    file: GltfFile,
    reader: AccessorReader,
    primitive: Entry,
    attributes: Entry,
    count: int,
    where: str,
) -> tuple[np.ndarray | None, int | None, tuple[float, ...] | None]:
    """Return where vertices lie on the base colour's image (origin upper left), which image, and the plain colour."""
    if 'material' not in primitive:
        return None, None, None
    material = file.entry('materials', primitive['material'], f'{where}.material')
    looks = material.get('pbrMetallicRoughness')
    looks = looks if isinstance(looks, dict) else {}
    factor = looks.get('baseColorFactor')
    colour = None
    if isinstance(factor, list) and len(factor) == 4 and all(type(x) in (int, float) for x in factor):
        colour = tuple(float(x) for x in factor[:3])
    texture = looks.get('baseColorTexture')
    if not isinstance(texture, dict):
        return None, None, colour
    entry = file.entry('textures', texture.get('index'), f'{where}.baseColorTexture')
    name = f'TEXCOORD_{file.number(texture, "texCoord", 0, where)}'
    if 'source' not in entry or name not in attributes:
        return None, None, colour
    uv = reader.floats(attributes[name], 'VEC2', f'{where}.{name}')
    if len(uv) != count:
        raise file.fail(f'{where}.{name} must have {count} rows', len(uv))
    image = file.index('images', entry['source'], f'{where}.baseColorTexture')
    return _transformed(uv, texture), image, colour


def _transformed(uv: np.ndarray, texture: Entry) -> np.ndarray:
    """Apply KHR_texture_transform, where it says something sensible."""
    extensions = texture.get('extensions')
    result = extensions.get('KHR_texture_transform') if isinstance(extensions, dict) else None
    if not isinstance(result, dict):
        return uv
    scale, offset, rotation = (
        result.get('scale', [1, 1]),
        result.get('offset', [0, 0]),
        result.get('rotation', 0),
    )
    for pair in (scale, offset):
        if not isinstance(pair, list) or len(pair) != 2 or not all(type(x) in (int, float) for x in pair):
            return uv
    if type(rotation) not in (int, float):
        return uv
    c, s = np.cos(rotation), np.sin(rotation)
    return (uv * np.array(scale, float)) @ np.array([[c, -s], [s, c]]) + np.array(offset, float)


def merge_targets(
    targets: Sequence[str], moves: Sequence[np.ndarray], clips: Sequence[Clip]
) -> tuple[dict[str, np.ndarray], list[Clip]]:
    """Make targets of one name one, where no clip moves them differently; those that move nothing go.

    A mouth of several meshes (skin, teeth, tongue) is one shape.

    Args:
        targets: their names (M).
        moves: displacements of all vertices at weight 1 (V, 3), in that order.
        clips: with weights of the targets in that order.
    """
    weights = [clip.morph_weights for clip in clips if clip.morph_weights is not None]
    first: list[int] = []
    merged: list[np.ndarray] = []
    for k, (name, move) in enumerate(zip(targets, moves)):
        same = [
            i for i, other in enumerate(first)
            if targets[other] == name and all(np.array_equal(w[:, k], w[:, other]) for w in weights)
        ]  # fmt: skip
        if not move.any():
            continue
        if same:
            merged[same[0]] = merged[same[0]] + move
        else:
            first.append(k)
            merged.append(move)
    names = unique_names([targets[k] for k in first])
    kept = [
        replace(c, morph_weights=None if c.morph_weights is None else c.morph_weights[:, first])
        for c in clips
    ]
    return dict(zip(names, merged)), kept


class MorphTargets:
    """Morph targets of all pieces, those of one node behind those of another."""

    def __init__(self, pieces: list[MeshPiece], morphs: list[list[np.ndarray]], offsets: np.ndarray) -> None:
        self.counts: dict[int, int] = {}
        for piece in pieces:
            if piece.morph_names:
                self.counts[piece.node] = max(self.counts.get(piece.node, 0), len(piece.morph_names))
        self.nodes = list(self.counts)
        self.names: list[str] = []
        self.moves: list[np.ndarray] = []
        for node in self.nodes:
            mine = [(p, m, at) for p, m, at in zip(pieces, morphs, offsets) if p.node == node]
            for k in range(self.counts[node]):
                moved = np.zeros((offsets[-1], 3))
                for piece, result, at in mine:
                    if k < len(result):
                        moved[at : at + len(piece.vertices)] = result[k]
                self.names.append(next(p.morph_names[k] for p, _, _ in mine if k < len(p.morph_names)))
                self.moves.append(moved)

    def merged(self, clips: list[Clip]) -> tuple[dict[str, np.ndarray], list[Clip]]:
        """Make targets of one name one, where no clip moves them differently; those that move nothing go."""
        return merge_targets(self.names, self.moves, clips)
