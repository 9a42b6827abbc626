"""A glTF file's own skinning, straight from its matrices: what an imported rig is held against.

Reads floats that lie one behind the other, as Blender writes them; nothing of the package is used.
"""

import base64
import json
import struct
from pathlib import Path

import numpy as np

WIDTH = {'SCALAR': 1, 'VEC2': 2, 'VEC3': 3, 'VEC4': 4, 'MAT4': 16}
KIND = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}


class Twin:
    """A file of one skinned mesh node: `skinned(clip, times)` gives its vertices in the world."""

    def __init__(self, path: Path) -> None:
        data, self.binary = path.read_bytes(), b''
        if data[:4] == b'glTF':
            length = struct.unpack_from('<I', data, 12)[0]
            self.binary = data[28 + length :]
            data = data[20 : 20 + length]
        self.gltf = json.loads(data)
        self.nodes = self.gltf['nodes']
        self.parent = {c: i for i, n in enumerate(self.nodes) for c in n.get('children', [])}
        node = next(n for n in self.nodes if 'skin' in n)
        self.skin = self.gltf['skins'][node['skin']]
        parts = [p['attributes'] for p in self.gltf['meshes'][node['mesh']]['primitives']]
        self.vertices = np.concatenate([self.array(p['POSITION']) for p in parts]).astype(float)
        self.slots = np.concatenate([self.array(p['JOINTS_0']) for p in parts])
        weights = np.concatenate([self.array(p['WEIGHTS_0']) for p in parts]).astype(float)
        self.weights = weights / weights.sum(1, keepdims=True)

    def array(self, index: int) -> np.ndarray:
        accessor = self.gltf['accessors'][index]
        view = self.gltf['bufferViews'][accessor['bufferView']]
        buffer = self.gltf['buffers'][view['buffer']]
        data = base64.b64decode(buffer['uri'].split(',')[1]) if 'uri' in buffer else self.binary
        kind, width = np.dtype(KIND[accessor['componentType']]), WIDTH[accessor['type']]
        start, step = view.get('byteOffset', 0) + accessor.get('byteOffset', 0), view.get('byteStride', 0)
        step = step or width * kind.itemsize
        rows = [np.frombuffer(data, kind, width, start + i * step) for i in range(accessor['count'])]
        return np.array(rows)[:, 0] if width == 1 else np.array(rows)

    def times(self, clip: int) -> np.ndarray:
        """Give the key times of all that the clip moves."""
        samplers = self.gltf['animations'][clip]['samplers']
        return np.unique(np.concatenate([self.array(s['input']) for s in samplers])).astype(float)

    def skinned(self, clip: int, time: float) -> np.ndarray:
        """Give the vertices at a time, as the specification says: `sum_j w_j W_j B_j x`."""
        animation = self.gltf['animations'][clip]
        values = {}
        for channel in animation['channels']:
            sampler, target = animation['samplers'][channel['sampler']], channel['target']
            values[target['node'], target['path']] = self.sampled(sampler, time, target['path'])
        bind = self.array(self.skin['inverseBindMatrices']).reshape(-1, 4, 4).transpose(0, 2, 1).astype(float)
        maps = np.array([self.world(j, values) @ b for j, b in zip(self.skin['joints'], bind)])
        one = np.concatenate((self.vertices, np.ones((len(self.vertices), 1))), 1)
        return np.einsum('vk,vkab,vb->va', self.weights, maps[self.slots], one)[:, :3]

    def sampled(self, sampler: dict, time: float, path: str) -> np.ndarray:
        times, values = (self.array(sampler[k]).astype(float) for k in ('input', 'output'))
        k = int(np.searchsorted(times, time, 'right')) - 1
        if k < 0 or k == len(times) - 1 or sampler.get('interpolation') == 'STEP':
            return values[max(k, 0)]
        share = (time - times[k]) / (times[k + 1] - times[k])
        a, b = values[k], values[k + 1]
        if path != 'rotation':
            return a + share * (b - a)
        cosine = a @ b
        b, cosine = (-b, -cosine) if cosine < 0 else (b, cosine)
        if cosine > 1 - 1e-12:
            return a
        angle = np.arccos(cosine)
        return (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle)

    def world(self, node: int, values: dict) -> np.ndarray:
        entry, local = self.nodes[node], np.eye(4)
        moves = any((node, path) in values for path in ('translation', 'rotation', 'scale'))
        if 'matrix' in entry and not moves:
            local = np.array(entry['matrix']).reshape(4, 4).T
        else:
            x, y, z, w = q = np.array(
                values.get((node, 'rotation'), entry.get('rotation', (0, 0, 0, 1))), float
            )
            x, y, z, w = q / np.linalg.norm(q)
            turn = np.array(
                [[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                 [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                 [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]]
            )  # fmt: skip
            local[:3, :3] = turn * np.array(values.get((node, 'scale'), entry.get('scale', (1, 1, 1))), float)
            local[:3, 3] = values.get((node, 'translation'), entry.get('translation', (0, 0, 0)))
        return local if node not in self.parent else self.world(self.parent[node], values) @ local
