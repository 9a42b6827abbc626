"""The metric: a perfect predictor, the baseline itself, resolutions, counts, files, errors."""

import numpy as np
import pytest
import torch

from smilfit.evaluation import BenchmarkResult, MultiViewPoseMetric, benchmark_metrics
from smilfit.evaluation.benchmark_result import map_pixels
from smilfit.evaluation.metric_words import strongest_baselines
from smilfit.registry import build_metric


def with_meta(meta, **kwargs):
    metric = MultiViewPoseMetric(**kwargs)
    metric.dataset_meta = meta
    return metric


def test_a_perfect_predictor_scores_perfectly(world, meta):
    result = world.run(with_meta(meta), world.truth3d, world.truth2d)
    for name in ('pck_5px_original', 'pck_5px_network', 'pck_auc_original', 'pck_auc_network'):
        assert result[name] == 1.0
    for name in ('mpjpe_mm', 'mpjpe_p99_mm', 'pa_mpjpe_mm', 'median_error_px_original'):
        assert result[name] == pytest.approx(0.0, abs=1e-9)
    assert result['mpjpe_baseline_mm'] > 0.5
    assert result['pck_baseline_5px_original'] < 0.9
    assert result['n_samples'] == 6
    assert result['n_keypoints_3d'] == int(world.confidence3d.sum())
    assert result['n_keypoints_2d'] == int((world.confidence2d * world.view_mask.unsqueeze(-1)).sum())


def test_a_predictor_of_the_baseline_scores_as_the_baseline(world, meta):
    baseline = torch.tensor(meta['baseline'], dtype=torch.float64)
    predicted3d = baseline.expand(6, 5, 3)
    result = world.run(with_meta(meta), predicted3d, world.cameras.project(predicted3d)[0])
    for name, of_baseline in (
        ('mpjpe_mm', 'mpjpe_baseline_mm'),
        ('pa_mpjpe_mm', 'pa_mpjpe_baseline_mm'),
        ('pck_5px_original', 'pck_baseline_5px_original'),
        ('pck_auc_network', 'pck_auc_baseline_network'),
        ('median_error_px_original', 'median_error_baseline_px_original'),
    ):
        assert result[name] == pytest.approx(result[of_baseline], rel=1e-9)
    assert result['mpjpe_baseline_at_true_position_mm'] < result['mpjpe_baseline_mm']


def test_the_original_resolution_is_the_crop_times_its_enlargement(world, meta):
    metric = with_meta(meta)
    shifted = world.truth2d + torch.tensor([3.0, 4.0]).double()
    result = world.run(metric, world.truth3d, shifted)
    errors = metric.result.errors()
    seen = metric.result.seen2d
    np.testing.assert_allclose(errors.px_network[seen], 5.0, rtol=1e-12)
    expected = np.broadcast_to(np.array([10.0, 15.0])[None, :, None], seen.shape)
    np.testing.assert_allclose(errors.px_original[seen], expected[seen], rtol=1e-12)
    assert result['median_error_px_network'] == pytest.approx(5.0)
    assert result['pck_5px_original'] == 0.0


def test_an_affine_map_with_rotation_is_exact():
    rng = np.random.default_rng(0)
    pixels, affine = rng.normal(size=(2, 3, 4, 2)), rng.normal(size=(2, 3, 2, 3))
    by_hand = affine[1, 2, :, :2] @ pixels[1, 2, 3] + affine[1, 2, :, 2]
    np.testing.assert_allclose(map_pixels(pixels, affine)[1, 2, 3], by_hand, rtol=1e-12)


def test_points_that_nobody_saw_change_nothing(world, meta):
    before = world.run(with_meta(meta), world.truth3d + 0.1, world.truth2d + 1.0)
    unseen = (world.confidence2d == 0) | ~world.view_mask.unsqueeze(-1)
    predicted2d = torch.where(unseen.unsqueeze(-1), torch.tensor(1e5).double(), world.truth2d + 1.0)
    predicted3d = torch.where(world.confidence3d.unsqueeze(-1) > 0, world.truth3d + 0.1, 1e5)
    after = world.run(with_meta(meta), predicted3d, predicted2d)
    assert after == pytest.approx(before, rel=1e-9)


def test_predictions_that_are_not_finite_are_counted_as_misses(world, meta):
    predicted2d = world.truth2d.clone()
    predicted2d[0] = torch.nan
    result = world.run(with_meta(meta), world.truth3d, predicted2d)
    lost = int(world.confidence2d[0].sum())
    assert result['n_predictions_not_finite'] == lost
    assert result['pck_5px_original'] == pytest.approx(1 - lost / result['n_keypoints_2d'])


def test_an_unknown_unit_never_becomes_millimetres(world, meta):
    result = world.run(with_meta(meta | {'unit': None}), world.truth3d, world.truth2d)
    assert 'mpjpe_unknown_unit' in result
    assert not any(name.endswith('_mm') for name in result)


def test_without_true_3d_there_is_no_mpjpe(world, meta):
    world.confidence3d[:] = 0.0
    result = world.run(with_meta(meta), world.truth3d, world.truth2d)
    assert not any('mpjpe' in name for name in result)
    assert result['n_keypoints_3d'] == 0
    assert result['pck_5px_original'] == 1.0


def test_a_baseline_keypoint_that_training_never_had_is_a_miss_not_a_crash(world, meta):
    baseline = np.array(meta['baseline'])
    baseline[2] = np.nan
    result = world.run(with_meta(meta | {'baseline': baseline}), world.truth3d, world.truth2d)
    assert result['mpjpe_baseline_mm'] == np.inf
    assert np.isfinite(result['mpjpe_mm'])


def test_images_alone_have_a_trivial_answer_too(world, meta, caplog):
    """Of keypoints without 3D truth the mean place in the training images is what a model must beat."""
    shares = world.truth2d.mean(0) / 128
    places = {'left': shares[0].tolist(), 'elsewhere': shares[1].tolist()}
    names = {k: meta[k] for k in ('keypoint_names', 'camera_names')}
    world.confidence3d[:] = 0
    metric = with_meta(names, mean_place=places)
    result = world.run(metric, world.truth3d, world.truth2d + 1.0)
    assert 'numbers stand alone' not in caplog.text
    assert 'unit is not known' not in caplog.text
    assert not [name for name in result if 'mpjpe' in name]
    errors = metric.result.errors('mean_place').px_network
    assert np.isinf(errors[:, 1][metric.result.seen2d[:, 1]]).all()
    seen = metric.result.seen2d[:, 0]
    wanted = (world.truth2d.mean(0)[0] - world.truth2d[:, 0]).norm(dim=-1).numpy()
    np.testing.assert_allclose(errors[:, 0][seen], wanted[seen])
    best = strongest_baselines(result)['median_error_px_original']
    assert (best.source, best.beaten) == ('mean_place', True)


def test_what_lies_outside_of_the_picture_is_as_wrong_as_it_is_far(world, meta):
    """Clamped to the picture, a body that was put elsewhere would be flattered."""
    metric = with_meta(meta)
    world.run(metric, world.truth3d, world.truth2d - 1e4)
    seen = metric.result.seen2d
    assert metric.result.errors().px_network[seen] == pytest.approx(1e4 * np.sqrt(2))


def test_arguments_stand_in_for_the_dataset(world, meta):
    metric = build_metric({'type': 'MultiViewPoseMetric', **meta, 'threshold_px': 10.0})
    result = world.run(metric, world.truth3d, world.truth2d)
    assert result['pck_10px_original'] == 1.0


def test_the_result_survives_its_file(world, meta, tmp_path):
    metric = with_meta(meta, out_file=tmp_path / 'deep' / 'benchmark.npz')
    result = world.run(metric, world.truth3d + 0.1, world.truth2d + 1.0)
    loaded = BenchmarkResult.load(tmp_path / 'deep' / 'benchmark.npz')
    assert benchmark_metrics(loaded) == result
    assert loaded.keypoint_names == meta['keypoint_names']
    assert loaded.unit == 'mm'
    assert not list(tmp_path.rglob('*.tmp'))


def test_an_absent_unit_and_baseline_survive_the_file(world, meta, tmp_path):
    metric = with_meta({k: meta[k] for k in ('keypoint_names', 'camera_names')})
    world.run(metric, world.truth3d, world.truth2d)
    loaded = BenchmarkResult.load(metric.result.save(tmp_path / 'b.npz'))
    assert loaded.unit is None
    assert loaded.sources == ('model',)


def test_another_file_is_refused(tmp_path):
    np.savez(tmp_path / 'other.npz', x=np.zeros(3))
    with pytest.raises(ValueError, match="format must be 'smilfit-benchmark' up to version 3; got ''"):
        BenchmarkResult.load(tmp_path / 'other.npz')


def test_errors_name_what_is_missing(world, meta):
    metric = with_meta(meta | {'keypoint_names': None})
    with pytest.raises(ValueError, match='keypoint_names must be known; got None'):
        world.run(metric, world.truth3d, world.truth2d)
    metric = with_meta(meta | {'camera_names': ('one',)})
    with pytest.raises(ValueError, match='the camera names must be 2, as in the predictions; got 1'):
        world.run(metric, world.truth3d, world.truth2d)
    with pytest.raises(ValueError, match='at least one test sample; got none'):
        with_meta(meta).compute_metrics([])
    with pytest.raises(ValueError, match='must hold the given cameras as "inputs"'):
        with_meta(meta).process(None, world.outputs(world.truth3d, world.truth2d, slice(0, 1)))
    perfect = with_meta(meta)
    world.run(perfect, world.truth3d, world.truth2d)
    with pytest.raises(KeyError, match="no 'modle' here"):
        perfect.result.errors('modle')
