"""A reader and player of .glb files by the letter of the specification, for tests of the writer."""

import json
import struct

import numpy as np

NUMPY = {5126: np.float32, 5123: np.uint16, 5125: np.uint32}
WIDTH = {'SCALAR': 1, 'VEC3': 3, 'VEC4': 4, 'MAT4': 16}


def read_glb(path):
    data = path.read_bytes()
    magic, version, total = struct.unpack('<III', data[:12])
    assert (magic, version, total) == (0x46546C67, 2, len(data))
    size = struct.unpack('<I', data[12:16])[0]
    document = json.loads(data[20 : 20 + size])
    buffer = data[28 + size :]

    def array(number):
        accessor = document['accessors'][number]
        view = document['bufferViews'][accessor['bufferView']]
        kind, width = NUMPY[accessor['componentType']], WIDTH[accessor['type']]
        result = np.frombuffer(buffer, kind, accessor['count'] * width, view['byteOffset'])
        return result.reshape(accessor['count'], width)

    return document, array


def _rotation(xyzw):
    x, y, z, w = xyzw / np.linalg.norm(xyzw)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def node_matrices(document, array, key):
    """Return every node's matrix to the scene at a key, as the specification says, with no code of ours."""
    nodes = [dict(node) for node in document['nodes']]
    (animation,) = document['animations']
    for channel in animation['channels']:
        sampler = animation['samplers'][channel['sampler']]
        nodes[channel['target']['node']][channel['target']['path']] = array(sampler['output'])[key]

    def local(node):
        if 'matrix' in node:
            return np.reshape(node['matrix'], (4, 4)).T
        matrix = np.eye(4)
        rotation = _rotation(np.asarray(node['rotation'], float)) if 'rotation' in node else np.eye(3)
        matrix[:3, :3] = rotation @ np.diag(node.get('scale', [1, 1, 1]))
        matrix[:3, 3] = node.get('translation', [0, 0, 0])
        return matrix

    world = {}

    def walk(number, above):
        world[number] = above @ local(nodes[number])
        for child in nodes[number].get('children', ()):
            walk(child, world[number])

    for root in document['scenes'][0]['nodes']:
        walk(root, np.eye(4))
    return world


def posed_by_the_specification(document, array, key):
    """Pose the skin at a key, as the specification says, with no code of ours."""
    world = node_matrices(document, array, key)
    (skin,) = document['skins']
    bind = array(skin['inverseBindMatrices']).reshape(-1, 4, 4).transpose(0, 2, 1)
    maps = np.stack([world[joint] for joint in skin['joints']]) @ bind
    attributes = document['meshes'][0]['primitives'][0]['attributes']
    rest = array(attributes['POSITION'])
    rest = np.concatenate((rest, np.ones((len(rest), 1))), 1)
    posed = np.zeros((len(rest), 4))
    for i in range(sum(name.startswith('JOINTS') for name in attributes)):
        joints, weights = array(attributes[f'JOINTS_{i}']), array(attributes[f'WEIGHTS_{i}'])
        posed += np.einsum('vk,vkij,vj->vi', weights, maps[joints.astype(int)], rest)
    return posed[:, :3]
