"""The page of rigs, command by command: a rigged .glb and a MuJoCo model become a fitted recording with an animation.

The commands are those that `docs/rigs.md` states. What they are run on here is made: a newt as exporters
write it, and an insect of stiff parts.
"""

import re
import shlex
from pathlib import Path

import numpy as np
import torch

from smilfit.body_models import SMIL, load_body_model_data
from smilfit.cli.main import main
from smilfit.geometry.rotation import axis_angle_to_rotmat
from tests.gltf_player import node_matrices, read_glb
from tests.rigs.made_gltf import MadeGltf, column_major

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'rigs.md'
# What makes a run quick and takes nothing of what is asked here.
QUICK = {
    'fit': ['--no-video', '--no-verdict', '--meshes', 'none'],
    'synthesize': ['--frames', '12', '--size', '160', '128', '--quiet'],
}


def run_page(first: str) -> None:
    """Run the block of the page whose first command is given, in the present folder."""
    text = PAGE.read_text(encoding='utf-8')
    blocks = re.findall(r'^```\w*\n(.*?)^```$', text, re.DOTALL | re.MULTILINE)
    (block,) = [b for b in blocks if b.startswith(first)]
    for line in block.splitlines():
        program, *words = shlex.split(line)
        assert program == 'smilfit'
        assert main([*words, *QUICK.get(words[0], [])]) == 0, line


def exported(folder: Path, names: tuple[str, ...]) -> np.ndarray:
    """Read where joints are in every frame of an animation, metres, with no code of the package."""
    (path,) = folder.glob('*/animation.glb')
    document, array = read_glb(path)
    number = {node['name']: i for i, node in enumerate(document['nodes'])}
    keys = len(array(document['animations'][0]['samplers'][0]['input']))
    every = [node_matrices(document, array, key) for key in range(keys)]
    return np.array([[matrices[number[name]][:3, 3] for name in names] for matrices in every])


# Places of a newt's joints, metres: a trunk with a tail, and legs of a thigh, a shin and a foot.
NEWT = {'Hips': ((0, 0, 0), None), 'Chest': ((0, 0, 0.04), 'Hips'), 'Head': ((0, 0.005, 0.07), 'Chest')}
NEWT |= {'Tail': ((0, 0, -0.03), 'Hips'), 'Tail_Tip': ((0, 0, -0.07), 'Tail')}
for _limb, _above, _z in (('Front', 'Chest', 0.04), ('Hind', 'Hips', 0.0)):
    for _side, _s in (('L', 1), ('R', -1)):
        NEWT[f'{_limb}_Upper_{_side}'] = ((0.01 * _s, 0, _z), _above)
        NEWT[f'{_limb}_Lower_{_side}'] = ((0.025 * _s, 0, _z + 0.003), f'{_limb}_Upper_{_side}')
        NEWT[f'{_limb}_Foot_{_side}'] = ((0.03 * _s, -0.014, _z), f'{_limb}_Lower_{_side}')


def write_newt(path: Path) -> None:
    """Write the newt with a clip in which it walks: a spindle about every bone, weights of two joints."""
    made, names = MadeGltf(), list(NEWT)
    places = np.array([place for place, _ in NEWT.values()], float)
    parents = [names.index(above) if above else -1 for _, above in NEWT.values()]
    nodes = [{'name': n, 'translation': (places[j] - places[parents[j]] * (parents[j] >= 0)).tolist()}
             for j, n in enumerate(names)]  # fmt: skip
    for j, parent in enumerate(parents):
        if parent >= 0:
            nodes[parent].setdefault('children', []).append(j)
    corners, faces, slots, weights = [], [], [], []
    around = 0.004 * np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    for j, parent in enumerate(parents):
        if parent < 0:
            continue
        start, centre = sum(map(len, corners)), (places[j] + places[parent]) / 2
        corners.append(np.concatenate((places[[parent, j]], centre + around)))
        ring = [(2, 3), (3, 4), (4, 5), (5, 2), (2, 6), (4, 7)]
        faces += [(start + end, start + a, start + b) for a, b in ring for end in (0, 1)]
        slots.append(np.tile([parent, j, 0, 0], (8, 1)))
        weights.append(np.array([[1, 0, 0, 0], [0, 1, 0, 0], *[[0.5, 0.5, 0, 0]] * 6]))
    attributes = {
        'POSITION': made.add(np.concatenate(corners)),
        'JOINTS_0': made.add(np.concatenate(slots), 'u1'),
        'WEIGHTS_0': made.add(np.concatenate(weights)),
    }
    bind = np.tile(np.eye(4), (len(names), 1, 1))
    bind[:, :3, 3] = -places
    index = made.add(np.array(faces).ravel(), 'u2')
    made.gltf |= {
        'meshes': [{'primitives': [{'attributes': attributes, 'indices': index}]}],
        'skins': [{'joints': list(range(len(names))), 'inverseBindMatrices': made.add(column_major(bind))}],
        'nodes': [*nodes, {'name': 'skin', 'mesh': 0, 'skin': 0}],
    }
    times, tracks = np.arange(25) / 24, []
    for j, name in enumerate(names):
        side, hind = name.endswith('_R'), name.startswith('Hind')
        angle = 0.5 * np.sin(2 * np.pi * times + np.pi * (side != hind)) * (0.4 if '_' not in name else 1)
        axis = np.array([1.0, 0, 0]) if 'Lower' in name else np.array([0, 1.0, 0])
        if name not in ('Hips', 'Head', 'Tail_Tip') and 'Foot' not in name:
            q = np.concatenate((np.sin(angle / 2)[:, None] * axis, np.cos(angle / 2)[:, None]), 1)
            tracks.append((j, 'rotation', times, q, 'LINEAR'))
    made.animate('Walk', tracks)
    made.write(path)


def test_a_rigged_glb_becomes_a_fitted_recording_with_an_animation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_newt(tmp_path / 'fox.glb')
    run_page('smilfit model import fox.glb')
    with np.load(tmp_path / 'made' / 'session_000' / 'truth.npz') as truth:
        wanted, names = truth['joints'] / 1000, tuple(map(str, truth['joint_names']))
    result = exported(tmp_path / 'animation', names)
    assert result.shape == wanted.shape
    length = np.ptp(wanted, axis=1).max()
    far = np.linalg.norm(result - wanted, axis=-1) / length
    assert np.median(far) < 0.01
    assert np.quantile(far.mean(1), 0.98) < 0.015
    # It walks as it did: seen from the hips, feet go to and fro.
    feet = [names.index(n) for n in names if 'Foot' in n]
    steps, truth = (np.ptp(x[:, feet] - x[:, :1], axis=0) / length for x in (result, wanted))
    assert truth.max() > 0.1
    np.testing.assert_allclose(steps, truth, atol=0.02)


LEG = """
      <body name="coxa_{s}{n}" pos="{x} {y} 0">
        <joint axis="0 0 1" range="-40 40"/><joint axis="1 0 0" range="-30 30"/>
        <geom fromto="0 0 0 0 {r} 0"/>
        <body name="femur_{s}{n}" pos="0 {r} 0"><joint axis="1 0 0" range="-60 60"/>
          <geom fromto="0 0 0 0 {f} 0.05"/>
          <body name="tibia_{s}{n}" pos="0 {f} 0.05"><joint axis="1 0 0" range="-60 60"/>
            <geom fromto="0 0 0 0 {r} -0.15"/><site name="claw_{s}{n}" pos="0 {r} -0.15"/>
          </body></body></body>"""


def write_insect(path: Path) -> None:
    """Write a six-legged animal of capsules, in centimetres, without a skin."""
    legs = ''.join(
        LEG.format(s=side, n=n, x=0.08 - 0.08 * n, y=0.05 * sign, r=0.05 * sign, f=0.12 * sign)
        for n in range(3) for side, sign in (('L', 1), ('R', -1))
    )  # fmt: skip
    path.write_text(
        '<mujoco model="insect"><compiler angle="degree"/><option gravity="0 0 -981"/>'
        '<default><geom type="capsule" size="0.012"/></default><worldbody><body name="thorax"><freejoint/>'
        '<geom type="ellipsoid" size="0.12 0.05 0.05"/>'
        '<body name="head" pos="0.13 0 0.02"><joint axis="0 1 0" range="-30 30"/><geom type="sphere" size="0.04"/>'
        '<site name="mouth" pos="0.05 0 0"/></body>'
        '<body name="abdomen" pos="-0.12 0 0"><joint axis="0 1 0" range="-20 40"/>'
        f'<geom fromto="0 0 0 -0.2 0 0"/><site name="tip" pos="-0.2 0 0"/></body>{legs}'
        '</body></worldbody></mujoco>'
    )


def test_a_mujoco_model_becomes_a_fitted_recording_with_an_animation(tmp_path, monkeypatch):
    """Points in space of its joints and sites, in mm, of poses within its limits that change from frame to frame."""
    monkeypatch.chdir(tmp_path)
    write_insect(tmp_path / 'fruitfly.xml')
    # The recording is made of the same rig, imported for that; the page begins with the rig's own file.
    assert main(['model', 'import', 'fruitfly.xml', 'truth.smil.json']) == 0
    data = load_body_model_data(tmp_path / 'truth.smil.json')
    body, rng, frames = SMIL(data).double(), np.random.default_rng(0), 20
    low, high = np.asarray(data.joint_limits[1:]).transpose(2, 0, 1)
    phase = rng.random(low.shape)
    swing = 0.5 + 0.35 * np.sin(2 * np.pi * (np.arange(frames)[:, None, None] / frames + phase))
    own = low + (high - low) * swing
    # Axes are not stored where they are the model's own.
    axes = np.tile(np.eye(3), (data.n_joints, 1, 1)) if data.joint_axes is None else data.joint_axes
    pose = np.einsum('jab,tjb->tja', axes[1:], own)
    going = np.linspace(0, 1, frames)[:, None] * [0.5, 0.1, 0]
    params = body.zero_params(frames).replace(
        body_pose=torch.as_tensor(pose), transl=torch.as_tensor(going), global_orient=torch.zeros(frames, 3).double()
    )  # fmt: skip
    out = body(params, ('joints', 'vertices'))
    wanted = out.joints.numpy()
    carried = [(n, data.joint_names.index(m.bone), m.offset) for n, m in data.landmarks.items()]
    assert {n for n, _, _ in carried} >= {'mouth', 'tip', 'claw_L0', 'claw_R2'}
    sites = []
    for _, joint, offset in carried:
        rotation, at = torch.eye(3).double().expand(frames, 3, 3), joint
        while at >= 0:
            rotation = axis_angle_to_rotmat(torch.as_tensor(pose[:, at - 1])) @ rotation if at else rotation
            at = int(data.parents[at])
        sites.append(wanted[:, joint] + (rotation @ torch.tensor(offset).double()).numpy())
    xyz = 10 * np.concatenate((wanted, np.stack(sites, 1)), 1) + rng.normal(scale=0.01, size=(frames, 1, 3))
    names = [*data.joint_names, *(n for n, _, _ in carried)]
    np.savez(tmp_path / 'points.npz', xyz=xyz, names=names)
    run_page('smilfit model import fruitfly.xml')
    result = exported(tmp_path / 'animation', data.joint_names)
    length = np.ptp(wanted[0], axis=0).max() / 100
    far = np.linalg.norm(result - wanted / 100, axis=-1) / length
    assert np.median(far) < 0.005
    assert far.max() < 0.03
    assert np.ptp(result - result[:, :1], axis=0).max() > 0.1 * length
    (table,) = (tmp_path / 'animation').glob('*/joint_angles.csv')
    assert table.read_text().count('\n') == frames + 1
