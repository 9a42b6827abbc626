"""Animals of stiff parts: geoms of a MuJoCo model become its skin, where MuJoCo has them, and move as its bodies."""

import struct

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from smilfit.body_models import SMIL
from smilfit.rigs import build_model, read_rig
from smilfit.rigs.mjcf.bodies import posed_frames, read_bodies, rest_frames
from smilfit.rigs.mjcf.document import read_mjcf_document
from smilfit.rigs.mjcf.geoms import SIZES, solid

# A beetle: every kind of solid, meshes in three ways, turns by class and by geom, what is not shown.
BEETLE = """<mujoco model="beetle">
  <compiler angle="degree" meshdir="parts"/>
  <option gravity="0 0 -981"/>
  <default>
    <mesh scale="0.1 0.1 -0.1"/>
    <geom type="capsule" size="0.02 9 9" euler="10 20 30"/>
    <default class="hidden"><geom group="3" rgba="1 0 0 1"/></default>
  </default>
  <asset>
    <mesh file="horn.obj"/>
    <mesh name="shield" file="shield.msh" refpos="1 2 3" refquat="1 0.2 0 0"/>
    <mesh name="eye" scale="0.05 0.05 0.05" vertex="0 0 0  1 0 0  0 1 0  0 0 1"/>
  </asset>
  <worldbody>
    <geom type="plane" size="1 1 1"/>
    <body name="thorax" pos="0.1 0 0.2" euler="0 15 0">
      <freejoint/>
      <geom type="ellipsoid" size="0.2 0.1 0.1"/>
      <geom type="mesh" mesh="shield" quat="1 0 1 0" pos="0 0 0.1"/>
      <geom class="hidden" type="box" size="1 1 1"/>
      <geom type="box" size="0.5 0.5 0.5" rgba="0 0 0 0"/>
      <body name="head" pos="0.3 0 0">
        <joint axis="0 1 0" range="-30 40"/>
        <frame pos="0 0 0.05" euler="0 0 45">
          <geom type="mesh" mesh="horn" euler="0 0 0"/>
          <geom type="mesh" mesh="eye" pos="0.1 0 0"/>
        </frame>
        <geom type="sphere" size="0.08"/>
      </body>
      <body name="femur_L" pos="0 0.1 0">
        <joint name="hip" axis="1 0 0" range="-50 50"/>
        <geom fromto="0 0 0 0.1 0.3 -0.1"/>
        <geom type="cylinder" fromto="0.1 0.3 -0.1 0.1 0.3 0" size="0.03"/>
        <geom type="box" size="0.02 0.03 0.04" pos="0 0.2 0"/>
      </body>
    </body>
    <body name="dung"><freejoint/><geom type="sphere" size="0.3"/></body>
  </worldbody>
</mujoco>
"""
HORN = 'v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 2\nf 1 3 2\nf 1 2 4\nf 2 3 4\nf 3 1 4\n'


def write_beetle(folder, text=BEETLE):
    (folder / 'parts').mkdir(exist_ok=True)
    (folder / 'parts' / 'horn.obj').write_text(HORN)
    corners = np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 1.5]])[[0, 2, 1, 0, 1, 3, 1, 2, 3, 2, 0, 3]]
    faces = np.arange(12).astype('<i4')
    counts = struct.pack('<4i', len(corners), 0, 0, 4)
    (folder / 'parts' / 'shield.msh').write_bytes(counts + corners.astype('<f4').tobytes() + faces.tobytes())
    path = folder / 'beetle.xml'
    path.write_text(text)
    return path


def volume(vertices, faces):
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return (a * np.cross(b, c)).sum() / 6


@pytest.mark.parametrize('kind', SIZES)
def test_a_solid_is_closed_and_turned_outwards(kind):
    size = np.array([0.3, 0.5, 0.7])
    vertices, faces = solid(kind, size, 'here')
    radius, half, _ = size
    wanted = {
        'sphere': 4 / 3 * np.pi * radius**3,
        'ellipsoid': 4 / 3 * np.pi * size.prod(),
        'capsule': np.pi * radius**2 * (4 / 3 * radius + 2 * half),
        'cylinder': 2 * np.pi * radius**2 * half,
        'box': 8 * size.prod(),
    }[kind]
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), 1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()
    assert 0.93 * wanted < volume(vertices, faces) < 1.0001 * wanted


def test_shown_geoms_are_the_skin_of_the_animal(tmp_path):
    rig = read_rig(write_beetle(tmp_path))
    assert rig.joint_names == ('thorax', 'head', 'femur_L')
    assert rig.unit == 'cm'
    notes = ' | '.join(rig.notes)
    assert (
        'the model has no skin: the 8 geoms that MuJoCo shows are the mesh, each stiff on its body' in notes
    )
    assert '2 geoms are not shown' in notes
    assert 'no skin hangs on it: dung' in notes
    # Corners on one place are one vertex: the mesh of twelve corners has four.
    shield = rig.weights.rows[rig.weights.cols == 0][-4:]
    frame = rest_frames(read_bodies(read_mjcf_document(tmp_path / 'beetle.xml'))[0])[0]
    inside = (rig.vertices[shield] - frame.place) @ frame.rotation - [0, 0, 0.1]
    np.testing.assert_allclose(np.linalg.norm(inside, axis=1).min(), 0.1 * np.sqrt(14), rtol=0.5)
    assert volume(rig.vertices, rig.faces) > 0


def test_parts_move_with_their_bodies(tmp_path):
    path = write_beetle(tmp_path)
    data, report = build_model(read_rig(path))
    bodies, _ = read_bodies(read_mjcf_document(path))
    rest = {b.name: f for b, f in zip(bodies, rest_frames(bodies))}
    now = {b.name: f for b, f in zip(bodies, posed_frames(bodies, {'hip': 0.6, 'head_joint0': -0.4}))}
    body = SMIL(data).double()
    pose = torch.zeros(1, 2, 3, dtype=torch.float64)
    pose[0, 0] = -0.4 * torch.as_tensor(rest['head'].rotation[:, 1])
    pose[0, 1] = 0.6 * torch.as_tensor(rest['femur_L'].rotation[:, 0])
    result = body(body.zero_params(1).replace(body_pose=pose), ('vertices',)).vertices[0].numpy()
    for j, name in enumerate(data.joint_names):
        mine = data.weights.rows[data.weights.cols == j]
        assert (data.weights.values[data.weights.cols == j] == 1).all()
        rotation = now[name].rotation @ rest[name].rotation.T
        truth = (data.v_template[mine] - rest[name].place) @ rotation.T + now[name].place
        np.testing.assert_allclose(result[mine], truth, atol=1e-9 * report.size)


def test_geoms_are_where_mujoco_has_them(tmp_path):
    mujoco = pytest.importorskip('mujoco', reason='mujoco is not installed')
    path = write_beetle(tmp_path)
    model = mujoco.MjModel.from_xml_path(str(path))
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    rig = read_rig(path)
    kinds = mujoco.mjtGeom
    tested = 0
    for g in range(model.ngeom):
        name, kind, size = model.body(model.geom_bodyid[g]).name, int(model.geom_type[g]), model.geom_size[g]
        shown = model.geom_group[g] < 3 and model.geom_rgba[g, 3] > 0
        if name not in rig.joint_names or not shown:
            continue
        place, rotation = data.geom_xpos[g], data.geom_xmat[g].reshape(3, 3)
        if kind == kinds.mjGEOM_MESH:
            k = model.geom_dataid[g]
            start, count = model.mesh_vertadr[k], model.mesh_vertnum[k]
            marks = model.mesh_vert[start : start + count]
        else:
            r, h = size[0], size[1]
            marks = {
                int(kinds.mjGEOM_SPHERE): r * np.eye(3),
                int(kinds.mjGEOM_ELLIPSOID): np.diag(size),
                int(kinds.mjGEOM_CAPSULE): np.array([[0, 0, h + r], [0, 0, -h - r], [r, 0, h]]),
                int(kinds.mjGEOM_CYLINDER): np.array([[0, 0, h], [r, 0, h], [0, r, -h]]),
                int(kinds.mjGEOM_BOX): np.array([size, -size]),
            }[kind]
        mine = rig.vertices[rig.weights.rows[rig.weights.cols == rig.joint_names.index(name)]]
        far = cKDTree(mine).query(marks @ rotation.T + place)[0]
        assert far.max() < 1e-6, (name, kind, far)
        tested += 1
    assert tested == 8


BAD = {
    'missing files': (lambda t: t.replace('shield.msh', 'no.msh'),
                      '1 are not: no.msh. Copy them beside it'),
    'no such mesh': (lambda t: t.replace('mesh="eye" pos', 'mesh="eyes" pos'), "must name a <mesh>.*'eyes'"),
    'files elsewhere': (lambda t: t.replace('horn.obj', '../../horn.obj'), 'must lie inside'),
    'another format': (lambda t: t.replace('horn.obj', 'horn.dae'), 'must be there'),
    'no size': (lambda t: t.replace('type="sphere" size="0.08"', 'type="sphere" size="0"'), 'numbers above 0'),
    'another kind': (lambda t: t.replace('type="cylinder"', 'type="cone"'), "'cone'. Leave it out"),
    'a flat hull': (lambda t: t.replace('0 0 1"/>', '1 1 0"/>'), 'must span a body'),
    'no numbers': (lambda t: t.replace('vertex="0 0 0 ', 'vertex="0 0 '), 'rows of 3 numbers'),
    'nothing to see': (lambda t: t.replace('<geom ', '<geom group="4" ').replace('group="4" group', 'group'),
                       'or have geoms that are shown'),
}  # fmt: skip


@pytest.mark.parametrize('name', BAD)
def test_bad_geoms_are_told_in_words(name, tmp_path):
    change, words = BAD[name]
    with pytest.raises(ValueError, match=words):
        read_rig(write_beetle(tmp_path, change(BEETLE)))


def test_a_mesh_that_was_cut_short_is_refused(tmp_path):
    path = write_beetle(tmp_path)
    mesh = tmp_path / 'parts' / 'shield.msh'
    mesh.write_bytes(mesh.read_bytes()[:-4])
    with pytest.raises(ValueError, match='must hold what it announces'):
        read_rig(path)


def test_the_skin_of_another_animal_in_the_folder_is_not_this_one_s(tmp_path):
    from tests.rigs.small_mjcf import BODIES, skin_bytes

    path = write_beetle(tmp_path)
    (tmp_path / 'rat.skn').write_bytes(skin_bytes({name: (np.eye(3), np.zeros(3)) for name in BODIES}))
    assert any('has no skin' in note for note in read_rig(path).notes)
