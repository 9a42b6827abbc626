"""MuJoCo models: bodies stand and turn as MuJoCo has them, hinges become limits, and bad files are told in words."""

import csv
import json
import shlex

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL, load_body_model_data
from smilfit.body_models.joint_limits import own_components
from smilfit.cli.main import main
from smilfit.geometry.rotation import rotmat_to_axis_angle
from smilfit.rigs import build_model, read_rig
from smilfit.rigs.mjcf import read_mjcf
from smilfit.rigs.mjcf.bodies import posed_frames, read_bodies, rest_frames
from smilfit.rigs.mjcf.document import axis_rotation, read_mjcf_document
from smilfit.rigs.mjcf.skin import read_skn
from smilfit.structures import FitResult
from tests.rigs.small_mjcf import MODEL, write_beast


def frames_of(path, angles=None):
    bodies, _ = read_bodies(read_mjcf_document(path))
    return {b.name: f for b, f in zip(bodies, posed_frames(bodies, angles or {}))}


@pytest.fixture(scope='module')
def beast(tmp_path_factory):
    folder = tmp_path_factory.mktemp('beast')
    nowhere = {name: (np.eye(3), np.zeros(3)) for name in ('trunk', 'pelvis', 'thigh_L', 'shin_L', 'neck')}
    return write_beast(folder, frames_of(write_beast(folder, nowhere)))


def posed(data, path, angles):
    """The body model with each joint turned by its hinges, one after the other."""
    bodies, _ = read_bodies(read_mjcf_document(path))
    rest = dict(zip((b.name for b in bodies), rest_frames(bodies)))
    turns = np.tile(np.eye(3), (data.n_joints, 1, 1))
    for body in bodies:
        for joint in body.joints:
            if joint.kind == 'hinge':
                name = joint.name if joint.name in data.joint_names else body.name
                rotation = axis_rotation(rest[body.name].rotation @ joint.axis, angles[joint.name])
                turns[data.joint_names.index(name)] = turns[data.joint_names.index(name)] @ rotation
    body = SMIL(data).double()
    pose = rotmat_to_axis_angle(torch.from_numpy(turns))[None, 1:]
    return body(body.zero_params(1).replace(body_pose=pose), ('vertices',)).vertices[0].numpy()


ANGLES = {
    'hip_yaw': 0.5,
    'hip_roll': 0.2,
    'hip_pitch': -0.9,
    'knee': -1.2,
    'neck_low': 0.3,
    'neck_high': -0.7,
}


def test_a_model_moves_as_its_skin_says(beast):
    data, report = build_model(read_mjcf(beast))
    # Welded to the trunk, the pelvis is no joint; hinges that do not meet are joints one after the other.
    # So do those whose ranges one joint would get wrong.
    names = ('trunk', 'hip_yaw', 'hip_roll', 'thigh_L', 'shin_L', 'neck_low', 'neck')
    assert data.joint_names == names
    assert set(data.landmarks) == {'withers', 'foot_L', 'pelvis'}
    assert (data.unit, data.up_axis) == ('m', '+z')
    truth = read_skn(beast.parent / 'beast.skn').posed(frames_of(beast, ANGLES))
    np.testing.assert_allclose(posed(data, beast, ANGLES), truth, atol=1e-6 * report.size)


def _check_hip(path, data, joints, spans):
    """Each hinge of the hip, along x, y and z of the thigh, is an axis of the joint given for it, with its range."""
    limits, axes = np.degrees(data.joint_limits), data.joint_axes
    rotation = frames_of(path)['thigh_L'].rotation
    for joint, axis, span in zip(joints, np.eye(3), spans):
        column = int(np.abs(axes[joint].T @ rotation @ axis).argmax())
        np.testing.assert_allclose(axes[joint][:, column], rotation @ axis, atol=1e-9)
        np.testing.assert_allclose(limits[joint, column], span)


def test_hinges_of_small_ranges_are_one_joint(beast, tmp_path):
    text = MODEL.replace('-60 50', '-6 5').replace('-20 40', '-9 8')
    rig = read_mjcf(write_beast(tmp_path, frames_of(beast), text))
    assert '1 joints are of two or three hinges' in (notes := ' '.join(rig.notes)), notes
    assert 'at most 1.3 degrees off where several are at their ends' in notes, notes
    data, _ = build_model(rig)
    hip = data.joint_names.index('thigh_L')
    _check_hip(beast, data, [hip, hip, hip], ([-10, 15], [-6, 5], [-9, 8]))


def test_hinges_are_limits_along_their_axes(beast):
    data, _ = build_model(read_mjcf(beast))
    hips = [data.joint_names.index(name) for name in ('hip_roll', 'thigh_L', 'hip_yaw')]
    _check_hip(beast, data, hips, ([-10, 15], [-60, 50], [-20, 40]))
    shin, low, high = (data.joint_names.index(name) for name in ('shin_L', 'neck_low', 'neck'))
    limits, axes = np.degrees(data.joint_limits), data.joint_axes
    knee = frames_of(beast)['shin_L'].rotation @ np.array([0.3, 1, 0]) / np.sqrt(1.09)
    column = int(np.abs(axes[shin].T @ knee).argmax())
    np.testing.assert_allclose(axes[shin][:, column], knee, atol=1e-9)
    np.testing.assert_allclose(limits[shin, column], [-100, 5])
    assert not np.delete(limits[shin], column, 0).any()
    assert sorted(limits[low].sum(1).round(6).tolist()) == [-20, 0, 0], (
        "from rest, which is at the joint's ref"
    )
    np.testing.assert_allclose(np.abs(limits[high]).max(), 180)


@pytest.mark.parametrize('name', ['beast', 'rigs/dm_control/dog.xml', 'rat_keypoints/rodent.xml'])
def test_bodies_and_skin_are_where_mujoco_has_them(beast, name, request, tmp_path):
    mujoco = pytest.importorskip('mujoco', reason='mujoco is not installed')
    path = beast if name == 'beast' else request.getfixturevalue('real_data') / name
    rig = read_mjcf(path)
    model = _stripped(mujoco, path)
    data = mujoco.MjData(model)
    rng, angles = np.random.default_rng(0), {}
    for j in range(model.njnt):
        if model.jnt_type[j] == mujoco.mjtJoint.mjJNT_HINGE:
            low, high = model.jnt_range[j] if model.jnt_limited[j] else (-1.0, 1.0)
            rest = model.qpos0[model.jnt_qposadr[j]]
            angle = rng.uniform(low, high)
            data.qpos[model.jnt_qposadr[j]], angles[model.joint(j).name] = angle, angle - rest
    mujoco.mj_forward(model, data)
    frames = frames_of(path, angles)
    for body, frame in frames.items():
        np.testing.assert_allclose(frame.place, data.body(body).xpos, atol=1e-9)
        np.testing.assert_allclose(frame.rotation, data.body(body).xmat.reshape(3, 3), atol=1e-9)
    scene, option = mujoco.MjvScene(model, 10), mujoco.MjvOption()
    mujoco.mjv_updateScene(model, data, option, None, mujoco.MjvCamera(), 7, scene)
    shown = scene.skinvert.reshape(-1, 3)
    skin = read_skn(next(path.parent.glob('*.skn')))
    size = np.ptp(rig.vertices, axis=0).max()
    np.testing.assert_allclose(skin.posed(frames), shown, atol=1e-6 * size)


def _stripped(mujoco, path):
    """What MuJoCo can compile without the files that are missing: bodies, joints and the skin."""
    from xml.etree.ElementTree import tostring

    root = read_mjcf_document(path).root
    for tag in ('sensor', 'contact', 'actuator', 'tendon', 'visual', 'size', 'asset'):
        for element in root.findall(tag):
            root.remove(element)
    for parent in root.iter():
        for element in [e for e in parent if e.tag in ('geom', 'camera', 'light')]:
            parent.remove(element)
    for compiler in root.findall('compiler'):
        compiler.attrib.pop('meshdir', None)
        compiler.attrib.pop('texturedir', None)
        compiler.attrib |= {'boundmass': '1', 'boundinertia': '1'}
    skin = next(path.parent.glob('*.skn'))
    text = tostring(root, encoding='unicode')
    text = text.replace('<worldbody>', f'<asset><skin file="{skin.name}"/></asset><worldbody>', 1)
    return mujoco.MjModel.from_xml_string(text, {skin.name: skin.read_bytes()})


BAD = {
    'entities': (lambda t: '<!DOCTYPE x [<!ENTITY a "b">]>' + t, 'no document type'),
    'elsewhere': (lambda t: t.replace('parts/defaults', '../../secret'), 'must lie inside'),
    'defaults are missing': (
        lambda t: t.replace('parts/def', 'parts/no'),
        "got 'leg'. Is an included file missing",
    ),
    'cut short': (lambda t: t[:900], 'must be XML; it is not at line'),
    'no MuJoCo': (lambda t: t.replace('mujoco', 'robot'), 'must be <mujoco>; got <robot>'),
    'no such body': (lambda t: t.replace('"neck"', '"throat"'), "'neck' is none.*1 of 5"),
    'no such file': (lambda t: t.replace('beast.skn', 'other.skn'), 'its file must be there; looked for'),
    'a range upside down': (lambda t: t.replace('-20 40', '40 -20'), 'hip_yaw: range must rise'),
    'two turns': (lambda t: t.replace('quat=', 'euler="0 0 1" quat='), 'quat and euler'),
    'no numbers': (lambda t: t.replace('0.1 0 0.5', '0.1 0'), 'pos must be 3 finite numbers'),
    'too deep': (
        lambda t: t.replace('<light', '<frame>' * 600 + '</frame>' * 600 + '<light'),
        'nesting must be at most',
    ),
    'a name twice': (lambda t: t.replace('"shin_L"', '"thigh_L"'), "'thigh_L' twice"),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_models_are_told_in_words(beast, name, tmp_path):
    change, words = BAD[name]
    path = write_beast(tmp_path, frames_of(beast), change(MODEL))
    with pytest.raises(ValueError, match=words):
        read_rig(path)


def test_bad_skins_are_told_in_words(beast, tmp_path):
    path = write_beast(tmp_path, frames_of(beast))
    whole = (tmp_path / 'beast.skn').read_bytes()
    for data, words in (
        (whole[:-5], 'must hold what it announces'),
        (whole + b'1234', '4 bytes follow'),
        (whole[:16] + np.full(1, np.nan, '<f4').tobytes() + whole[20:], 'finite'),
        (b'', 'must hold what it announces'),
    ):
        (tmp_path / 'beast.skn').write_bytes(data)
        with pytest.raises(ValueError, match=words):
            read_rig(path)
    (tmp_path / 'beast.skn').unlink()
    path.write_text(MODEL.replace('<skin name="skin" file="beast.skn"/>', ''))
    with pytest.raises(ValueError, match='must name a skin.*no .skn file beside it'):
        read_rig(path)


def run(capsys, *words):
    assert main([str(w) for w in words]) == 0
    return capsys.readouterr().out


def next_of(shown):
    """The command that a command's last line tells."""
    last = shown.strip().splitlines()[-1]
    assert last.startswith('next: smilfit ')
    return shlex.split(last.removeprefix('next: smilfit '))


def test_a_rat_goes_from_its_files_to_a_fit(real_data, tmp_path, capsys, monkeypatch):
    """Four commands, each as the one before prints it, and its animation; the first 30 frames of the recording."""
    from scipy.io import loadmat

    monkeypatch.chdir(tmp_path)
    folder = real_data / 'rat_keypoints'
    names = [str(n[0]) for n in loadmat(folder / 'rat23.mat')['joint_names'][0]]
    xyz = loadmat(folder / 'test_rodent_mocap_1000_frames.mat')['pred'][:30].transpose(0, 2, 1)
    np.savez('rat walk.npz', xyz=xyz, names=names, fps=50.0)
    words = ['--keypoints', folder / 'rodent.yaml', '--recording', 'rat walk.npz']
    out = run(capsys, 'model', 'import', folder / 'rodent.xml', 'rat.smil.json', *words)
    assert 'rodent_walker_skin.skn' in out
    step = next_of(out)
    assert step == [
        'landmarks',
        'rat.smil.json',
        'rat walk.npz',
        'rat walk_lookup.csv',
        '--format',
        'points3d',
    ]
    out = run(capsys, *step)
    assert 'taken for mm below' in out
    step = next_of(out)
    assert step[:4] == ['preprocess', 'points3d', 'rat walk.npz', 'rat walk.h5']
    assert step[-2:] == ['--unit', 'mm']
    with open(step[step.index('--joint-lookup') + 1], newline='') as table:
        rows = [r for r in csv.DictReader(table) if r['data']]
    assert all(r['model'] == r['data'] for r in rows)
    assert len(rows) == 23
    step = next_of(run(capsys, *step))
    assert step == ['fit', 'configs/fit/points3d_lm.py', '--data', 'rat walk.h5', '--out', 'rat walk_fit']
    step = next_of(run(capsys, *step, '--no-video', '--no-verdict', '--meshes', 'none'))
    run(capsys, *step)
    made = tmp_path / 'rat walk_fit_animation'
    assert next(made.glob('*/animation.glb')).read_bytes()[:4] == b'glTF'
    assert next(made.glob('*/joint_angles.csv')).read_text().count('\n') == 31
    model = tmp_path / 'rat.smil.json'
    (tmp_path / 'rat walk_fit').rename(tmp_path / 'fit')
    result = FitResult.load(next((tmp_path / 'fit').glob('*/fit.npz')))
    far = result.keypoints3d.select(names).xyz.numpy() - xyz
    assert np.sqrt((far**2).sum(-1).mean()) < 2.0, 'mm'
    data = load_body_model_data(model)
    own = own_components(result.params.body_pose.double(), torch.as_tensor(data.joint_axes[1:]))
    low, high = torch.as_tensor(data.joint_limits[1:]).unbind(-1)
    beyond = torch.rad2deg((low - own).relu() + (own - high).relu())
    assert beyond[:, low == high].max() < 0.1
    assert beyond.max() < 3
    assert (
        json.loads(next((tmp_path / 'fit').glob('*/landmarks.json')).read_text())['landmarks']['EarL']['sd']
        > 0
    )
