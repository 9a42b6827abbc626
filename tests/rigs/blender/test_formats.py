"""One animal through Blender in every format: the rig that comes back is the one that its glTF has."""

import numpy as np
import pytest

from smilfit.body_models import load_body_model_data
from smilfit.io.gltf_animation import Motion, SkinnedMesh, write_gltf_animation
from smilfit.rigs import Rig, build_model, read_rig
from smilfit.rigs.blender import run_in_blender
from tests.rigs.blender.conftest import HERE
from tests.rigs.blender.rig_comparison import assert_same_at_rest, assert_same_motion

FILES = ['animal.blend', 'packed.blend', 'animal.fbx', 'animal.dae']


def write_animal(path, frames=9, rate=24):
    """Write the shipped insect, a few centimetres long, and a random motion of it."""
    data = load_body_model_data('insect')
    rng, count = np.random.default_rng(0), data.n_joints
    scale = 0.03 / np.ptp(data.v_template, axis=0).max()
    mesh = SkinnedMesh(
        vertices=data.v_template * scale,
        faces=data.faces,
        joints=data.joints * scale,
        parents=data.parents,
        names=data.joint_names,
        weights=data.weights.to_dense(),
    )
    turns = np.concatenate((np.ones((frames, count, 1)), 0.2 * rng.normal(size=(frames, count, 3))), 2)
    turns /= np.linalg.norm(turns, axis=2, keepdims=True)
    return write_gltf_animation(
        path, mesh, Motion(np.arange(frames) / rate, turns, np.zeros((frames, 3)), np.ones(frames))
    )


@pytest.fixture(scope='module')
def saved(blender, tmp_path_factory):
    """The folder with one animal in all formats, and the rig that glTF's reader makes of it."""
    folder = tmp_path_factory.mktemp('formats')
    truth = read_rig(write_animal(folder / 'animal.glb'))
    run_in_blender(HERE / 'save_in_every_format.py', folder / 'animal.glb', folder, truth.clips[0].name)
    return folder, truth


@pytest.mark.parametrize('name', FILES)
def test_an_animal_comes_back_as_its_gltf_has_it(saved, name):
    folder, truth = saved
    rig = read_rig(folder / name)
    assert_same_at_rest(rig, truth)
    (clip,), (true_clip,) = rig.clips, truth.clips
    assert name.endswith('.dae') or clip.name == true_clip.name
    assert_same_motion(rig, clip, truth, true_clip)
    # Blender's own skin at a frame of the clip is the linear one: nothing is told.
    assert not rig.notes


def test_the_model_of_it_is_that_of_the_gltf(saved):
    folder, truth = saved
    data, report = build_model(read_rig(folder / 'animal.fbx'))
    true, true_report = build_model(truth)
    assert (data.joint_names, data.parents.tolist()) == (true.joint_names, true.parents.tolist())
    assert report.counts == true_report.counts
    assert report.symmetry.pairs == true_report.symmetry.pairs


@pytest.mark.real
@pytest.mark.parametrize('name', ['fox', 'spider', 'bird'])
def test_rigs_of_others_come_back_in_every_format(real_data, blender, tmp_path, name):
    source = real_data / 'rigs' / 'mesh2motion' / f'{name}.glb'
    truth = read_rig(source)
    clip = truth.clips[1].name
    run_in_blender(HERE / 'save_in_every_format.py', source, tmp_path, clip)
    true_clips = {c.name: c for c in truth.clips}
    for file in FILES[1:]:
        rig = read_rig(tmp_path / file)
        assert_same_at_rest(rig, truth)
        assert_texture_kept(rig, truth)
        if file.endswith('.dae'):
            assert len(rig.clips) == 1
            continue
        assert [c.name for c in rig.clips] == [c.name for c in truth.clips]
        if file.endswith('.blend') or name != 'fox':
            # The fox has 30 keys a second: FBX export samples at Blender's 24.
            for c in rig.clips:
                if len(true_clips[c.name].times_s) > 2:
                    assert_same_motion(rig, c, truth, true_clips[c.name], 1e-4)


def assert_texture_kept(rig: Rig, truth: Rig) -> None:
    assert rig.texture is not None
    np.testing.assert_allclose(rig.uv, truth.uv, atol=1e-6)
