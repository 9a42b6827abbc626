"""Write a posed body as an animated glTF 2.0 skin (.glb): skeleton, weights, and one key a frame.

Numbers are in the caller's unit and axes, as they are; `extras` of the file say which. A node `world` above all may
turn them to glTF's axes (y up) and scale them to its unit (metres). glTF's skinning is linear blend skinning, so a
body without pose-dependent shapes is written exactly; scales of single joints are scales of their nodes, or, where
children do not inherit them, of nodes of their own (`<joint>.skin`), as glTF's children always inherit.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from smilfit.files import write_bytes
from smilfit.geometry.rotation import quat_wxyz_to_rotmat

_FLOAT, _UINT16, _UINT32 = 5126, 5123, 5125
_VERTICES, _ELEMENTS = 34962, 34963
_TYPES = {1: 'SCALAR', 2: 'VEC2', 3: 'VEC3', 4: 'VEC4', 16: 'MAT4'}
_PER_SET = 4
# An object of the document.
Json = dict[str, Any]
# Metres before a camera from which on things are seen.
_NEAR = 0.001


@dataclass(frozen=True)
class SkinImage:
    """An image of the skin: the bytes of a PNG or JPEG, and where vertices lie on it.

    `uv` has its origin at the upper left, 1 is the image's extent; a vertex that lies nowhere is NaN.
    """

    data: bytes
    uv: Float[np.ndarray, 'V 2']


@dataclass(frozen=True)
class SkinnedMesh:
    """A mesh at rest and its skeleton, model unit. `parents` come before children; the root's is -1.

    `offsets` are where joints hang in their parents' frames, where that is not where they are at rest; `scales` of
    joints are inherited by their children or not, as `inherited` says. `morphs` displace vertices, at weight 1.
    Without an `image` the skin is of one colour.
    """

    vertices: Float[np.ndarray, 'V 3']
    faces: Int[np.ndarray, 'F 3']
    joints: Float[np.ndarray, 'J 3']
    parents: Int[np.ndarray, ' J']
    names: tuple[str, ...]
    weights: Float[np.ndarray, 'V J']
    offsets: Float[np.ndarray, 'J 3'] | None = None
    scales: Float[np.ndarray, 'J 3'] | None = None
    inherited: bool = False
    morphs: Mapping[str, Float[np.ndarray, 'V 3']] = field(default_factory=dict)
    image: SkinImage | None = None

    @property
    def hanging(self) -> Float[np.ndarray, 'J 3']:
        """Each joint's offset from its parent, in the parent's frame without its scale; the root's place."""
        above = self.joints[np.maximum(self.parents, 0)]
        offsets = np.where((self.parents < 0)[:, None], self.joints, self.joints - above)
        offsets = offsets if self.offsets is None else self.offsets
        if self.scales is None or self.inherited:
            return offsets
        return np.where(
            (self.parents < 0)[:, None], offsets, self.scales[np.maximum(self.parents, 0)] * offsets
        )


@dataclass(frozen=True)
class Viewpoint:
    """A camera as glTF knows it: it looks along its -z, y up. `extras` say what glTF cannot, such as the lens.

    `matrix` takes its frame to the world's.
    """

    name: str
    matrix: Float[np.ndarray, '4 4']
    yfov_rad: float
    aspect: float
    extras: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Motion:
    """Keys of a motion: `x_world = scale * posed(x) + translation`, rotations in the parent's frame."""

    times_s: Float[np.ndarray, 'T']
    quaternions_wxyz: Float[np.ndarray, 'T J 4']
    translation: Float[np.ndarray, 'T 3']
    scale: Float[np.ndarray, 'T']


def write_gltf_animation(
    path: str | Path,
    mesh: SkinnedMesh,
    motion: Motion,
    extras: Mapping[str, object] | None = None,
    viewpoints: Sequence[Viewpoint] = (),
    world: Float[np.ndarray, '4 4'] | None = None,
) -> Path:
    """Write a `.glb`.

    Args:
        path: the file.
        mesh: the body at rest.
        motion: its keys; times must increase.
        extras: what else the file says of itself.
        viewpoints: cameras.
        world: takes everything to glTF's axes and metres, as a node above all; none where everything stays.

    Raises:
        ValueError: another kind of file, no key, or numbers that are not finite.
    """
    path = Path(path)
    if path.suffix.lower() != '.glb':
        raise ValueError(f'{path}: an animation must be a .glb file; got {path.suffix!r}.')
    numbers = (mesh.vertices, mesh.joints, motion.quaternions_wxyz, motion.translation, motion.scale)
    if len(motion.times_s) == 0 or not all(np.isfinite(value).all() for value in numbers):
        raise ValueError(
            f'{path}: an animation must have a key, and finite numbers; got {len(motion.times_s)} keys. Leave out '
            'frames that were not predicted.'
        )
    document, data = _document(mesh, motion, dict(extras or {}))
    _add_scene(document, viewpoints, world)
    return write_bytes(path, _glb((document, data)))


def posed_skin(mesh: SkinnedMesh, motion: Motion, key: int) -> Float[np.ndarray, 'V 3']:
    """Return the vertices that a player shows at a key."""
    turns = quat_wxyz_to_rotmat(
        torch.from_numpy(np.asarray(motion.quaternions_wxyz[key], np.float64))
    ).numpy()
    maps, hanging = np.zeros((len(mesh.names), 4, 4)), mesh.hanging
    for j, parent in enumerate(mesh.parents):
        local = np.eye(4)
        local[:3, :3] = turns[j]
        if mesh.scales is not None and mesh.inherited:
            local[:3, :3] = turns[j] * mesh.scales[j]
        local[:3, 3] = hanging[j]
        maps[j] = local if parent < 0 else maps[parent] @ local
    if mesh.scales is not None and not mesh.inherited:
        maps[:, :3, :3] *= mesh.scales[:, None]
    rotation = maps[:, :3, :3]
    shift = maps[:, :3, 3] - np.einsum('jab,jb->ja', rotation, mesh.joints)
    posed = (
        np.einsum('vj,jab,vb->va', mesh.weights, rotation, mesh.vertices, optimize=True)
        + mesh.weights @ shift
    )
    return motion.scale[key] * posed + motion.translation[key]


class _Buffer:
    """Arrays behind each other, with the accessors that name them."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[Json] = []
        self.accessors: list[Json] = []

    def add(self, array: np.ndarray, kind: int, target: int | None = None, limits: bool = False) -> int:
        """Add one row an element; gives the accessor's number."""
        array = np.ascontiguousarray(array)
        view = self.add_bytes(array.tobytes())
        if target is not None:
            self.views[view]['target'] = target
        accessor: Json = {
            'bufferView': view,
            'componentType': kind,
            'count': len(array),
            'type': _TYPES[array.shape[1] if array.ndim > 1 else 1],
        }
        if limits:
            flat = array.reshape(len(array), -1)
            accessor |= {'min': flat.min(0).tolist(), 'max': flat.max(0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def add_bytes(self, data: bytes) -> int:
        """Add bytes that no accessor names; gives the view's number."""
        self.views.append({'buffer': 0, 'byteOffset': len(self.data), 'byteLength': len(data)})
        self.data += data + b'\0' * (-len(data) % 4)
        return len(self.views) - 1


def _document(mesh: SkinnedMesh, motion: Motion, extras: Json) -> tuple[Json, bytes]:
    buffer, count = _Buffer(), len(mesh.names)
    attributes = {'POSITION': buffer.add(_f32(mesh.vertices), _FLOAT, _VERTICES, True)}
    attributes['NORMAL'] = buffer.add(_f32(_normals(mesh)), _FLOAT, _VERTICES)
    for i, (hung, weights) in enumerate(_influences(mesh.weights)):
        attributes[f'JOINTS_{i}'] = buffer.add(hung, _UINT16, _VERTICES)
        attributes[f'WEIGHTS_{i}'] = buffer.add(weights, _FLOAT, _VERTICES)
    if mesh.image is not None:
        # Players have no word for a vertex that lies nowhere.
        attributes['TEXCOORD_0'] = buffer.add(_f32(np.nan_to_num(mesh.image.uv)), _FLOAT, _VERTICES)
    faces = buffer.add(mesh.faces.astype(np.uint32).ravel(), _UINT32, _ELEMENTS)
    nodes, joints = _nodes(mesh, motion)
    bind = np.tile(np.eye(4), (len(joints), 1, 1))
    bind[:, :3, 3] = -np.concatenate((mesh.joints, mesh.joints))[: len(joints)]
    # Matrices lie column by column.
    inverse = buffer.add(_f32(bind.transpose(0, 2, 1).reshape(-1, 16)), _FLOAT)
    document = {
        'asset': {'version': '2.0', 'generator': 'smilfit', 'extras': extras},
        'scene': 0,
        'scenes': [{'nodes': [0, count + 1]}],
        'nodes': nodes,
        'meshes': [_mesh(mesh, attributes, faces, buffer)],
        **_material(mesh.image, buffer),
        'skins': [{'joints': joints, 'inverseBindMatrices': inverse, 'skeleton': 0}],
        'animations': [_animation(motion, buffer)],
        'bufferViews': buffer.views,
        'accessors': buffer.accessors,
        'buffers': [{'byteLength': len(buffer.data)}],
    }
    return document, bytes(buffer.data)


def _material(image: SkinImage | None, buffer: _Buffer) -> Json:
    """Return the skin's look: its image, else a colour."""
    look: Json = {'metallicFactor': 0.0, 'roughnessFactor': 0.9}
    result: Json = {'materials': [{'pbrMetallicRoughness': look, 'doubleSided': True}]}
    if image is None:
        look['baseColorFactor'] = [0.55, 0.6, 0.7, 1.0]
        return result
    look['baseColorTexture'] = {'index': 0}
    kind = 'image/png' if image.data[:4] == b'\x89PNG' else 'image/jpeg'
    shown = {'images': [{'bufferView': buffer.add_bytes(image.data), 'mimeType': kind}]}
    return result | shown | {'textures': [{'source': 0}]}


def _mesh(mesh: SkinnedMesh, attributes: dict[str, int], faces: int, buffer: _Buffer) -> Json:
    primitive: Json = {'attributes': attributes, 'indices': faces, 'material': 0}
    document: Json = {'primitives': [primitive], 'name': 'body'}
    if mesh.morphs:
        moved = mesh.morphs.values()
        primitive['targets'] = [{'POSITION': buffer.add(_f32(m), _FLOAT, _VERTICES, True)} for m in moved]
        # glTF itself has no names of targets; all programs look for them here.
        document |= {'weights': [0.0] * len(mesh.morphs), 'extras': {'targetNames': list(mesh.morphs)}}
    return document


def _nodes(mesh: SkinnedMesh, motion: Motion) -> tuple[list[Json], list[int]]:
    """Return the animal's place, then its joints, then the mesh; at the first key, so that a still shows it.

    Also the nodes that the skin hangs on, and behind them those that it does not hang on: of nodes of a skin alone
    readers such as Blender know where they were at rest, and take others as they stand at the first key.
    """
    nodes: list[Json] = [
        {
            'name': 'animal',
            'translation': motion.translation[0].tolist(),
            'scale': [float(motion.scale[0])] * 3,
            'children': [j + 1 for j in range(len(mesh.names)) if mesh.parents[j] < 0],
        }
    ]
    hanging = mesh.hanging
    for j, name in enumerate(mesh.names):
        node: Json = {
            'name': name,
            'translation': hanging[j].tolist(),
            'rotation': _xyzw(motion.quaternions_wxyz[:1, j])[0].tolist(),
        }
        if mesh.scales is not None and mesh.inherited:
            node['scale'] = mesh.scales[j].tolist()
        children = [k + 1 for k in range(len(mesh.names)) if mesh.parents[k] == j]
        nodes.append(node | ({'children': children} if children else {}))
    nodes.append({'name': 'body', 'mesh': 0, 'skin': 0})
    skin = list(range(1, len(mesh.names) + 1))
    if mesh.scales is not None and not mesh.inherited:
        for j, name in enumerate(mesh.names):
            nodes[j + 1].setdefault('children', []).append(len(nodes))
            skin[j] = len(nodes)
            nodes.append({'name': f'{name}.skin', 'scale': mesh.scales[j].tolist()})
        skin += range(1, len(mesh.names) + 1)
    return nodes, skin


def _add_scene(document: Json, viewpoints: Sequence[Viewpoint], world: np.ndarray | None) -> None:
    """Add cameras, and the node above all."""
    nodes, (scene,) = document['nodes'], document['scenes']
    for number, view in enumerate(viewpoints):
        scene['nodes'].append(len(nodes))
        # Matrices lie column by column.
        matrix = np.asarray(view.matrix, np.float64).T.ravel().tolist()
        nodes.append({'name': view.name, 'camera': number, 'matrix': matrix, 'extras': dict(view.extras)})
    if viewpoints:
        document['cameras'] = [
            {
                'type': 'perspective',
                'name': view.name,
                'perspective': {'yfov': view.yfov_rad, 'aspectRatio': view.aspect, 'znear': _NEAR},
            }
            for view in viewpoints
        ]
    if world is not None:
        top = {'name': 'world', 'matrix': np.asarray(world, np.float64).T.ravel().tolist()}
        nodes.append(top | {'children': scene['nodes']})
        scene['nodes'] = [len(nodes) - 1]


def _normals(mesh: SkinnedMesh) -> np.ndarray:
    """Return the vertices' normals at rest, faces counted by their area: players draw a mesh without black."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    across = np.cross(b - a, c - a)
    normals = np.zeros_like(mesh.vertices, dtype=np.float64)
    for k in range(3):
        np.add.at(normals, mesh.faces[:, k], across)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 0, normals / np.where(length > 0, length, 1.0), [0.0, 0.0, 1.0])


def _animation(motion: Motion, buffer: _Buffer) -> Json:
    times = buffer.add(_f32(motion.times_s), _FLOAT, limits=True)
    tracks = [
        (0, 'translation', _f32(motion.translation)),
        (0, 'scale', _f32(np.repeat(motion.scale[:, None], 3, 1))),
    ]
    quaternions = _steady(motion.quaternions_wxyz)
    tracks += [
        (j + 1, 'rotation', _f32(_xyzw(quaternions[:, j]))) for j in range(motion.quaternions_wxyz.shape[1])
    ]
    samplers, channels = [], []
    for node, what, values in tracks:
        samplers.append({'input': times, 'output': buffer.add(values, _FLOAT), 'interpolation': 'LINEAR'})
        channels.append({'sampler': len(samplers) - 1, 'target': {'node': node, 'path': what}})
    return {'name': 'motion', 'samplers': samplers, 'channels': channels}


def _influences(weights: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return joints and weights in sets of four, the heaviest first."""
    most = max(1, int((weights > 0).sum(1).max()))
    sets = -(-most // _PER_SET)
    order = np.argsort(-weights, axis=1, kind='stable')[:, : sets * _PER_SET]
    heavy = np.take_along_axis(weights, order, 1)
    heavy = heavy / heavy.sum(1, keepdims=True)
    # A model of fewer joints than a set has.
    short = sets * _PER_SET - order.shape[1]
    order, heavy = (np.pad(a, ((0, 0), (0, short))) for a in (np.where(heavy > 0, order, 0), heavy))
    return [
        (order[:, i : i + _PER_SET].astype(np.uint16), _f32(heavy[:, i : i + _PER_SET]))
        for i in range(0, sets * _PER_SET, _PER_SET)
    ]


def _steady(quaternions: np.ndarray) -> np.ndarray:
    """Choose of q and -q the one nearer to the frame before: players interpolate the numbers."""
    signs = np.sign((quaternions[1:] * quaternions[:-1]).sum(-1))
    signs = np.cumprod(np.where(signs == 0, 1.0, signs), 0)
    return np.concatenate((quaternions[:1], quaternions[1:] * signs[..., None]))


def _xyzw(quaternions: np.ndarray) -> np.ndarray:
    return quaternions[..., [1, 2, 3, 0]]


def _f32(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32)


def _glb(document: tuple[Json, bytes]) -> bytes:
    text, data = json.dumps(document[0], separators=(',', ':')).encode(), document[1]
    text += b' ' * (-len(text) % 4)
    data += b'\0' * (-len(data) % 4)
    total = 12 + 8 + len(text) + 8 + len(data)
    parts: Sequence[bytes] = (
        struct.pack('<III', 0x46546C67, 2, total),
        struct.pack('<II', len(text), 0x4E4F534A),
        text,
        struct.pack('<II', len(data), 0x004E4942),
        data,
    )
    return b''.join(parts)


def world_matrix(metres: float | None, up: str | None) -> np.ndarray | None:
    """Return what takes the world to glTF's: metres, and y up where it is known what points up."""
    if metres is None and up is None:
        return None
    rotation = np.eye(3)
    if up is not None:
        axis = 'xyz'.index(up[-1])
        # Of y, z, x: an even change of axes keeps right and left.
        rotation = np.eye(3)[[(axis + 2) % 3, axis, (axis + 1) % 3]]
        if up.startswith('-'):
            rotation = np.diag([-1.0, -1.0, 1.0]) @ rotation
    matrix = np.eye(4)
    matrix[:3, :3] = (metres or 1.0) * rotation
    return matrix
