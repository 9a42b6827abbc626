"""One animal through Blender in every format: the rig that comes back is the one that its glTF has."""

import numpy as np
import pytest

from smilfit.body_models import load_body_model_data
from smilfit.io.meshes.gltf_animation import Motion, SkinnedMesh, write_gltf_animation
from smilfit.rigs import Rig, build_model, read_rig
from smilfit.rigs.blender import run_in_blender
from tests.rigs.blender.conftest import HERE
from tests.rigs.blender.rig_comparison import assert_same_at_rest, assert_same_motion

FILES = ['packed.blend', 'animal.fbx', 'animal.dae']


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


def save_in_every_format(source, folder, clip):
    """Save a .glb by Blender, at the rate that a clip has; Collada gets that clip."""
    rate = round(1 / np.diff(clip.times_s).min())
    run_in_blender(HERE / 'save_in_every_format.py', source, folder, clip.name, str(rate))


@pytest.fixture(scope='module')
def truth_and_rigs(blender, tmp_path_factory):
    """The rig that glTF's reader makes of an animal, and those that come back from every other format."""
    folder = tmp_path_factory.mktemp('formats')
    truth = read_rig(write_animal(folder / 'animal.glb'))
    save_in_every_format(folder / 'animal.glb', folder, truth.clips[0])
    return truth, {name: read_rig(folder / name) for name in FILES}


@pytest.mark.parametrize('name', FILES)
def test_an_animal_comes_back_as_its_gltf_has_it(truth_and_rigs, name):
    truth, rigs = truth_and_rigs
    assert_same_at_rest(rigs[name], truth)
    (clip,), (true_clip,) = rigs[name].clips, truth.clips
    # Collada names none.
    assert name.endswith('.dae') or clip.name == true_clip.name
    assert_same_motion(rigs[name], clip, truth, true_clip)
    # Blender's own skin at a frame of the clip is the linear one: nothing is told.
    assert not rigs[name].notes


def test_the_model_of_it_is_that_of_the_gltf(truth_and_rigs):
    truth, rigs = truth_and_rigs
    data, report = build_model(rigs['animal.fbx'])
    true, true_report = build_model(truth)
    assert (data.joint_names, data.parents.tolist()) == (true.joint_names, true.parents.tolist())
    assert report.counts == true_report.counts
    assert report.symmetry.pairs == true_report.symmetry.pairs


@pytest.mark.real
@pytest.mark.parametrize(('name', 'files'), [('fox', FILES[1:]), ('spider', FILES[:1])])
def test_rigs_of_others_come_back(real_data, blender, tmp_path, name, files):
    source = real_data / 'rigs' / 'mesh2motion' / f'{name}.glb'
    truth = read_rig(source)
    save_in_every_format(source, tmp_path, truth.clips[1])
    for file in files:
        rig = read_rig(tmp_path / file)
        assert_same_at_rest(rig, truth)
        assert_texture_kept(rig, truth)
        if file.endswith('.dae'):
            assert len(rig.clips) == 1
            continue
        assert [c.name for c in rig.clips] == [c.name for c in truth.clips]
        for clip, true_clip in zip(rig.clips, truth.clips):
            # Between two keys alone every frame is taken. The fox's stretched bones cost twice what others do.
            if len(true_clip.times_s) > 2:
                assert_same_motion(rig, clip, truth, true_clip, 3e-5)


def assert_texture_kept(rig: Rig, truth: Rig) -> None:
    assert rig.texture is not None
    np.testing.assert_allclose(rig.uv, truth.uv, atol=1e-6)
