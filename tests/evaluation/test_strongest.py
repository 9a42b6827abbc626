"""Beside each number stands the best of the trivial answers, and whether the model is better."""

import numpy as np
import pytest
import torch

from smilfit.evaluation import (
    MultiViewPoseMetric,
    mean_pose,
    pa_mpjpe,
    place_at_prediction,
    strongest_baselines,
    trivial_baseline,
)


def test_the_best_answer_is_the_least_error_and_the_largest_share():
    metrics = {
        'val/pa_mpjpe_mm': 6.94,
        'val/pa_mpjpe_baseline_mm': 24.5,
        'val/pa_mpjpe_mean_pose_mm': 6.49,
        'val/pck_5px_original': 0.5,
        'val/pck_baseline_5px_original': 0.1,
        'val/pck_mean_pose_at_predicted_place_5px_original': 0.4,
        'val/mpjpe_p90_mm': 3.0,
        'val/mpjpe_p90_baseline_at_true_position_mm': 3.0,
        'val/mpjpe_mm': 1.0,
        'n_samples': 4,
    }
    result = strongest_baselines(metrics)
    assert list(result) == ['val/pa_mpjpe_mm', 'val/pck_5px_original', 'val/mpjpe_p90_mm']
    pose = result['val/pa_mpjpe_mm']
    assert (pose.source, pose.value, pose.beaten) == ('mean_pose', 6.49, False)
    assert pose.sentence == 'NO BETTER than 6.49 of the mean pose, aligned as the prediction is'
    assert (
        pose.sentence_of_lengths('mm')
        == 'NO BETTER than 6.49 mm of the mean pose, aligned as the prediction is'
    )
    assert result['val/pck_5px_original'].value == 0.4
    assert result['val/pck_5px_original'].beaten
    # Equal is not better.
    assert not result['val/mpjpe_p90_mm'].beaten


def test_a_pose_put_at_a_prediction_has_its_place_heading_and_size():
    rng = np.random.default_rng(0)
    pose = rng.normal(size=(5, 3))
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    predicted = np.stack([2.0 * pose @ rotation.T + [1, 2, 3], np.full((5, 3), np.nan)])
    predicted[0, 4] = np.nan
    placed = place_at_prediction(pose, predicted)
    np.testing.assert_allclose(placed[0, :4], predicted[0, :4], atol=1e-9)
    # A keypoint that was not predicted is where the pose has it.
    np.testing.assert_allclose(placed[0, 4], 2.0 * pose[4] @ rotation.T + [1, 2, 3], atol=1e-9)
    assert np.isnan(placed[1]).all()


def test_a_predictor_that_only_finds_the_place_is_no_better_than_the_mean_pose_there(world):
    rng = np.random.default_rng(1)
    training = rng.normal(size=(20, 5, 3))
    pose = mean_pose(training)
    seen = world.confidence3d.numpy() > 0
    truth = np.where(seen[..., None], world.truth3d.numpy(), np.nan)
    predicted = torch.from_numpy(place_at_prediction(pose, truth))
    metric = MultiViewPoseMetric()
    metric.dataset_meta = {
        'keypoint_names': tuple('abcde'),
        'camera_names': ('left', 'right'),
        'unit': 'mm',
        'baseline': trivial_baseline(training),
        'mean_pose': pose,
    }
    usable = predicted.isfinite().all(-1).all(-1)
    world.confidence3d[~usable] = 0.0
    world.confidence2d[~usable] = 0.0
    result = world.run(metric, predicted.nan_to_num(), world.cameras.project(predicted.nan_to_num())[0])
    best = strongest_baselines(result)
    for name in ('mpjpe_mm', 'pa_mpjpe_mm', 'median_error_px_original', 'pck_auc_original'):
        assert not best[name].beaten or best[name].value == pytest.approx(result[name])
    assert result['mpjpe_mm'] == pytest.approx(result['mpjpe_mean_pose_at_predicted_place_mm'])
    assert result['pa_mpjpe_mm'] == pytest.approx(
        pa_mpjpe(
            np.broadcast_to(pose, world.truth3d.shape), world.truth3d.numpy(), world.confidence3d.numpy() > 0
        )
    )
    perfect = world.run(metric, world.truth3d, world.truth2d)
    assert all(answer.beaten for answer in strongest_baselines(perfect).values())
