"""What artists' files hold beside a plain rig: taken as Blender shows it, or told, and never run."""

import numpy as np
import pytest

from smilfit.rigs import read_rig
from smilfit.rigs.blender import run_in_blender
from tests.rigs.blender.conftest import HERE
from tests.rigs.blender.rig_comparison import skinned


@pytest.fixture(scope='module')
def scenes(blender, tmp_path_factory):
    folder = tmp_path_factory.mktemp('scenes')
    run_in_blender(HERE / 'make_scenes.py', folder)
    return folder


@pytest.fixture(scope='module')
def plain(scenes):
    """The worm and nothing else."""
    return read_rig(scenes / 'plain.blend')


def to_gltf(points):
    """Return points of Blender's world in glTF's."""
    x, y, z = np.moveaxis(np.asarray(points, float), -1, 0)
    return np.stack((x, z, -y), -1)


def told(rig, words):
    return [note for note in rig.notes if words in note]


def test_a_worm_is_read_as_it_was_made(plain):
    rig = plain
    assert rig.joint_names == ('bone0', 'bone1', 'bone2')
    assert rig.parents.tolist() == [-1, 0, 1]
    np.testing.assert_allclose(rig.rest[:, :3, 3], to_gltf([[0, 0, 0], [1, 0, 0], [2, 0, 0]]), atol=1e-6)
    # Four corners a ring are four vertices: sides of four corners become triangles, nothing is doubled.
    assert (len(rig.vertices), len(rig.faces)) == (16, 28)
    (clip,) = rig.clips
    assert clip.name == 'bend'
    # Two keys with a curve between: every frame, at 24 a second.
    np.testing.assert_allclose(clip.times_s, np.arange(5) / 24, atol=1e-6)
    rotation = clip.joints[-1, 1, :3, :3] @ np.linalg.inv(rig.rest[1, :3, :3])
    assert np.arccos((np.trace(rotation) - 1) / 2) == pytest.approx(0.6, abs=1e-5)
    assert not rig.notes


def test_normals_point_outwards(plain):
    a, b, c = np.moveaxis(plain.vertices[plain.faces], 1, 0)
    volume = np.einsum('fk,fk->', a, np.cross(b, c)) / 6
    assert volume == pytest.approx(3 * 0.16, rel=1e-5)


def test_a_clip_may_move_the_whole_armature(scenes):
    rig = read_rig(scenes / 'walking.blend')
    (clip,) = rig.clips
    walked = clip.joints[-1, 0, :3, 3] - clip.joints[0, 0, :3, 3]
    np.testing.assert_allclose(walked, to_gltf([0, 4, 0]), atol=1e-6)
    assert not rig.notes


def test_of_two_animals_one_is_asked_for(scenes):
    path = scenes / 'two_animals.blend'
    with pytest.raises(
        ValueError, match=r'2 armatures with meshes of their own: left, right. Choose one: .* --armature NAME'
    ):
        read_rig(path)
    rig = read_rig(path, armature='right')
    assert rig.vertices[:, 2].max() < 0
    assert told(rig, 'other armatures are left out: left')
    with pytest.raises(ValueError, match=r"got 'middle'. There are: left, right"):
        read_rig(path, armature='middle')


def test_an_armature_without_a_mesh_is_told(scenes):
    assert told(read_rig(scenes / 'one_of_two.blend'), '1 other armatures are left out: empty')


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('no_mesh', 'must have a mesh that hangs on an armature; got 0 meshes and 1 armatures'),
        ('no_armature', 'got 1 meshes and 0 armatures'),
        ('only_points', 'must have triangles; got none'),
    ],
)
def test_what_is_no_rig_is_refused_with_the_files_name(scenes, name, said):
    with pytest.raises(ValueError, match=rf'{name}.blend: .*{said}'):
        read_rig(scenes / f'{name}.blend')


def test_modifiers_that_build_the_animal_are_applied_and_others_told(scenes):
    rig = read_rig(scenes / 'mirrored.blend')
    # Not smoothed into 25 vertices a side, but whole, and the mirrored side has the weights of its own.
    assert len(rig.vertices) == 8
    assert sorted(rig.vertices[:, 2].round(6).tolist()) == [-0.2] * 4 + [0.2] * 4
    assert np.bincount(rig.weights.rows, rig.weights.values).tolist() == [0.5] * 8
    assert told(rig, 'left out, as they build no part of the skin: 1 Subsurf')


def test_shape_keys_are_displacements_and_move_in_their_clip(scenes):
    rig = read_rig(scenes / 'shape_keys.blend')
    fat, fatter = rig.morphs['fat'], rig.morphs['fatter']
    np.testing.assert_allclose(fat, rig.vertices * 0.5, atol=1e-6)
    # Relative to the other key, not to the basis: one unit outwards.
    np.testing.assert_allclose(np.linalg.norm(fatter[4:], axis=1), 1, atol=1e-5)
    # Bones and shapes play at once, as both are assigned.
    (clip,) = rig.clips
    np.testing.assert_allclose(clip.morph_weights[[0, -1]], [[0, 0], [1, 0]], atol=1e-6)
    assert not rig.notes


def test_meshes_on_bones_move_with_them_and_others_are_told(scenes):
    rig = read_rig(scenes / 'hanging.blend')
    (clip,) = rig.clips
    assert told(rig, '2 meshes without weights move with one joint each: eye on bone2, lid on bone2')
    assert told(rig, '1 meshes hang on no joint and are left out: rock')
    assert len(rig.vertices) == 16 + 3 + 3
    assert set(rig.weights.cols[np.isin(rig.weights.rows, range(16, 22))]) == {2}
    np.testing.assert_allclose(rig.vertices[16], to_gltf([2.5, 0, 1]), atol=1e-5)
    assert np.abs(skinned(rig, clip, 4)[16:] - rig.vertices[16:]).max() > 0.5


def test_controls_move_the_clips_and_are_no_joints(scenes):
    rig = read_rig(scenes / 'controls.blend')
    assert rig.joint_names == ('bone0', 'bone1', 'bone2', 'tip')
    assert told(rig, '1 control bones')
    assert told(rig, 'constraints of bones have moved the clips and are not part of the model: 1 Ik')
    (clip,) = rig.clips
    # What inverse kinematics do is baked.
    assert np.abs(skinned(rig, clip, 4) - rig.vertices).max() > 0.3


def test_no_code_of_a_file_runs(scenes, tmp_path):
    rig = read_rig(scenes / 'code.blend')
    assert not list(scenes.glob('ran_*'))
    # It would have: a reader that trusts the file is all it takes.
    trusting = tmp_path / 'trusting.py'
    trusting.write_text('import bpy, sys\nbpy.ops.wm.open_mainfile(filepath=sys.argv[1], use_scripts=True)\n')
    run_in_blender(trusting, scenes / 'code.blend')
    ran = sorted(scenes.glob('ran_*'))
    assert [path.name for path in ran] == ['ran_driver', 'ran_text']
    for path in ran:
        path.unlink()
    assert told(rig, 'Python code (drivers or scripts), which was not run')
    assert told(rig, '1 drivers')


def test_a_clip_has_nothing_of_what_was_played_before(scenes):
    rig = read_rig(scenes / 'two_clips.blend')
    first, second = rig.clips
    assert (first.name, second.name) == ('first', 'second')
    np.testing.assert_allclose(second.joints[:, 1], np.tile(rig.rest[1], (5, 1, 1)), atol=1e-6)
    np.testing.assert_allclose(first.joints[0], rig.rest, atol=1e-6)


def test_the_scenes_unit_counts(scenes, plain):
    rig = read_rig(scenes / 'centimetres.blend')
    assert rig.unit == 'm'
    np.testing.assert_allclose(rig.vertices * 100, plain.vertices, atol=1e-6)
    np.testing.assert_allclose(
        skinned(rig, rig.clips[0], 3) * 100, skinned(plain, plain.clips[0], 3), atol=1e-5
    )
    np.testing.assert_allclose(np.linalg.det(rig.rest[:, :3, :3]), 1, atol=1e-5)


def test_skinning_that_is_not_linear_is_told_with_its_size(scenes):
    rig = read_rig(scenes / 'preserving_volume.blend')
    assert told(rig, '1 meshes preserve volume (dual quaternions)')
    (note,) = told(rig, 'in the clip bend the skin that Blender shows lies up to')
    assert 0.1 < float(note.split('up to ')[1].split('%')[0]) < 20


def test_textures_are_kept_and_missing_ones_told(scenes, plain):
    rig = read_rig(scenes / 'textured.blend')
    assert rig.texture[:4] == b'\x89PNG'
    assert told(rig, '1 textures are missing or no images: gone.png')
    # Each of the twelve sides has its own corners of the image; the caps have their vertices' first.
    assert len(rig.vertices) > 16
    shown = rig.uv[rig.faces[np.isfinite(rig.uv[rig.faces]).all((1, 2))]]
    assert set(map(tuple, shown.reshape(-1, 2).tolist())) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    first = rig.vertices[rig.faces[0]]
    assert np.isin(first.round(5), plain.vertices.round(5)).all()
