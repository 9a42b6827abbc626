"""An exported body, posed by other programs' rules, is the fitted body."""

import dataclasses

import numpy as np
import pytest
import torch
import trimesh

from smilfit.io.exports import ExportedFit, ExportOptions, exporter
from smilfit.io.exports.skinned_meshes import probable_up, world_matrix
from smilfit.io.meshes.bvh import euler_zxy
from smilfit.io.meshes.gltf_animation import SkinImage
from tests.gltf_player import node_matrices, posed_by_the_specification, read_glb
from tests.io.exports.fits import FPS, T, close, made_fit

FITTED = [0, 1, 3, 4, 5]


def shown(fit, **further):
    return ExportedFit('session_1', fit, fit.frames.numpy(), fit.fitted.numpy(), FPS, **further)


def vertices_of(fit):
    with torch.no_grad():
        return fit.body(fit.params[FITTED], ('vertices',)).vertices.double().numpy()


@pytest.mark.parametrize('mode', ['none', 'local', 'inherited'])
def test_the_animation_is_the_body_in_metres(tmp_path, mode):
    fit = made_fit(joint_scales=mode != 'none')
    fit.body.joint_scale_mode = mode if mode != 'none' else 'local'
    exporter('glb').write(tmp_path, shown(fit), ExportOptions())
    document, array = read_glb(tmp_path / 'animation.glb')
    wanted = vertices_of(fit) / 1000
    size = np.ptp(wanted, 1).max()
    for key in range(len(FITTED)):
        close(posed_by_the_specification(document, array, key), wanted[key], size)
    times = array(document['animations'][0]['samplers'][0]['input'])[:, 0]
    np.testing.assert_allclose(times, np.array(FITTED) / FPS, atol=1e-6)
    by_name = {node['name']: number for number, node in enumerate(document['nodes'])}
    with torch.no_grad():
        joints = fit.body(fit.params[FITTED], ('joints',)).joints.numpy() / 1000
    matrices = node_matrices(document, array, 3)
    result = np.stack([matrices[by_name[name]][:3, 3] for name in fit.body.joint_names])
    close(result, joints[3], size)
    scene = trimesh.load(tmp_path / 'animation.glb')
    assert next(iter(scene.geometry.values())).vertices.shape == wanted[0].shape


def test_cameras_of_the_animation_look_as_ours(tmp_path):
    fit = made_fit()
    exporter('glb').write(tmp_path, shown(fit), ExportOptions())
    document, array = read_glb(tmp_path / 'animation.glb')
    matrices = node_matrices(document, array, 0)
    ideal = fit.recorded_cameras.ideal()
    point = fit.keypoints3d.xyz[0].double()
    pixels, depth, _ = ideal.project(point)
    for c, name in enumerate(ideal.names):
        number = next(i for i, node in enumerate(document['nodes']) if node['name'] == name)
        lens = document['cameras'][document['nodes'][number]['camera']]['perspective']
        seen = np.linalg.inv(matrices[number]) @ np.append(point[1].numpy() / 1000, 1)
        # glTF's projection: -1 to 1 over the image, y up.
        up = 1 / np.tan(lens['yfov'] / 2)
        x, y = up / lens['aspectRatio'] * seen[0] / -seen[2], up * seen[1] / -seen[2]
        width, height = ideal.size[c].tolist()
        centre = ideal.K[c, :2, 2].numpy()
        np.testing.assert_allclose(
            [centre[0] + x * width / 2, centre[1] - y * height / 2], pixels[c, 1].numpy(), atol=1e-6
        )
        # Metres, from the node whose scale makes them.
        assert -seen[2] * np.linalg.norm(matrices[number][:3, 0]) == pytest.approx(float(depth[c, 1]) / 1000)


@pytest.mark.parametrize('up', ['x', 'y', 'z', '-x', '-y', '-z'])
def test_up_becomes_y_and_nothing_is_mirrored(up):
    matrix = world_matrix(0.001, up)
    axis = np.zeros(3)
    axis['xyz'.index(up[-1])] = -1.0 if up[0] == '-' else 1.0
    np.testing.assert_allclose(matrix[:3, :3] @ axis, [0, 0.001, 0], atol=1e-12)
    assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1e-9)
    assert world_matrix(None, None) is None


def play_bvh(path):
    """Read a BVH file and run it forward: joint positions (T, J, 3) by name."""
    words = iter(path.read_text().split())
    parents, names, offsets, channels, stack = [], [], [], [], []
    for word in words:
        if word in ('ROOT', 'JOINT'):
            names.append(next(words))
            parents.append(stack[-1] if stack else -1)
        elif word == 'End':
            next(words)
            names.append(None)
            parents.append(stack[-1])
            channels.append([])
        elif word == '{':
            stack.append(len(names) - 1)
        elif word == '}':
            stack.pop()
        elif word == 'OFFSET':
            offsets.append([float(next(words)) for _ in range(3)])
        elif word == 'CHANNELS':
            channels.append([next(words) for _ in range(int(next(words)))])
        elif word == 'Frames:':
            count = int(next(words))
        elif word == 'Time:':
            step = float(next(words))
            break
    table = np.array([float(word) for word in words]).reshape(count, -1)
    result, at = np.zeros((count, len(names), 4, 4)), 0
    for j, own in enumerate(channels):
        matrix = np.tile(np.eye(4), (count, 1, 1))
        matrix[:, :3, 3] = offsets[j]
        for channel in own:
            value, axis = table[:, at], 'XYZ'.index(channel[0])
            at += 1
            if channel.endswith('position'):
                matrix[:, axis, 3] = value
                continue
            a, b = [(1, 2), (2, 0), (0, 1)][axis]
            rotation = np.tile(np.eye(4), (count, 1, 1))
            rotation[:, a, a] = rotation[:, b, b] = np.cos(np.radians(value))
            rotation[:, b, a] = np.sin(np.radians(value))
            rotation[:, a, b] = -rotation[:, b, a]
            matrix = matrix @ rotation
        result[:, j] = matrix if parents[j] < 0 else result[:, parents[j]] @ matrix
    assert at == table.shape[1]
    return {name: result[:, j, :3, 3] for j, name in enumerate(names) if name is not None}, step


@pytest.mark.parametrize('scales', ['shared', 'own'])
def test_the_skeleton_moves_as_ours(tmp_path, scales, caplog):
    fit = made_fit(joint_scales=True)
    if scales == 'own':
        fit = dataclasses.replace(fit, params=fit.params.replace(scale=torch.linspace(50, 70, T)))
    exporter('bvh').write(tmp_path, shown(fit), ExportOptions())
    result, step = play_bvh(tmp_path / 'skeleton.bvh')
    assert step == pytest.approx(1 / FPS)
    with torch.no_grad():
        joints = fit.body(fit.params[FITTED], ('joints',)).joints.numpy()
    for j, name in enumerate(fit.body.joint_names):
        # Frame 2 was not fitted and shows a neighbour.
        close(result[name.replace(' ', '_')][FITTED], joints[:, j], np.ptp(joints, 1).max())
    assert '1 of 6 frames were not fitted' in caplog.text
    text = (tmp_path / 'skeleton.bvh').read_text()
    assert ('CHANNELS 3 ' in text) == (scales == 'shared')


def test_euler_angles_give_the_rotation_back_even_where_two_axes_meet():
    rng = np.random.default_rng(0)
    turns, _ = np.linalg.qr(rng.normal(size=(50, 3, 3)))
    turns *= np.sign(np.linalg.det(turns))[:, None, None]
    turns[0] = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]

    def about(axis, degrees):
        a, b = [(1, 2), (2, 0), (0, 1)][axis]
        rotation = np.tile(np.eye(3), (len(degrees), 1, 1))
        rotation[:, a, a] = rotation[:, b, b] = np.cos(np.radians(degrees))
        rotation[:, b, a] = np.sin(np.radians(degrees))
        rotation[:, a, b] = -rotation[:, b, a]
        return rotation

    z, x, y = euler_zxy(turns).T
    np.testing.assert_allclose(about(2, z) @ about(0, x) @ about(1, y), turns, atol=1e-7)


@pytest.mark.parametrize('kind', ['obj', 'ply', 'glb'])
def test_meshes_are_the_body(tmp_path, kind):
    fit = made_fit()
    exporter('meshes').write(tmp_path, shown(fit), ExportOptions(every=2, mesh_format=kind))
    assert sorted(p.name for p in (tmp_path / 'meshes').iterdir()) == [f'00000{n}.{kind}' for n in (0, 3, 5)]
    mesh = trimesh.load(tmp_path / 'meshes' / f'000003.{kind}', force='mesh', process=False)
    np.testing.assert_allclose(mesh.vertices, vertices_of(fit)[2], atol=1e-3)


def test_the_animation_wears_the_image_of_its_rig(tmp_path):
    import io

    from PIL import Image

    fit = made_fit()
    chance = np.random.default_rng(0)
    image, file = chance.integers(0, 255, (4, 8, 3), dtype=np.uint8), io.BytesIO()
    Image.fromarray(image).save(file, 'PNG')
    uv = chance.uniform(0.05, 0.95, (fit.body.data.n_vertices, 2))
    worn = shown(fit, skin=SkinImage(file.getvalue(), np.where(np.arange(len(uv))[:, None] == 3, np.nan, uv)))
    exporter('glb').write(tmp_path, worn, ExportOptions())
    (mesh,) = trimesh.load(tmp_path / 'animation.glb', process=False).geometry.values()
    np.testing.assert_array_equal(np.asarray(mesh.visual.material.baseColorTexture.convert('RGB')), image)
    # Its reader has v upwards.
    uv[3] = 0
    np.testing.assert_allclose(np.stack((mesh.visual.uv[:, 0], 1 - mesh.visual.uv[:, 1]), 1), uv, atol=1e-6)
    document, array = read_glb(tmp_path / 'animation.glb')
    wanted = vertices_of(fit) / 1000
    close(posed_by_the_specification(document, array, 2), wanted[2], np.ptp(wanted, 1).max())


@pytest.mark.parametrize(
    ('turn', 'up'), [((0, 0, 0.4), 'z'), ((np.pi, 0, 0), '-z'), ((-np.pi / 2, 0, 0), 'y')]
)
def test_which_axis_the_back_points_along_is_told(tmp_path, caplog, turn, up):
    fit = made_fit(missing=None)
    assert fit.body.data.up_axis == '+z'
    turned = fit.params.replace(global_orient=torch.tensor(turn).to(fit.params.transl).expand(T, 3))
    fit = dataclasses.replace(fit, params=turned)
    assert probable_up(fit.body, turned) == up
    with caplog.at_level('INFO', logger='smilfit'):
        exporter('glb').write(tmp_path, shown(fit), ExportOptions())
        assert f'--up={up} ' in caplog.text
        caplog.clear()
        exporter('glb').write(tmp_path, shown(fit), ExportOptions(up=up))
        assert '--up' not in caplog.text
    # Turned to every side it points nowhere.
    around = torch.linspace(0, 2 * torch.pi, T + 1)[:T, None] * torch.tensor([[1.0, 0, 0]])
    assert probable_up(fit.body, turned.replace(global_orient=around.to(turned.transl))) is None
