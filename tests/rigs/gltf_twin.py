"""A glTF file's own skinning, straight from its matrices: what an imported rig is held against.

Read value by value, as the specification says; nothing of the package is used.
"""

import base64
import json
import struct
from pathlib import Path

import numpy as np

WIDTH = {'SCALAR': 1, 'VEC2': 2, 'VEC3': 3, 'VEC4': 4, 'MAT4': 16}
KIND = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
REST = {'translation': (0, 0, 0), 'rotation': (0, 0, 0, 1), 'scale': (1, 1, 1)}


class Twin:
    """A file's skinned meshes: `skinned(clip, time)` gives their vertices in the world, one mesh behind the other."""

    def __init__(self, path: Path) -> None:
        data, self.binary = path.read_bytes(), b''
        if data[:4] == b'glTF':
            length = struct.unpack_from('<I', data, 12)[0]
            self.binary = data[28 + length :]
            data = data[20 : 20 + length]
        self.folder, self.gltf = path.parent, json.loads(data)
        self.nodes = self.gltf['nodes']
        self.parent = {c: i for i, n in enumerate(self.nodes) for c in n.get('children', [])}
        self.parts = [
            (i, n['skin'], p)
            for i, n in enumerate(self.nodes)
            if 'skin' in n
            for p in self.gltf['meshes'][n['mesh']]['primitives']
        ]
        # Meshes without a skin that hang on a joint.
        joints = {joint for skin in self.gltf['skins'] for joint in skin['joints']}
        self.stiff = [
            (i, p)
            for i, n in enumerate(self.nodes)
            if 'mesh' in n and 'skin' not in n and self.above(i) & joints
            for p in self.gltf['meshes'][n['mesh']]['primitives']
        ]
        self._read: dict[int, np.ndarray] = {}

    def array(self, index: int, shares: bool = False) -> np.ndarray:
        if (index, shares) in self._read:
            return self._read[index, shares]
        accessor = self.gltf['accessors'][index]
        kind, width = np.dtype(KIND[accessor['componentType']]), WIDTH[accessor['type']]
        rows = np.zeros((accessor['count'], width), kind)
        if 'bufferView' in accessor:
            rows = self._rows(accessor['bufferView'], accessor.get('byteOffset', 0), kind, width, len(rows))
        if 'sparse' in accessor:
            places, values = accessor['sparse']['indices'], accessor['sparse']['values']
            count = accessor['sparse']['count']
            at = self._rows(places['bufferView'], 0, np.dtype(KIND[places['componentType']]), 1, count)[:, 0]
            rows = rows.copy()
            rows[at] = self._rows(values['bufferView'], 0, kind, width, count)
        if kind.kind in 'iu' and (shares or accessor.get('normalized')):
            rows = rows / np.iinfo(kind).max
        self._read[index, shares] = rows[:, 0] if width == 1 else rows
        return self._read[index, shares]

    def _rows(self, view: int, start: int, kind: np.dtype, width: int, count: int) -> np.ndarray:
        entry = self.gltf['bufferViews'][view]
        uri = self.gltf['buffers'][entry['buffer']].get('uri')
        data = self.binary
        if uri is not None:
            inline = uri.startswith('data:')
            data = base64.b64decode(uri.split(',')[1]) if inline else (self.folder / uri).read_bytes()
        start, step = start + entry.get('byteOffset', 0), entry.get('byteStride') or width * kind.itemsize
        return np.array([np.frombuffer(data, kind, width, start + i * step) for i in range(count)])

    def times(self, clip: int) -> np.ndarray:
        """Return the key times of all that the clip moves."""
        samplers = self.gltf['animations'][clip]['samplers']
        return np.unique(np.concatenate([self.array(s['input']) for s in samplers])).astype(float)

    def skinned(self, clip: int, time: float) -> np.ndarray:
        """Return the vertices at a time, as the specification says: `sum_j w_j W_j B_j x`."""
        animation = self.gltf['animations'][clip]
        values = {}
        for channel in animation['channels']:
            sampler, target = animation['samplers'][channel['sampler']], channel['target']
            values[target['node'], target['path']] = self.sampled(sampler, time, target['path'])
        result = [self.moved(node, skin, part, values) for node, skin, part in self.parts]
        for node, part in self.stiff:
            world, x = self.world(node, values), self.array(part['attributes']['POSITION'])
            result.append(x @ world[:3, :3].T + world[:3, 3])
        return np.concatenate(result)

    def above(self, node: int) -> set[int]:
        return {node} | (self.above(self.parent[node]) if node in self.parent else set())

    def moved(self, node: int, skin: int, part: dict, values: dict) -> np.ndarray:
        attributes, skin = part['attributes'], self.gltf['skins'][skin]
        x = self.array(attributes['POSITION']).astype(float)
        for target, weight in zip(part.get('targets', []), values.get((node, 'weights'), [])):
            x = x + weight * self.array(target['POSITION'])
        sets = [i for i in range(9) if f'JOINTS_{i}' in attributes]
        slots = np.concatenate([self.array(attributes[f'JOINTS_{i}']) for i in sets], 1)
        weights = np.concatenate([self.array(attributes[f'WEIGHTS_{i}'], True) for i in sets], 1).astype(
            float
        )
        bind = np.tile(np.eye(4), (len(skin['joints']), 1, 1))
        if 'inverseBindMatrices' in skin:
            stored = self.array(skin['inverseBindMatrices']).astype(float)
            bind = stored.reshape(-1, 4, 4).transpose(0, 2, 1)
        maps = np.array([self.world(j, values) @ b for j, b in zip(skin['joints'], bind)])
        one = np.concatenate((x, np.ones((len(x), 1))), 1)
        weights = weights / weights.sum(1, keepdims=True)
        return np.einsum('vk,vkab,vb->va', weights, maps[slots], one)[:, :3]

    def sampled(self, sampler: dict, time: float, path: str) -> np.ndarray:
        times, values = (self.array(sampler[k]).astype(float) for k in ('input', 'output'))
        how = sampler.get('interpolation', 'LINEAR')
        if path == 'rotation' and how != 'CUBICSPLINE':
            # Whole numbers are of unit length up to rounding only.
            values = values / np.linalg.norm(values, axis=1, keepdims=True)
        values = values.reshape(len(times), *((3,) if how == 'CUBICSPLINE' else ()), -1)
        k = int(np.searchsorted(times, time, 'right')) - 1
        if k < 0 or k == len(times) - 1 or how == 'STEP':
            value = values[max(k, 0)]
            return value[1] if how == 'CUBICSPLINE' else value
        step = times[k + 1] - times[k]
        t = (time - times[k]) / step
        a, b = values[k], values[k + 1]
        if how == 'CUBICSPLINE':
            hermite = (
                2 * t**3 - 3 * t**2 + 1,
                step * (t**3 - 2 * t**2 + t),
                3 * t**2 - 2 * t**3,
                step * (t**3 - t**2),
            )
            return hermite[0] * a[1] + hermite[1] * a[2] + hermite[2] * b[1] + hermite[3] * b[0]
        if path != 'rotation':
            return a + t * (b - a)
        cosine = a @ b
        b, cosine = (-b, -cosine) if cosine < 0 else (b, cosine)
        if cosine > 1 - 1e-12:
            return a
        angle = np.arccos(cosine)
        return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)

    def world(self, node: int, values: dict) -> np.ndarray:
        entry, local = self.nodes[node], np.eye(4)
        if 'matrix' in entry:
            local = np.array(entry['matrix'], float).reshape(4, 4).T
        else:
            result = {
                k: np.array(values.get((node, k), entry.get(k, rest)), float) for k, rest in REST.items()
            }
            x, y, z, w = result['rotation'] / np.linalg.norm(result['rotation'])
            rotation = np.array(
                [[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                 [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                 [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]]
            )  # fmt: skip
            local[:3, :3], local[:3, 3] = rotation * result['scale'], result['translation']
        return local if node not in self.parent else self.world(self.parent[node], values) @ local
