"""Clips of an imported rig move made sessions, and its own skin is seen in them."""

import numpy as np
import pytest
import torch

from smilfit.body_models.pose_sampling import read_poses
from smilfit.drawing.skin_texture import SkinTexture
from smilfit.geometry.rotation import axis_angle_to_rotmat, geodesic_angle
from smilfit.losses import fit_pose_gaussian
from smilfit.rigs import read_clips
from smilfit.rigs.rig_import import import_rig
from smilfit.synthetic.camera_rigs import SharedVolume
from smilfit.synthetic.clip_motion import ClipFrames, ClipMotion, clip_way, resampled, travelled
from smilfit.synthetic.session_set import SynthesisOptions
from smilfit.synthetic.synthesize import SynthesisInputs, synthesize
from tests.rigs.test_made_gltf import armature, between


def frames_of(turns, places=None, betas=None):
    turns = torch.as_tensor(turns)
    places = torch.zeros(len(turns), 3, dtype=torch.float64) if places is None else torch.as_tensor(places)
    betas = torch.zeros(len(turns), 0, dtype=torch.float64) if betas is None else torch.as_tensor(betas)
    return ClipFrames(turns, places, torch.ones(len(turns), dtype=torch.float64), betas)


def test_even_frames_go_through_the_keys_and_motion_does_not_jump():
    generator = np.random.default_rng(0)
    times, turns = np.array([0.0, 0.1, 0.5]), 0.3 * generator.standard_normal((3, 4, 3))
    even = resampled(times, frames_of(turns), 10.0)
    assert len(even) == 6
    keys = axis_angle_to_rotmat(torch.as_tensor(turns))
    torch.testing.assert_close(axis_angle_to_rotmat(even.turns[[0, 1, 5]]), keys)
    motion = ClipMotion([(times, frames_of(turns)), (times, frames_of(turns[::-1].copy()))], 60.0)
    drawn = axis_angle_to_rotmat(motion.motion(200, torch.Generator().manual_seed(0)).turns)
    assert len(drawn) == 200
    assert geodesic_angle(drawn[1:], drawn[:-1]).max() < np.pi / 4


def test_a_clip_that_walks_goes_on_along_the_ground_and_keeps_its_heights():
    """One unit forward a clip, and a hop in its middle; z is up."""
    times, still = np.linspace(0, 1, 11), np.zeros((11, 2, 3))
    places = np.stack((times, 0 * times, 0.3 * np.sin(np.pi * times)), 1)
    motion = ClipMotion([(times, frames_of(still, places))], 10.0, np.array([0.0, 0, 1]))
    drawn = motion.motion(60, torch.Generator().manual_seed(0)).places.numpy()
    steps = np.diff(drawn[:, 0])
    np.testing.assert_allclose(steps, 0.1, atol=0.06)
    assert drawn[-1, 0] > 4.5
    assert abs(drawn[:, 2].max() - 0.3) < 1e-9
    assert drawn[:, 2].min() > -1e-9
    north = torch.as_tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]).double().expand(60, 3, 3)
    frames = frames_of(np.zeros((60, 2, 3)), drawn)
    world = travelled(frames, north, np.array([0.0, 0, 1]), np.array([0.0, 0, 1]), 2.0).numpy()
    np.testing.assert_allclose(world[:, 1], 2 * (drawn[:, 0] - drawn[0, 0]), atol=1e-9)
    np.testing.assert_allclose(world[:, 2], 2 * (drawn[:, 2] - drawn[0, 2]), atol=1e-9)


def test_the_way_of_a_clip_stays_where_cameras_see_it():
    rng = np.random.default_rng(0)
    volume = SharedVolume(rng.uniform(-1, 1, (500, 3)), np.array([0.0, 0, 1]))
    straight = np.linspace([0.0, 0, 0], [1.0, 0, 0.0], 40)
    still = np.zeros((40, 3))
    result = clip_way(straight + 7, still, volume, 10.0, 1.0, True)
    np.testing.assert_allclose(np.diff(result, axis=0), np.diff(straight, axis=0), atol=1e-12)
    np.testing.assert_allclose(result.mean(0), volume.centre)
    # Too far for the cameras, and beside others: what is slow is left to the way.
    for path, alone in ((10 * straight, True), (straight, False)):
        kept = clip_way(path, still, volume, 10.0, 1.0, alone)
        assert np.linalg.norm(kept, axis=1).max() < 0.5 * np.linalg.norm(path[-1])
    # On the spot: along the way, with its own heights.
    hop = np.stack((still[:, 0], still[:, 0], np.sin(np.arange(40))), 1)
    on_the_spot = clip_way(hop, straight, volume, 10.0, 1.0, True)
    np.testing.assert_allclose(on_the_spot, straight + hop - hop.mean(0))


def test_morph_targets_that_clips_move_are_theirs_and_others_the_session_s():
    weights = np.array([[0.0, 0.5], [0.0, 1.0], [0.0, 0.0]])
    motion = ClipMotion([(np.array([0.0, 0.1, 0.2]), frames_of(np.zeros((3, 2, 3)), betas=weights))], 10.0)
    drawn = motion.motion(3, torch.Generator().manual_seed(0))
    betas = motion.with_morphs(torch.full((3, 2), 9.0, dtype=torch.float64), drawn)
    np.testing.assert_allclose(betas, [[9, 0.5], [9, 1.0], [9, 0.0]], atol=1e-12)


def test_a_texture_gives_the_colour_of_the_place():
    image = np.zeros((2, 2, 3))
    image[0, 1] = [1, 0.5, 0]
    texture = SkinTexture(image, np.array([[0.6, 0.1], [0.9, 0.1], [0.9, 0.4], [np.nan, 0]]))
    corners = np.array([[0, 1, 2], [1, 2, 3]])
    result = texture.colours(corners, np.full((2, 3), 1 / 3))
    np.testing.assert_allclose(result, [[1, 0.5, 0], [0.25, 0.125, 0]])


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
