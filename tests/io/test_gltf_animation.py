"""An animated glTF, read back and posed by its own rules, is the body."""

import json
import struct

import numpy as np
import pytest
import torch
import trimesh

from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_quat_wxyz
from smilfit.io.gltf_animation import Motion, SkinnedMesh, posed_skin, write_gltf_animation
from smilfit.structures import BodyParams
from tests.toy_samples import toy_body

NUMPY = {5126: np.float32, 5123: np.uint16, 5125: np.uint32}
WIDTH = {'SCALAR': 1, 'VEC3': 3, 'VEC4': 4, 'MAT4': 16}


def _read(path):
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
        found = np.frombuffer(buffer, kind, accessor['count'] * width, view['byteOffset'])
        return found.reshape(accessor['count'], width)

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


def _posed(document, array, key):
    """Pose the skin at a key, as the specification says, with no code of ours."""
    nodes = [dict(node) for node in document['nodes']]
    (animation,) = document['animations']
    for channel in animation['channels']:
        sampler = animation['samplers'][channel['sampler']]
        nodes[channel['target']['node']][channel['target']['path']] = array(sampler['output'])[key]

    def local(node):
        matrix = np.eye(4)
        turn = _rotation(np.asarray(node['rotation'], float)) if 'rotation' in node else np.eye(3)
        matrix[:3, :3] = turn @ np.diag(node.get('scale', [1, 1, 1]))
        matrix[:3, 3] = node.get('translation', [0, 0, 0])
        return matrix

    world = {}

    def walk(number, above):
        world[number] = above @ local(nodes[number])
        for child in nodes[number].get('children', ()):
            walk(child, world[number])

    for root in document['scenes'][0]['nodes']:
        walk(root, np.eye(4))
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


def _example():
    body = toy_body()
    torch.manual_seed(1)
    params = BodyParams(
        global_orient=torch.randn(4, 3),
        body_pose=torch.randn(4, 4, 3),
        betas=torch.tensor([[0.4, -0.8]]).expand(4, 2),
        transl=torch.randn(4, 3),
        scale=torch.tensor([1.1, 1.2, 0.9, 1.0]),
    )
    rest = body(body.zero_params().replace(betas=params.betas[:1]), ('joints', 'vertices'))
    mesh = SkinnedMesh(
        vertices=rest.vertices[0].numpy(),
        faces=body.faces.numpy(),
        joints=rest.joints[0].numpy(),
        parents=np.asarray(body.data.parents),
        names=tuple(body.joint_names),
        weights=body.data.weights.to_dense(),
    )
    turns = torch.cat((params.global_orient[:, None], params.body_pose), 1)
    motion = Motion(
        np.arange(4) / 25,
        rotmat_to_quat_wxyz(axis_angle_to_rotmat(turns)).numpy(),
        params.transl.numpy(),
        params.scale.numpy(),
    )
    return body, params, mesh, motion


def test_the_skin_posed_by_the_specification_is_the_body(tmp_path):
    body, params, mesh, motion = _example()
    path = write_gltf_animation(tmp_path / 'a.glb', mesh, motion, {'unit': 'mm'})
    document, array = _read(path)
    wanted = body(params, ('vertices',)).vertices.numpy()
    for key in range(4):
        np.testing.assert_allclose(_posed(document, array, key), wanted[key], atol=1e-5)
        np.testing.assert_allclose(posed_skin(mesh, motion, key), wanted[key], atol=1e-5)
    assert document['asset']['extras'] == {'unit': 'mm'}
    times = array(document['animations'][0]['samplers'][0]['input'])
    np.testing.assert_allclose(times[:, 0], np.arange(4) / 25)
    assert [node['name'] for node in document['nodes'][1:6]] == list(body.joint_names)


def test_another_reader_opens_it(tmp_path):
    _, _, mesh, motion = _example()
    scene = trimesh.load(write_gltf_animation(tmp_path / 'a.glb', mesh, motion))
    (found,) = scene.geometry.values()
    assert found.vertices.shape == mesh.vertices.shape
    np.testing.assert_array_equal(found.faces, mesh.faces)


def test_quaternions_of_neighbouring_keys_are_near(tmp_path):
    _, _, mesh, motion = _example()
    turns = motion.quaternions_wxyz[:1].repeat(4, 0) * np.array([1, -1, -1, 1])[:, None, None]
    path = write_gltf_animation(
        tmp_path / 'a.glb', mesh, Motion(motion.times_s, turns, motion.translation, motion.scale)
    )
    document, array = _read(path)
    for sampler in document['animations'][0]['samplers'][2:]:
        values = array(sampler['output'])
        np.testing.assert_allclose(values, values[:1].repeat(4, 0), atol=1e-6)


def test_more_than_four_joints_move_a_vertex(tmp_path):
    _, _, mesh, motion = _example()
    weights = np.full_like(mesh.weights, 0.2)
    many = SkinnedMesh(mesh.vertices, mesh.faces, mesh.joints, mesh.parents, mesh.names, weights)
    document, array = _read(write_gltf_animation(tmp_path / 'a.glb', many, motion))
    attributes = document['meshes'][0]['primitives'][0]['attributes']
    total = array(attributes['WEIGHTS_0']).sum(1) + array(attributes['WEIGHTS_1']).sum(1)
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_what_cannot_be_written_is_refused(tmp_path):
    _, _, mesh, motion = _example()
    with pytest.raises(ValueError, match=r'must be a .glb file'):
        write_gltf_animation(tmp_path / 'a.gltf', mesh, motion)
    bad = Motion(motion.times_s, motion.quaternions_wxyz * np.nan, motion.translation, motion.scale)
    with pytest.raises(ValueError, match='finite'):
        write_gltf_animation(tmp_path / 'a.glb', mesh, bad)
