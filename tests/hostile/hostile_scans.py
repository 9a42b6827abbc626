"""Small scans, MuJoCo models and landmarks that would stop the machine, for the commands that read them."""

import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.hostile.bombs import Bomb
from tests.hostile.hostile_mjcf import each, mjcf_bombs

_CONFIG = """
type = 'MeshRegistrant'
n_starts = 1
per_part = 8
scan_points = 400
stages = [dict(sigma=0.04, n_iter=2, ftol=0.1)]
deformation = []
"""
_GIB = 1 << 30
# What may be read, as long as it costs little.
_READ = (
    'tree_of_twos.glb', 'loop.glb', 'picture.glb', 'materials.obj', 'huge.obj', 'columns.obj', 'digits.obj',
)  # fmt: skip
_POINTS = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
_FACES = [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]


def bombs(folder: Path) -> dict[str, Bomb]:
    """Write the files into a folder, and give the command line that reads each."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'config.py').write_text(_CONFIG)
    (folder / 'template.obj').write_text(small_obj())
    result = {}
    for name, make in _scans().items():
        own = folder / name.replace('.', '_')
        own.mkdir(exist_ok=True)
        scan = own / name
        named = make(scan)
        if name in _READ:
            # What is told of a registration begins with the scan's name.
            result[f'scan {name}'] = Bomb(_register(folder, scan), Path(scan.stem), read=True)
        else:
            result[f'scan {name}'] = Bomb(_register(folder, scan), named or scan)
    # A template is read by the same reader.
    template = folder / 'template.glb'
    _million_numbers(template)
    line = [*_register(folder, folder / 'template.obj')]
    line[line.index('--body-model') + 1] = str(template)
    result['template.glb'] = Bomb(tuple(line), template)
    half = folder / 'half.smil.json'
    half.write_text('{"format": "smil", "format_version": 1, "name": "\\ud800"}')
    result['name of half a character'] = Bomb(('model', 'info', str(half)), half)
    return result | mjcf_bombs(folder / 'mjcf')


def small_obj() -> str:
    """Make a ball of few triangles as text."""
    ring = [(np.cos(a), np.sin(a)) for a in np.arange(8) * np.pi / 4]
    rows = [(0.0, 0.0, -1.5), *((r * x, r * y, z) for z, r in ((-0.7, 0.8), (0.7, 0.8)) for x, y in ring)]
    rows.append((0.0, 0.0, 1.5))
    faces = []
    for k in range(8):
        a, b = 1 + k, 1 + (k + 1) % 8
        faces += [(0, b, a), (a, b, b + 8), (a, b + 8, a + 8), (17, a + 8, b + 8)]
    text = ''.join(f'v {x:.4f} {y:.4f} {z:.4f}\n' for x, y, z in rows)
    return text + ''.join(f'f {a + 1} {b + 1} {c + 1}\n' for a, b, c in faces)


def glb(document: dict[str, Any], data: bytes = b'', announced: int | None = None) -> bytes:
    """Pack a document and its buffer; `announced` is what the buffer's chunk says that it holds."""
    document.setdefault('asset', {'version': '2.0'})
    text = json.dumps(document).encode()
    text += b' ' * (-len(text) % 4)
    data += b'\0' * (-len(data) % 4)
    chunk = struct.pack('<I4s', len(data) if announced is None else announced, b'BIN\0') + data
    whole = struct.pack('<I4s', len(text), b'JSON') + text + chunk
    return struct.pack('<4sII', b'glTF', 2, 12 + len(whole)) + whole


def mesh_document(n: int = 4, **more: Any) -> tuple[dict[str, Any], bytes]:
    """Make a document of one mesh, a fan of n points, and its buffer."""
    rotation = np.arange(n) * 2 * np.pi / n
    points = np.stack((np.cos(rotation), np.sin(rotation), np.sin(3 * rotation)), 1).astype('<f4').tobytes()
    corners = np.array([[0, k, k + 1] for k in range(1, n - 1)], '<u4').tobytes()
    document = {
        'buffers': [{'byteLength': len(points) + len(corners)}],
        'bufferViews': [
            {'buffer': 0, 'byteLength': len(points)},
            {'buffer': 0, 'byteOffset': len(points), 'byteLength': len(corners)},
        ],
        'accessors': [
            {'bufferView': 0, 'componentType': 5126, 'count': n, 'type': 'VEC3'},
            {'bufferView': 1, 'componentType': 5125, 'count': 3 * (n - 2), 'type': 'SCALAR'},
        ],
        'meshes': [{'primitives': [{'attributes': {'POSITION': 0}, 'indices': 1}]}],
        'nodes': [{'mesh': 0}],
        'scenes': [{'nodes': [0]}],
        'scene': 0,
    }
    return document | more, points + corners


def _register(folder: Path, scan: Path) -> tuple[str, ...]:
    return (
        'register', str(folder / 'config.py'), '--scans', str(scan), '--out', '{out}', '--body-model',
        str(folder / 'template.obj'), '--no-progress',
    )  # fmt: skip


def _scans() -> dict[str, Callable[[Path], Path | None]]:
    """Return what writes each scan; it may give another file that is to be named."""
    return {
        'million_numbers.glb': _million_numbers,
        'sparse_numbers.glb': _sparse_numbers,
        'many_nodes.glb': lambda p: _nodes(p, [{'mesh': 0}] * 20_000, list(range(20_000)), 1000),
        'chain.glb': lambda p: _nodes(p, [{'mesh': 0, 'children': [k + 1]} for k in range(50_000)] + [{}], [0]),
        'tree_of_twos.glb': lambda p: _nodes(
            p, [{'children': [k + 1, k + 1]} for k in range(60)] + [{'mesh': 0}], [0]
        ),
        'loop.glb': lambda p: _nodes(p, [{'mesh': 0, 'children': [1]}, {'children': [0]}], [0]),
        'many_primitives.glb': _many_primitives,
        'strips.glb': _strips,
        'outside.glb': lambda p: _buffer_elsewhere(p, '../../../../../../dev/zero'),
        'beside.glb': _buffers_of_holes,
        'picture.glb': _picture,
        'chunk.glb': lambda p: _write(p, glb(*mesh_document(), announced=0xFFFFFFF0)),
        'nested.glb': lambda p: _write(p, _json_glb(b'[' * 1_000_000)),
        'archive.glb': lambda p: _archive(p),
        'list_of_all.ply': lambda p: _ply(p, 'list uint int', struct.pack('<I3i', 0xFFFFFFFF, 0, 1, 2)),
        'list_of_double.ply': lambda p: _ply(p, 'list double int', struct.pack('<d3i', 1e300, 0, 1, 2)),
        'vertices.ply': lambda p: _ply(p, 'list uchar int', b'', n_vertices=10**12),
        'text.ply': lambda p: _ply(p, 'list uchar int', b'3 0 1 2\n', form='ascii', n_vertices=10**9),
        'header.ply': lambda p: _write(
            p, b'ply\nformat ascii 1.0\n' + b'element vertex 1\nproperty float x\n' * 120_000
        ),
        'properties.ply': _many_properties,
        'polygon.ply': _large_polygon,
        'endless_header.ply': lambda p: _write(p, b'ply\n' + b'comment no end\n' * 300_000),
        'header.off': lambda p: _write(p, b'OFF\n1000000000 1000000000 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n'),
        'polygon.off': lambda p: _write(p, b'OFF\n4 1 0\n' + _rows() + b'2000000 ' + b'0 1 2 3 ' * 500_000),
        'ragged.off': lambda p: _write(p, b'OFF\n4 200000 0\n' + _rows() + _ragged()),
        'header.stl': lambda p: _write(p, b'\0' * 80 + struct.pack('<I', 1_000_000_000) + b'\0' * 50),
        'loose.stl': _loose_triangles,
        'solids.stl': lambda p: _write(p, each(f'solid s#\n{_FACET}endsolid\n', 15_000).encode()),
        'holes.stl': lambda p: _holes(p, 100 * _GIB),
        'two_gib.stl': lambda p: _holes(p, 2 * _GIB - 1),
        'materials.obj': lambda p: _write(p, b'mtllib ../../../../../../dev/zero\n' * 10_000 + small_obj().encode()),
        'groups.obj': lambda p: _write(
            p, each('o g#\nusemtl m#\nv 0 0 #\nv 1 0 0\nv 0 1 0\nf -1 -2 -3\n', 40_000).encode()
        ),
        'polygon.obj': lambda p: _write(p, _obj_rows() + b'f ' + b'1 2 3 4 ' * 500_000),
        'polygons.obj': lambda p: _write(
            p, _obj_rows() + b''.join(b'f %s\n' % (b'1 2 3 4 ' * k)[: 2 * k] for k in range(3, 1400))
        ),
        'numbers.obj': lambda p: _write(
            p, _obj_rows() + b'f 1 2 999999999999999999999\nf -9223372036854775808 1 2\n'
        ),
        'large_number.obj': lambda p: _write(p, _obj_rows() + b'f 1 2 2000000000\n'),
        'huge.obj': lambda p: _write(p, small_obj().replace('1.5', '1e308').encode()),
        'columns.obj': lambda p: _write(p, b'v ' + b'1 ' * 2_000_000 + b'\n' + _obj_rows() + b'f 1 2 3\n'),
        'digits.obj': lambda p: _write(p, _obj_rows() + b'v ' + b'9' * 4_000_000 + b' 0 0\nf 1 2 3\n'),
        'corners.obj': lambda p: _write(p, _obj_rows() + b'f 1/1/1 2/2/2 3/3/3\nf 1 2 3\n' * 100_000),
        'landmarks.obj': _landmarks,
    }  # fmt: skip


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _holes(path: Path, n_bytes: int) -> None:
    with path.open('wb') as file:
        file.truncate(n_bytes)


def _million_numbers(path: Path) -> None:
    document, data = mesh_document()
    document['accessors'][0] = {'componentType': 5126, 'count': 1_000_000_000, 'type': 'VEC3'}
    _write(path, glb(document, data))


def _sparse_numbers(path: Path) -> None:
    document, data = mesh_document()
    sparse = {
        'count': 1,
        'indices': {'bufferView': 1, 'componentType': 5125},
        'values': {'bufferView': 0},
    }
    document['accessors'][0] = {
        'componentType': 5126, 'count': 400_000_000, 'type': 'VEC3', 'sparse': sparse,
    }  # fmt: skip
    _write(path, glb(document, data))


def _nodes(path: Path, nodes: list[dict[str, Any]], roots: list[int], n_points: int = 4) -> None:
    document, data = mesh_document(n_points, nodes=nodes, scenes=[{'nodes': roots}])
    _write(path, glb(document, data))


def _many_primitives(path: Path) -> None:
    document, data = mesh_document(1000)
    document['meshes'] = [{'primitives': document['meshes'][0]['primitives'] * 20_000}]
    _write(path, glb(document, data))


def _strips(path: Path) -> None:
    document, data = mesh_document()
    document['accessors'][1] = {'componentType': 5121, 'count': 400_000_000, 'type': 'SCALAR'}
    document['meshes'][0]['primitives'][0]['mode'] = 5
    _write(path, glb(document, data))


def _buffer_elsewhere(path: Path, uri: str) -> None:
    document, data = mesh_document()
    document['buffers'] = [{'uri': uri, 'byteLength': len(data)}]
    _write(path, glb(document))


def _buffers_of_holes(path: Path) -> None:
    _holes(path.parent / 'holes.bin', _GIB)
    document, _ = mesh_document()
    document['buffers'] = [{'uri': 'holes.bin', 'byteLength': _GIB}] * 8
    _write(path, glb(document))


def _picture(path: Path) -> None:
    document, data = mesh_document()
    document['images'] = [{'uri': '../../../../../../dev/zero'}]
    document['textures'] = [{'source': 0}]
    document['materials'] = [{'pbrMetallicRoughness': {'baseColorTexture': {'index': 0}}}]
    document['meshes'][0]['primitives'][0]['material'] = 0
    _write(path, glb(document, data))


def _json_glb(text: bytes) -> bytes:
    whole = struct.pack('<I4s', len(text), b'JSON') + text
    return struct.pack('<4sII', b'glTF', 2, 12 + len(whole)) + whole


def _archive(path: Path) -> None:
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
        file.writestr('a.obj', b'v 0 0 0\n' * 20_000_000)


def _ply(path: Path, kind: str, face: bytes, form: str = 'binary_little_endian', n_vertices: int = 4) -> None:
    header = f'ply\nformat {form} 1.0\nelement vertex {n_vertices}\n'
    header += ''.join(f'property float {axis}\n' for axis in 'xyz')
    header += f'element face 1\nproperty {kind} vertex_indices\nend_header\n'
    rows = _rows() if form == 'ascii' else np.array(_POINTS, '<f4').tobytes()
    _write(path, header.encode() + rows + face)


def _many_properties(path: Path) -> None:
    header = 'ply\nformat binary_little_endian 1.0\nelement vertex 4\n'
    header += ''.join(f'property double p{k}\n' for k in range(100_000))
    _write(path, f'{header}end_header\n'.encode())


def _large_polygon(path: Path) -> None:
    n = 500_000
    corners = np.arange(n, dtype='<i4') % 4
    _ply(path, 'list uint int', struct.pack('<I', n) + corners.tobytes())


def _rows() -> bytes:
    return ''.join('{} {} {}\n'.format(*row) for row in _POINTS).encode()


def _obj_rows() -> bytes:
    return ''.join('v {} {} {}\n'.format(*row) for row in _POINTS).encode()


def _ragged() -> bytes:
    return b'3 0 1 2\n4 0 1 2 3\n' * 100_000


_FACET = 'facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n'


def _loose_triangles(path: Path) -> None:
    """100,000 triangles, none of which touches another."""
    rng = np.random.default_rng(0)
    record = np.zeros(100_000, [('normal', '<f4', 3), ('corners', '<f4', 9), ('more', '<u2')])
    record['corners'] = rng.random((100_000, 9))
    _write(path, b'\0' * 80 + struct.pack('<I', len(record)) + record.tobytes())


def _landmarks(path: Path) -> Path:
    path.write_text(small_obj())
    beside = path.with_name('landmarks.landmarks.json')
    beside.write_text('{"a": [' + ','.join(['[]'] * 5_000_000) + ']}')
    return beside
