"""glTF files of little that would fill the memory or never end: chains, copies, clips of years, buffers of others."""

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile.bombs import Bomb

_F32, _U16, _U8 = 5126, 5123, 5121


class Made:
    """A document to which arrays are added.

    It begins as a triangle on a skin of two joints.
    """

    def __init__(self) -> None:
        self.data = b''
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], '<f4')
        attributes = {
            'POSITION': self.array(corners, 'VEC3', _F32),
            'JOINTS_0': self.array(np.zeros((4, 4), 'u1'), 'VEC4', _U8),
            'WEIGHTS_0': self.array(np.tile(np.array([1, 0, 0, 0], '<f4'), (4, 1)), 'VEC4', _F32),
        }
        faces = self.array(np.array([0, 1, 2, 0, 2, 3], '<u2'), 'SCALAR', _U16)
        self.document: dict[str, Any] = {
            'asset': {'version': '2.0'},
            'meshes': [{'primitives': [{'attributes': attributes, 'indices': faces}]}],
            'nodes': [{'mesh': 0, 'skin': 0}, {'children': [2]}, {}],
            'skins': [{'joints': [1, 2]}],
        }

    def array(self, values: np.ndarray, kind: str, code: int) -> int:
        """Add an array; gives the number of its accessor."""
        self.views.append({'buffer': 0, 'byteOffset': len(self.data), 'byteLength': values.nbytes})
        self.data += values.tobytes() + bytes(-values.nbytes % 4)
        return self.accessor(bufferView=len(self.views) - 1, componentType=code, count=len(values), type=kind)

    def accessor(self, **entry: Any) -> int:
        """Add an accessor as it stands."""
        self.accessors.append(entry)
        return len(self.accessors) - 1

    def moved(self, times: np.ndarray, channels: int = 1) -> None:
        """Let the second joint shift at times, s, by one or more channels that share their keys."""
        keys = self.array(times.astype('<f4'), 'SCALAR', _F32)
        values = self.accessor(componentType=_F32, count=len(times), type='VEC3')
        sampler = {'input': keys, 'output': values}
        channel = {'sampler': 0, 'target': {'node': 2, 'path': 'translation'}}
        self.document['animations'] = [
            {'name': 'walk', 'samplers': [sampler], 'channels': [channel] * channels}
        ]

    def glb(self) -> bytes:
        """Return the file."""
        whole = {
            'buffers': [{'byteLength': len(self.data)}],
            'bufferViews': self.views,
            'accessors': self.accessors,
        }
        text = json.dumps(self.document | {k: v for k, v in whole.items() if k not in self.document}).encode()
        return binary(text, self.data)


def binary(text: bytes, data: bytes = b'') -> bytes:
    """Put JSON and a buffer into one file."""
    text += b' ' * (-len(text) % 4)
    chunks = (
        struct.pack('<II', len(text), 0x4E4F534A) + text + struct.pack('<II', len(data), 0x004E4942) + data
    )
    return b'glTF' + struct.pack('<II', 2, 12 + len(chunks)) + chunks


def chain(nodes: int, joints: int) -> bytes:
    """Return a rig whose nodes hang on each other, the first of which are joints."""
    made = Made()
    extra = [{'children': [3 + k + 1]} for k in range(nodes - 1)] + [{}]
    made.document['nodes'] = [{'mesh': 0, 'skin': 0}, {'children': [2]}, {'children': [3]}, *extra]
    made.document['skins'] = [{'joints': [1, 2, *range(3, 3 + joints)]}]
    return made.glb()


def _copies(count: int, **shown: int) -> bytes:
    made = Made()
    made.document['nodes'] += [{'mesh': 0, **shown}] * count
    if not shown:
        made.document['nodes'][2] = {'children': list(range(3, 3 + count))}
    return made.glb()


def _large_copies(count: int) -> bytes:
    made = Made()
    n = 3000
    draw = np.random.default_rng(0)
    made.document['meshes'][0]['primitives'][0] = {
        'attributes': {
            'POSITION': made.array(draw.random((n, 3)).astype('<f4'), 'VEC3', _F32),
            'JOINTS_0': made.array(np.zeros((n, 4), 'u1'), 'VEC4', _U8),
            'WEIGHTS_0': made.array(np.tile(np.array([1, 0, 0, 0], '<f4'), (n, 1)), 'VEC4', _F32),
        },
        'indices': made.array(np.arange(n, dtype='<u2'), 'SCALAR', _U16),
    }
    made.document['nodes'] += [{'mesh': 0, 'skin': 0, 'translation': [k, 0, 0]} for k in range(count)]
    return made.glb()


def _clip(times: np.ndarray, channels: int = 1) -> bytes:
    made = Made()
    made.moved(times, channels)
    return made.glb()


def _clips(count: int) -> bytes:
    made = Made()
    made.moved(np.arange(1000.0))
    made.document['animations'] *= count
    return made.glb()


def _accessor(count: int, name: str = 'POSITION') -> bytes:
    made = Made()
    number = made.accessor(componentType=_F32, count=count, type='VEC3')
    made.document['meshes'][0]['primitives'][0]['attributes'][name] = number
    return made.glb()


def _targets(count: int) -> bytes:
    made = Made()
    vertices = made.accessor(componentType=_F32, count=60_000, type='VEC3')
    weights = made.accessor(componentType=_F32, count=60_000, type='VEC4')
    slots = made.accessor(componentType=_U8, count=60_000, type='VEC4')
    attributes = {'POSITION': vertices, 'JOINTS_0': slots, 'WEIGHTS_0': weights}
    primitive = made.document['meshes'][0]['primitives'][0]
    made.document['meshes'][0]['primitives'].append(
        {
            'attributes': attributes,
            'indices': primitive['indices'],
            'targets': [{'POSITION': vertices}] * count,
        }
    )
    return made.glb()


def _primitives(count: int) -> bytes:
    made = Made()
    primitives = made.document['meshes'][0]['primitives']
    made.document['meshes'][0]['primitives'] = primitives * count
    return made.glb()


def _skins(count: int) -> bytes:
    made = Made()
    made.document['skins'] *= count
    made.document['nodes'] += [{'mesh': 0, 'skin': k} for k in range(count)]
    return made.glb()


def _unused_skins(count: int) -> bytes:
    made = Made()
    nodes = made.document['nodes']
    for _ in range(count):
        nodes += [{'children': [len(nodes) + 1]}, {'mesh': 0}]
        made.document['skins'].append({'joints': [len(nodes) - 2]})
    return made.glb()


def _sparse(count: int) -> bytes:
    made = Made()
    part = {'bufferView': 0, 'componentType': _U16}
    sparse = {'count': count, 'indices': part, 'values': {'bufferView': 0}}
    number = made.accessor(componentType=_F32, count=1 << 27, type='VEC3', sparse=sparse)
    made.document['meshes'][0]['primitives'][0]['attributes']['POSITION'] = number
    return made.glb()


def _float_indices() -> bytes:
    made = Made()
    indices = made.array(np.zeros(1, '<f4'), 'SCALAR', _F32)
    values = made.array(np.zeros((1, 3), '<f4'), 'VEC3', _F32)
    views = [made.accessors[i]['bufferView'] for i in (indices, values)]
    made.accessors[0]['sparse'] = {
        'count': 1,
        'indices': {'bufferView': views[0], 'componentType': _F32},
        'values': {'bufferView': views[1]},
    }
    return made.glb()


def _children_of_two() -> bytes:
    made = Made()
    made.document['nodes'] = [{'mesh': 0, 'skin': 0, 'children': [k + 1]} for k in range(50_000)]
    made.document['nodes'][-1]['children'] = [0]
    return made.glb()


def _far() -> bytes:
    made = Made()
    corners = np.array([[0, 0, 0], [1e38, 0, 0], [0, 1e38, 0], [0, 0, 1e38]], '<f4')
    made.document['meshes'][0]['primitives'][0]['attributes']['POSITION'] = made.array(corners, 'VEC3', _F32)
    return made.glb()


FILES: dict[str, Callable[[], bytes]] = {
    'a chain of 100,000 nodes': lambda: chain(100_000, 0),
    'a chain of 5,000 joints': lambda: chain(5_000, 5_000),
    'a chain of 100,000 joints': lambda: chain(100_000, 100_000),
    '20,000 nodes of one skinned mesh': lambda: _copies(20_000, skin=0),
    '20,000 nodes of one mesh on a joint': lambda: _copies(20_000),
    '700 nodes of one mesh of 3,000 vertices': lambda: _large_copies(700),
    '95 nodes of one mesh of 3,000 vertices': lambda: _large_copies(95),
    'a loop of 50,000 nodes': _children_of_two,
    '5,000 skins of one mesh': lambda: _skins(5_000),
    '20,000 skins that no mesh uses': lambda: _unused_skins(20_000),
    'an accessor of 1e9 without a view': lambda: _accessor(1_000_000_000),
    'normals of 1e9 without a view': lambda: _accessor(1_000_000_000, 'NORMAL'),
    'weights of 2e7 without a view': lambda: _accessor(20_000_000, 'WEIGHTS_0'),
    'a sparse accessor of 2**27': lambda: _sparse(1),
    'a sparse accessor of 2**40 entries': lambda: _sparse(1 << 40),
    'indices of a sparse accessor as floats': _float_indices,
    '3,000 morph targets of 60,000 vertices': lambda: _targets(3_000),
    '50,000 primitives of one array': lambda: _primitives(50_000),
    'a clip of 1e9 s': lambda: _clip(np.array([0.0, 1e9])),
    'a clip of 1e38 s': lambda: _clip(np.array([0.0, 1e38])),
    'a clip of 200,000 keys': lambda: _clip(np.arange(200_000) / 100.0),
    'a clip of 20,000 channels': lambda: _clip(np.arange(5_000) / 100.0, 20_000),
    '20,000 clips of 1,000 keys': lambda: _clips(20_000),
    'coordinates of 1e38': _far,
    'JSON 100,000 deep': lambda: binary(b'{"asset":' + b'[' * 100_000 + b']' * 100_000 + b'}'),
    'JSON of 10,000,000 lists': lambda: binary(b'{"asset":[' + b'[],' * 10_000_000 + b'[]]}'),
    'JSON of 6,000,000 keys': lambda: binary(b'{"asset":{' + b'"a":1,' * 6_000_000 + b'"b":2}}'),
    'a number of 1,000,000 digits': lambda: binary(b'{"asset":' + b'9' * 1_000_000 + b'}'),
    'a name of 50 MB': lambda: binary(b'{"asset":{"version":"' + b'2' * 50_000_000 + b'"}}'),
}
# Those that may be read for little.
READ = {
    'a chain of 100,000 nodes', 'a chain of 5,000 joints', '20,000 nodes of one skinned mesh',
    '20,000 nodes of one mesh on a joint', '5,000 skins of one mesh', '20,000 skins that no mesh uses',
    'normals of 1e9 without a view', '50,000 primitives of one array', 'a clip of 200,000 keys',
    'a clip of 20,000 channels', '95 nodes of one mesh of 3,000 vertices', 'a name of 50 MB',
    'a chain of 100,000 joints',
}  # fmt: skip


def bombs(folder: Path) -> dict[str, Bomb]:
    """Write the files, and give the command lines that read them."""
    result = {}
    for i, (title, make) in enumerate(FILES.items()):
        file = folder / f'rig_{i}.glb'
        file.write_bytes(make())
        line = ('model', 'import', str(file), '{out}.smil.json')
        result[f'.glb: {title}'] = Bomb(line, file, title in READ)
        if title == 'coordinates of 1e38':
            result[f'.glb, checked: {title}'] = Bomb(('model', 'check', str(file)), file)
    for title, file in _with_buffers(folder).items():
        result[f'.gltf: {title}'] = Bomb(('model', 'import', str(file), '{out}.smil.json'), file)
    return result


def _with_buffers(folder: Path) -> dict[str, Path]:
    """Write files whose buffers lie outside: one sparse file, or the same base64 text, again and again."""
    with (folder / 'large.bin').open('wb') as file:
        file.truncate(1 << 30)
    text = base64.b64encode(bytes(1 << 20)).decode()
    kinds = {
        '8 buffers of one sparse 1 GiB file': [{'uri': 'large.bin', 'byteLength': 1 << 30}] * 8,
        '20 buffers that say they are large': [
            {'uri': f'data:application/octet-stream;base64,{text}', 'byteLength': 1 << 30}
        ]
        * 20,
    }
    result = {}
    for i, (title, buffers) in enumerate(kinds.items()):
        made = Made()
        names = (
            'POSITION',
            'NORMAL',
            'TEXCOORD_0',
            'JOINTS_0',
            'WEIGHTS_0',
            'JOINTS_1',
            'WEIGHTS_1',
            'COLOR_0',
        )
        made.views = [{'buffer': k, 'byteLength': 1 << 30} for k in range(len(buffers))]
        made.accessors = [
            {
                'bufferView': k,
                'componentType': _U8 if name.startswith('JOINTS') else _F32,
                'count': 1000,
                'type': 'VEC3' if name in ('POSITION', 'NORMAL') else 'VEC4',
            }
            for k, name in enumerate(names)
        ]
        primitive = {'attributes': {name: k for k, name in enumerate(names)}}
        made.document |= {'meshes': [{'primitives': [primitive]}], 'buffers': buffers}
        whole = made.document | {'bufferViews': made.views, 'accessors': made.accessors}
        result[title] = folder / f'outside_{i}.gltf'
        result[title].write_text(json.dumps(whole))
    return result
