"""Small rigs as glTF files, in the ways in which exporters write them."""

import json
import struct
from pathlib import Path

import numpy as np

FLOAT = 5126
CODES = {np.dtype(k): c for k, c in (('f4', FLOAT), ('u1', 5121), ('u2', 5123), ('i2', 5122), ('u4', 5125))}
TYPES = {1: 'SCALAR', 2: 'VEC2', 3: 'VEC3', 4: 'VEC4', 16: 'MAT4'}


class MadeGltf:
    """A document and one buffer, filled piece by piece."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.gltf: dict = {'asset': {'version': '2.0'}, 'bufferViews': [], 'accessors': []}

    def view(self, data: bytes, stride: int | None = None) -> int:
        self.gltf['bufferViews'].append(
            {'buffer': 0, 'byteOffset': len(self.data), 'byteLength': len(data)}
            | ({'byteStride': stride} if stride else {})
        )
        self.data += data + b'\0' * (-len(data) % 4)
        return len(self.gltf['bufferViews']) - 1

    def add(self, values: np.ndarray, kind: str = 'f4', normalized: bool = False, **more: object) -> int:
        """Add an array; a share of one is stored as a whole number where it is normalised."""
        values = np.asarray(values, float)
        values = values[:, None] if values.ndim == 1 else values.reshape(len(values), -1)
        values = values * np.iinfo(kind).max if normalized else values
        stored = (values.round() if kind[0] in 'iu' else values).astype(kind)
        entry = {'componentType': CODES[np.dtype(kind)], 'count': len(stored), 'type': TYPES[stored.shape[1]]}
        entry |= {'normalized': True} if normalized else {}
        if 'bufferView' not in more and 'sparse' not in more:
            # Vertex data is aligned to four bytes.
            padded = np.pad(stored.view('u1').reshape(len(stored), -1), ((0, 0), (0, -stored[0].nbytes % 4)))
            stride = padded.shape[1] if padded.shape[1] != stored[0].nbytes else None
            more['bufferView'] = self.view(padded.tobytes(), stride)
        self.gltf['accessors'].append(entry | more)
        return len(self.gltf['accessors']) - 1

    def interleaved(self, arrays: list[tuple[np.ndarray, str]]) -> list[int]:
        """Add several attributes row by row in one view."""
        rows = [np.ascontiguousarray(a).astype(k, order='C') for a, k in arrays]
        lines = np.concatenate([r.view('u1').reshape(len(r), -1) for r in rows], 1)
        view, start, result = self.view(lines.tobytes(), lines.shape[1]), 0, []
        for (values, kind), row in zip(arrays, rows):
            result.append(self.add(values, kind, bufferView=view, byteOffset=start))
            start += row[0].nbytes
        return result

    def sparse(self, values: np.ndarray) -> int:
        """Add an array of which only rows that are not zero are stored."""
        rows = np.flatnonzero(np.any(values != 0, 1))
        parts = {
            'count': len(rows),
            'indices': {'bufferView': self.view(rows.astype('u2').tobytes()), 'componentType': 5123},
            'values': {'bufferView': self.view(values[rows].astype('f4').tobytes())},
        }
        return self.add(values, sparse=parts)

    def animate(self, name: str, tracks: list[tuple[int, str, np.ndarray, np.ndarray, str]]) -> None:
        """Add a clip: node, path, times, values, interpolation."""
        samplers, channels = [], []
        for node, path, times, values, how in tracks:
            flat = values.ravel() if path == 'weights' else values.reshape(-1, values.shape[-1])
            samplers.append({'input': self.add(times), 'output': self.add(flat), 'interpolation': how})
            channels.append({'sampler': len(samplers) - 1, 'target': {'node': node, 'path': path}})
        clips = self.gltf.setdefault('animations', [])
        clips.append({'name': name, 'samplers': samplers, 'channels': channels})

    def write(self, path: Path, cut: int = 0) -> Path:
        """Write a .glb, or a .gltf with its buffer beside it; `cut` leaves bytes out at the end."""
        buffer = {'byteLength': len(self.data)}
        if path.suffix == '.gltf':
            path.with_suffix('.bin').write_bytes(bytes(self.data))
            self.gltf['buffers'] = [buffer | {'uri': path.with_suffix('.bin').name}]
            path.write_text(json.dumps(self.gltf), encoding='utf-8')
            return path
        self.gltf['buffers'] = [buffer]
        text = json.dumps(self.gltf).encode()
        text += b' ' * (-len(text) % 4)
        total = 28 + len(text) + len(self.data)
        head = struct.pack('<4sIIII', b'glTF', 2, total, len(text), 0x4E4F534A)
        whole = head + text + struct.pack('<II', len(self.data), 0x004E4942) + self.data
        path.write_bytes(whole[: len(whole) - cut])
        return path


def worm(rng: np.random.Generator, joints: int = 4, rings: int = 9) -> tuple[np.ndarray, ...]:
    """Make a tube along y about a chain of joints one apart: vertices, faces, slots (V, 4), weights (V, 4)."""
    height, rotation = np.meshgrid(np.linspace(0, joints, rings), np.arange(5) * 2 * np.pi / 5, indexing='ij')
    vertices = np.stack((0.4 * np.cos(rotation), height, 0.3 * np.sin(rotation)), -1).reshape(-1, 3)
    i = np.arange(rings * 5).reshape(rings, 5)
    a, b, c, d = (x.ravel() for x in (i[:-1], np.roll(i, -1, 1)[:-1], i[1:], np.roll(i, -1, 1)[1:]))
    faces = np.concatenate((np.stack((a, b, c), 1), np.stack((b, d, c), 1)))
    apart = np.abs(vertices[:, 1:2] - np.arange(joints) - 0.5) + 0.1 * rng.random((len(vertices), joints))
    slots = np.argsort(apart, 1)[:, :4]
    weights = np.exp(-3 * np.take_along_axis(apart, slots, 1))
    return vertices, faces, slots, weights / weights.sum(1, keepdims=True)


def turns(rng: np.random.Generator, count: int, size: float = 0.3) -> np.ndarray:
    """Draw quaternions (count, 4), x, y, z, w."""
    q = np.concatenate((size * rng.standard_normal((count, 3)), np.ones((count, 1))), 1)
    return q / np.linalg.norm(q, axis=1, keepdims=True)


def column_major(matrices: np.ndarray) -> np.ndarray:
    """Return matrices as glTF stores them."""
    return np.asarray(matrices).transpose(0, 2, 1).reshape(-1, 16)
