"""The baselines are the means they say they are."""

import numpy as np
import pytest

from smilfit.evaluation import mean_pose, mpjpe, pa_mpjpe, place_at_truth, trivial_baseline


def test_the_mean_is_over_frames_that_have_the_keypoint():
    xyz = np.zeros((3, 2, 3))
    xyz[:, 0, 0] = [1.0, 2.0, 900.0]
    seen = np.array([[True, False], [True, False], [False, False]])
    result = trivial_baseline(xyz, seen)
    np.testing.assert_allclose(result[0], [1.5, 0, 0])
    assert np.isnan(result[1]).all()


def test_no_training_keypoints_is_an_error():
    with pytest.raises(ValueError, match='must have 3D keypoints; got none'):
        trivial_baseline(np.zeros((2, 3, 3)), np.zeros((2, 3), bool))
    with pytest.raises(ValueError, match='at least 3 keypoints in 3D; the fullest has 0'):
        mean_pose(np.zeros((2, 3, 3)), np.zeros((2, 3), bool))


def test_the_mean_pose_keeps_its_shape_where_the_plain_mean_shrinks():
    generator = np.random.default_rng(0)
    pose = generator.normal(size=(6, 3))
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    turns = np.stack([[[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]] for a in angle])
    xyz = pose @ np.swapaxes(turns, 1, 2) + generator.normal(size=(12, 1, 3))
    seen = generator.uniform(size=(12, 6)) > 0.15
    seen[0] = True
    result = mean_pose(xyz, seen)
    everywhere = np.ones((1, 6), bool)
    assert pa_mpjpe(result[None], pose[None], everywhere) < 1e-9
    assert pa_mpjpe(trivial_baseline(xyz)[None], pose[None], everywhere) > 0.1
    np.testing.assert_allclose(result.std(), xyz[0].std(), rtol=0.2)


def test_placing_moves_the_centroid_only():
    generator = np.random.default_rng(1)
    pose = generator.normal(size=(4, 3))
    truth = pose + generator.normal(size=(3, 1, 3))
    seen = np.array([[True] * 4, [True, True, False, False], [False] * 4])
    placed = place_at_truth(pose, truth, seen)
    np.testing.assert_allclose(placed[:2], truth[:2], atol=1e-12)
    assert mpjpe(placed, truth, seen) < 1e-12
