"""Every way in which exporters write rigs moves as the specification says; broken files are refused in words."""

import json

import numpy as np
import pytest

from smilfit.body_models import SMIL
from smilfit.rigs import build_model, read_rig
from tests.rigs.gltf_twin import Twin
from tests.rigs.made_gltf import MadeGltf, column_major, turns, worm

HALF = 0.5**0.5


def chain(made, rng, extra=None, below=None):
    """Add four joints one above the other, turned at will; gives their nodes and places in the skeleton's frame."""
    nodes = made.gltf.setdefault('nodes', [])
    first, here, places = len(nodes), np.eye(4), []
    for j in range(4):
        q = turns(rng, 1)[0]
        node = {'name': f'bone{j}', 'rotation': q.tolist()}
        # A joint every unit along y of the skeleton: each hangs at the inverse of what is above it.
        target = np.array([0, j, 0, 1.0])
        node['translation'] = (np.linalg.inv(here) @ target)[:3].tolist()
        x, y, z, w = q
        rotation = np.array(
            [[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
             [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
             [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]]
        )  # fmt: skip
        local = np.eye(4)
        local[:3, :3], local[:3, 3] = rotation, node['translation']
        here = here @ local
        places.append(here)
        if j < 3:
            node['children'] = [first + j + 1]
        nodes.append(node)
    return list(range(first, first + 4)), np.array(places)


def primitive(made, vertices, faces, slots, weights, **more):
    attributes = {
        'POSITION': made.add(vertices),
        'JOINTS_0': made.add(slots, 'u1'),
        'WEIGHTS_0': made.add(weights),
    }
    return {'attributes': attributes, 'indices': made.add(faces.ravel(), 'u2')} | more


def skin(made, joints, inverse_bind):
    made.gltf.setdefault('skins', []).append(
        {'joints': joints, 'inverseBindMatrices': made.add(column_major(inverse_bind))}
    )
    return len(made.gltf['skins']) - 1


def dance(made, rng, joints, name='dance', how='LINEAR'):
    times = np.arange(3) * 0.5
    made.animate(name, [(j, 'rotation', times, turns(rng, 3, 0.5), how) for j in joints])


def armature(rng):
    """Blender: a skeleton in centimetres and z up under a node that scales and turns it, the mesh beside it."""
    made, body = MadeGltf(), worm(rng)
    joints, places = chain(made, rng)
    number = skin(made, joints, np.linalg.inv(places))
    made.gltf['meshes'] = [{'primitives': [primitive(made, *body)]}]
    made.gltf['nodes'] += [
        {'mesh': 0, 'skin': number, 'name': 'skin'},
        {
            'children': [joints[0], 4],
            'scale': [0.01] * 3,
            'rotation': [-HALF, 0, 0, HALF],
            'name': 'Armature',
        },
    ]
    dance(made, rng, joints)
    times = np.array([0.0, 1.0])
    made.animate('walk', [(5, 'translation', times, rng.random((2, 3)), 'LINEAR')])
    return made


def between(rng):
    """Maya by FBX: plain nodes between joints, joints in no order, unused ones, two of one name, bytes as weights."""
    made, (vertices, faces, slots, weights) = MadeGltf(), worm(rng)
    joints, places = chain(made, rng)
    nodes = made.gltf['nodes']
    nodes[1]['children'] = [4]
    nodes += [{'name': 'pre', 'children': [2]}, {'name': 'bone1'}]
    nodes[3]['children'] = [5]
    order = [joints[i] for i in (3, 0, 2, 1)] + [5]
    back = np.linalg.inv(places[[3, 0, 2, 1, 3]])
    number = skin(made, order, back)
    slots = np.array([1, 3, 2, 0])[slots]
    part = primitive(made, vertices, faces, slots, weights)
    part['attributes']['WEIGHTS_0'] = made.add(weights, 'u1', normalized=True)
    made.gltf['meshes'] = [{'primitives': [part]}]
    nodes += [{'mesh': 0, 'skin': number}]
    dance(made, rng, [*joints, 4])
    return made


def shared(rng):
    """Unreal: meshes that share a skin, another of the same joints in centimetres, rows interleaved, eight joints."""
    made, (vertices, faces, slots, weights) = MadeGltf(), worm(rng)
    joints, places = chain(made, rng)
    one = skin(made, joints, np.linalg.inv(places))
    grown = np.diag([0.01, 0.01, 0.01, 1])
    two = skin(made, joints, np.linalg.inv(places) @ grown)
    rows = made.interleaved([(vertices, 'f4'), (slots, 'u2'), (weights[:, [0, 1, 2, 3]], 'f4')])
    attributes = dict(zip(('POSITION', 'JOINTS_0', 'WEIGHTS_0'), rows))
    eight = attributes | {'JOINTS_1': made.add(slots[:, ::-1], 'u2'), 'WEIGHTS_1': made.add(weights)}
    index = made.add(faces.ravel(), 'u4')
    large = primitive(made, 100 * vertices + [5, 0, 0], faces, slots, weights)
    made.gltf['meshes'] = [
        {
            'primitives': [
                {'attributes': attributes, 'indices': index},
                {'attributes': eight, 'indices': index},
            ]
        },
        {'primitives': [large]},
    ]
    made.gltf['nodes'] += [{'mesh': 0, 'skin': one}, {'mesh': 1, 'skin': two}, {'mesh': 0, 'skin': one}]
    dance(made, rng, joints)
    return made


def quantised(rng):
    """three.js: no indices, positions of 16 bits, sparse morph targets, splines, bones that stretch unequally."""
    made, (vertices, faces, slots, weights) = MadeGltf(), worm(rng)
    joints, places = chain(made, rng)
    # The node above the skin undoes what whole numbers did.
    number = skin(made, joints, np.linalg.inv(places) @ np.diag([5, 5, 5, 1]))
    corners = faces.ravel()
    moved = np.zeros((len(corners), 3))
    moved[::3] = 0.2 * rng.standard_normal((len(moved[::3]), 3))
    part = {
        'attributes': {
            'POSITION': made.add(vertices[corners] / 5, 'i2', normalized=True),
            'JOINTS_0': made.add(slots[corners], 'u1'),
            'WEIGHTS_0': made.add(weights[corners], 'u2', normalized=True),
        },
        'targets': [{'POSITION': made.sparse(moved)}, {'POSITION': made.add(moved[::-1])}],
    }
    made.gltf['meshes'] = [{'primitives': [part], 'extras': {'targetNames': ['fat', 'fat']}}]
    made.gltf['extensionsRequired'] = ['KHR_mesh_quantization']
    made.gltf['nodes'] += [{'mesh': 0, 'skin': number, 'scale': [5, 5, 5]}]
    times = np.array([0.1, 0.4, 1.0])
    spline = np.stack((0 * turns(rng, 3), turns(rng, 3), 0.1 * rng.standard_normal((3, 4))), 1)
    tracks = [
        (joints[0], 'rotation', times, spline, 'CUBICSPLINE'),
        (joints[1], 'scale', times, 1 + 0.5 * rng.random((3, 3)), 'LINEAR'),
        (joints[2], 'rotation', times[:2], turns(rng, 2, 1.0), 'STEP'),
        (joints[2], 'translation', times, rng.random((3, 3)), 'LINEAR'),
        (4, 'weights', times, rng.random((3, 2)), 'LINEAR'),
    ]
    made.animate('stretch', tracks)
    return made


def packed(rng):
    """gltfpack: turns of 16 bits, of unit length up to rounding, keys of joints at different times."""
    made = armature(rng)
    for i, sampler in enumerate(made.gltf['animations'][0]['samplers']):
        times = np.arange(3) * (0.3 + 0.1 * i)
        sampler['input'] = made.add(times)
        sampler['output'] = made.add(turns(rng, 3, 0.5), 'i2', normalized=True)
    return made


def stiff(rng):
    """Blender: parts of an animal that hang on bones whole; no mesh uses the skin that was exported."""
    made = armature(rng)
    nodes, part = made.gltf['nodes'], made.gltf['meshes'][0]['primitives'][0]
    del nodes[4]['mesh'], nodes[4]['skin'], part['attributes']['JOINTS_0'], part['attributes']['WEIGHTS_0']
    for joint in range(4):
        nodes.append({'mesh': 0, 'rotation': turns(rng, 1)[0].tolist(), 'translation': [0.1, joint, 0]})
        nodes[joint].setdefault('children', []).append(len(nodes) - 1)
    return made


def hidden(rng):
    """An animator hides a limb: it is scaled to nothing for a while, and another is mirrored."""
    made, times = armature(rng), np.array([0.0, 0.5, 1.0])
    shown, gone, mirrored = np.ones(3), np.zeros(3), np.array([-1.0, 1, 1])
    made.animate('vanish', [(1, 'scale', times, np.stack((shown, gone, shown)), 'LINEAR')])
    made.animate('mirror', [(2, 'scale', times, np.stack((shown, mirrored, shown)), 'STEP')])
    return made


@pytest.mark.parametrize('exporter', [armature, between, shared, quantised, packed, stiff, hidden])
@pytest.mark.parametrize('suffix', ['.glb', '.gltf'])
def test_a_rig_moves_as_the_specification_says(exporter, suffix, tmp_path):
    path = exporter(np.random.default_rng(0)).write(tmp_path / f'rig{suffix}')
    data, report = build_model(read_rig(path))
    body, twin = SMIL(data).double(), Twin(path)
    for number, clip in enumerate(report.clips):
        np.testing.assert_allclose(clip.times_s, twin.times(number))
        vertices = body(clip.params(body), need=('vertices',)).vertices.numpy()
        truth = [twin.skinned(number, time) for time in clip.times_s]
        np.testing.assert_allclose(vertices, truth, atol=1e-6 * report.size)


def test_morph_targets_that_do_not_fit_are_left_out_and_told(tmp_path):
    made = armature(np.random.default_rng(0))
    made.gltf['meshes'][0]['primitives'][0]['targets'] = [{'POSITION': made.add(np.ones((3, 3)))}]
    rig = read_rig(made.write(tmp_path / 'rig.glb'))
    assert not rig.morphs
    assert any('1 morph targets of meshes[0].primitives[0] have not a row a vertex' in n for n in rig.notes)


def test_an_avatar_is_a_gltf_under_another_name(tmp_path):
    path = armature(np.random.default_rng(0)).write(tmp_path / 'rig.glb')
    assert read_rig(path.rename(tmp_path / 'rig.vrm')).joint_names == ('bone0', 'bone1', 'bone2', 'bone3')


def test_what_git_left_in_the_place_of_a_large_file_is_recognised(tmp_path):
    pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 119904\n'
    made = armature(np.random.default_rng(0))
    path = made.write(tmp_path / 'rig.gltf')
    (tmp_path / 'rig.bin').write_text(pointer)
    (tmp_path / 'rig.glb').write_text(pointer)
    for name in (path, tmp_path / 'rig.glb'):
        with pytest.raises(ValueError, match='git lfs pull'):
            read_rig(name)


def test_the_rest_pose_has_the_size_and_axes_of_the_scene(tmp_path):
    rng = np.random.default_rng(0)
    rig = read_rig(armature(rng).write(tmp_path / 'rig.glb'))
    # Four units along the skeleton's y, in centimetres, turned by the armature to -z.
    np.testing.assert_allclose(np.ptp(rig.vertices, 0)[2], 0.04, rtol=1e-6)
    np.testing.assert_allclose(rig.rest[:, :3, 3], [[0, 0, -0.01 * j] for j in range(4)], atol=1e-8)


def test_joints_are_sorted_named_apart_and_those_that_move_nothing_are_locked(tmp_path):
    data, report = build_model(read_rig(between(np.random.default_rng(0)).write(tmp_path / 'rig.glb')))
    assert data.joint_names == ('bone0', 'bone1', 'bone2', 'bone3', 'bone1.2')
    assert data.parents.tolist() == [-1, 0, 1, 2, 3]
    assert report.unfitted == {'ends of bones': ('bone1.2',)}
    assert data.joint_limits.any((1, 2)).tolist() == [True] * 4 + [False]


def broken(kind, made):
    gltf, nodes = made.gltf, made.gltf['nodes']
    if kind == 'loop':
        nodes[3]['children'], nodes[5]['children'] = [0], [4]
    elif kind == 'draco':
        gltf['extensionsRequired'] = ['KHR_draco_mesh_compression']
    elif kind == 'packed':
        # The stored form is missing, and the packed one is not even required.
        part = gltf['meshes'][0]['primitives'][0]
        part['extensions'] = {'KHR_draco_mesh_compression': {}}
        gltf['accessors'][part['attributes']['POSITION']].pop('bufferView')
    elif kind == 'outside':
        gltf['accessors'][0]['count'] = 10**6
    elif kind == 'huge':
        gltf['accessors'][0] |= {'count': 10**12}
    elif kind == 'joint':
        gltf['skins'][0]['joints'] = [0]
        gltf['accessors'][gltf['skins'][0]['inverseBindMatrices']]['count'] = 1
    elif kind == 'no skin':
        nodes[4].pop('skin')
    elif kind in ('flat', 'nothing'):
        nodes[5]['scale'] = [1, 1, 0] if kind == 'flat' else [0, 0, 0]
    elif kind == 'nan':
        at = gltf['accessors'][gltf['meshes'][0]['primitives'][0]['attributes']['POSITION']]['bufferView']
        start = gltf['bufferViews'][at]['byteOffset']
        made.data[start : start + 4] = np.float32(np.nan).tobytes()
    return made


@pytest.mark.parametrize(
    ('kind', 'words'),
    [
        ('loop', 'nodes must form trees'),
        ('draco', 'KHR_draco_mesh_compression.*Export again without compression'),
        ('packed', 'Export again without compression'),
        ('outside', 'must lie inside its buffer view'),
        ('huge', 'must be at most'),
        ('joint', 'must name joints 0 to 0 of its skin'),
        ('no skin', 'must have a mesh that hangs on a skin'),
        ('nan', 'must be finite'),
        ('flat', 'a size in all directions; got a scale of 0'),
        ('nothing', 'a size in all directions; got a scale of 0'),
    ],
)
def test_a_broken_file_is_refused_in_words(kind, words, tmp_path):
    path = broken(kind, armature(np.random.default_rng(0))).write(tmp_path / 'rig.glb')
    with pytest.raises(ValueError, match=words):
        read_rig(path)


def test_a_file_that_was_cut_short_or_reaches_out_of_its_folder_is_refused(tmp_path):
    made = armature(np.random.default_rng(0))
    with pytest.raises(ValueError, match='cut short'):
        read_rig(made.write(tmp_path / 'rig.glb', cut=100))
    secret = tmp_path / 'secret.bin'
    secret.write_bytes(bytes(made.data))
    (tmp_path / 'in').mkdir()
    path = made.write(tmp_path / 'in' / 'rig.gltf')
    for uri in (
        '../secret.bin',
        str(secret),
        '%2e%2e/secret.bin',
        'https://example.org/a.bin',
        'missing.bin',
    ):
        made.gltf['buffers'][0]['uri'] = uri
        path.write_text(json.dumps(made.gltf), encoding='utf-8')
        with pytest.raises(ValueError, match='Nothing was|Copy it beside'):
            read_rig(path)
