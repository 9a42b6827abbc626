"""An animated glTF, read back and posed by its own rules, is the body."""

import numpy as np
import pytest
import torch
import trimesh

from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_quat_wxyz
from smilfit.io.meshes.gltf_animation import Motion, SkinnedMesh, posed_skin, write_gltf_animation
from smilfit.structures import BodyParams
from tests.gltf_player import posed_by_the_specification, read_glb
from tests.toy_samples import toy_body


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
    document, array = read_glb(path)
    wanted = body(params, ('vertices',)).vertices.numpy()
    for key in range(4):
        np.testing.assert_allclose(posed_by_the_specification(document, array, key), wanted[key], atol=1e-5)
        np.testing.assert_allclose(posed_skin(mesh, motion, key), wanted[key], atol=1e-5)
    assert document['asset']['extras'] == {'unit': 'mm'}
    times = array(document['animations'][0]['samplers'][0]['input'])
    np.testing.assert_allclose(times[:, 0], np.arange(4) / 25)
    assert [node['name'] for node in document['nodes'][1:6]] == list(body.joint_names)


def test_another_reader_opens_it(tmp_path):
    _, _, mesh, motion = _example()
    scene = trimesh.load(write_gltf_animation(tmp_path / 'a.glb', mesh, motion))
    (result,) = scene.geometry.values()
    assert result.vertices.shape == mesh.vertices.shape
    np.testing.assert_array_equal(result.faces, mesh.faces)


def test_quaternions_of_neighbouring_keys_are_near(tmp_path):
    _, _, mesh, motion = _example()
    turns = motion.quaternions_wxyz[:1].repeat(4, 0) * np.array([1, -1, -1, 1])[:, None, None]
    path = write_gltf_animation(
        tmp_path / 'a.glb', mesh, Motion(motion.times_s, turns, motion.translation, motion.scale)
    )
    document, array = read_glb(path)
    for sampler in document['animations'][0]['samplers'][2:]:
        values = array(sampler['output'])
        np.testing.assert_allclose(values, values[:1].repeat(4, 0), atol=1e-6)


def test_more_than_four_joints_move_a_vertex(tmp_path):
    _, _, mesh, motion = _example()
    weights = np.full_like(mesh.weights, 0.2)
    many = SkinnedMesh(mesh.vertices, mesh.faces, mesh.joints, mesh.parents, mesh.names, weights)
    document, array = read_glb(write_gltf_animation(tmp_path / 'a.glb', many, motion))
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
