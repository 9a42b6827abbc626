"""Clips of an imported rig move made sessions, and its own skin is seen in them."""

import numpy as np
import pytest
import torch

from smilfit.apis.rig_import import import_rig
from smilfit.apis.synthesizing import SynthesisInputs, synthesize
from smilfit.body_models.pose_sources import read_poses
from smilfit.geometry.rotation import axis_angle_to_rotmat, geodesic_angle
from smilfit.losses import fit_pose_gaussian
from smilfit.rigs import read_clips
from smilfit.synthetic.clip_motion import ClipMotion, resampled
from smilfit.synthetic.session_set import SynthesisOptions
from smilfit.synthetic.skin_texture import SkinTexture
from tests.rigs.test_made_gltf import armature, between


def test_even_frames_go_through_the_keys_and_motion_does_not_jump():
    generator = np.random.default_rng(0)
    times, turns = np.array([0.0, 0.1, 0.5]), 0.3 * generator.standard_normal((3, 4, 3))
    even = resampled(times, turns, 10.0)
    assert len(even) == 6
    keys = axis_angle_to_rotmat(torch.as_tensor(turns))
    torch.testing.assert_close(axis_angle_to_rotmat(even[[0, 1, 5]]), keys)
    motion = ClipMotion([(times, turns), (times, turns[::-1].copy())], 60.0)
    drawn = axis_angle_to_rotmat(motion.motion(200, torch.Generator().manual_seed(0)))
    assert len(drawn) == 200
    assert geodesic_angle(drawn[1:], drawn[:-1]).max() < np.pi / 4


def test_a_texture_gives_the_colour_of_the_place():
    image = np.zeros((2, 2, 3))
    image[0, 1] = [1, 0.5, 0]
    texture = SkinTexture(image, np.array([[0.6, 0.1], [0.9, 0.1], [0.9, 0.4], [np.nan, 0]]))
    corners = np.array([[0, 1, 2], [1, 2, 3]])
    found = texture.colours(corners, np.full((2, 3), 1 / 3))
    np.testing.assert_allclose(found, [[1, 0.5, 0], [0.25, 0.125, 0]])


def test_sessions_are_made_of_clips_and_a_prior_is_fitted_to_them(tmp_path):
    rng = np.random.default_rng(0)
    model = tmp_path / 'worm.smil.json'
    done = import_rig(between(rng).write(tmp_path / 'rig.glb'), model, limits='clips')
    (clip,) = read_clips(done.clips).values()
    np.testing.assert_array_equal(clip.arrays['body_pose'], done.report.clips[0].arrays['body_pose'])
    poses = read_poses(done.clips)
    assert poses.shape == (3, 4, 3)
    assert fit_pose_gaussian(poses.double(), 0.1).mean.shape[-1] == 12
    options = SynthesisOptions(n_sessions=1, n_frames=4, n_cameras=2, size=(48, 32))
    synthesize(model, tmp_path / 'out', options, SynthesisInputs(clips=True))
    with np.load(tmp_path / 'out' / 'session_000' / 'truth.npz') as truth:
        drawn = truth['body_pose']
    assert drawn.shape == (4, 4, 3)
    # Nothing but what the clip does: the joint that it leaves alone stays.
    np.testing.assert_allclose(drawn[:, 3], 0, atol=1e-6)


def test_clips_that_are_not_there_are_asked_for_in_words(tmp_path):
    made = armature(np.random.default_rng(0))
    made.gltf.pop('animations')
    done = import_rig(made.write(tmp_path / 'rig.glb'), tmp_path / 'still.smil.json')
    assert done.clips is None
    with pytest.raises(FileNotFoundError, match='Import a rig that has clips'):
        synthesize(done.model, tmp_path / 'out', SynthesisOptions(n_sessions=1), SynthesisInputs(clips=True))
    with pytest.raises(ValueError, match='limits from clips must have clips'):
        import_rig(tmp_path / 'rig.glb', tmp_path / 'other.smil.json', limits='clips')
    with pytest.raises(FileExistsError, match='--force'):
        import_rig(tmp_path / 'rig.glb', done.model)
