"""The folder holds what it promises, and its raw errors are the metrics' errors."""

import json

import numpy as np
import pytest

from smilfit.drawing import benchmark_figures, write_benchmark_folder
from smilfit.drawing.benchmark_report import (
    benchmark_summary,
    benchmark_text,
    headline_numbers,
    metric_rows,
)
from smilfit.evaluation import benchmark_metrics
from tests.drawing.conftest import make_result

ALWAYS = {
    'benchmark_report.txt',
    'report.html',
    'intervals.json',
    'metrics.json',
    'pck_curve.png',
    'error_histogram.png',
    'camera_errors.png',
    'keypoint_errors.png',
    'errors_2d_px_original.npy',
    'errors_2d_px_network.npy',
}
IN_3D = {'mpjpe_histogram.png', 'keypoint_errors_3d.png'}
SAMPLES = {f'sample_{i:02d}_3d_keypoints_percentiles.png' for i in range(4)}


def test_the_folder_is_complete_and_reloads(result, tmp_path):
    page = write_benchmark_folder(result, tmp_path / 'b', edges=[('nose', 'paw & toe')])
    assert {p.name for p in (tmp_path / 'b').iterdir()} == ALWAYS | IN_3D | SAMPLES | {'errors_3d_mm.npy'}
    metrics = json.loads((tmp_path / 'b' / 'metrics.json').read_text())
    assert metrics == pytest.approx(benchmark_metrics(result))
    original = np.load(tmp_path / 'b' / 'errors_2d_px_original.npy', allow_pickle=False)
    network = np.load(tmp_path / 'b' / 'errors_2d_px_network.npy', allow_pickle=False)
    world = np.load(tmp_path / 'b' / 'errors_3d_mm.npy', allow_pickle=False)
    assert original.shape == result.seen2d.shape
    np.testing.assert_array_equal(np.isnan(original), ~result.seen2d)
    np.testing.assert_array_equal(np.isnan(world), ~result.seen3d)
    np.testing.assert_allclose(original, 2 * network, rtol=1e-12)
    assert np.nanmean(world) == pytest.approx(metrics['mpjpe_mm'])
    assert np.mean(original[result.seen2d] <= 5) == pytest.approx(metrics['pck_5px_original'])
    text = page.read_text(encoding='utf-8')
    assert '<script' not in text
    assert text.count('data:image/png') == 10


def test_an_unknown_unit_is_shown_everywhere(tmp_path):
    result = make_result(unit=None)
    text = (
        write_benchmark_folder(result, tmp_path).with_name('benchmark_report.txt').read_text(encoding='utf-8')
    )
    assert (tmp_path / 'errors_3d_unknown_unit.npy').exists()
    assert 'The unit of length of this data is not known' in text
    assert ' mm' not in text
    assert '_mm' not in text


def test_without_3d_truth_there_are_no_3d_figures(tmp_path):
    result = make_result(with_3d=False)
    assert not any('3d' in name or 'mpjpe' in name for name in benchmark_figures(result))
    assert 'No true 3D keypoints' in ' '.join(benchmark_summary(result, benchmark_metrics(result)))


def test_the_baseline_stands_beside_every_number_it_has(result):
    metrics = benchmark_metrics(result)
    rows = {row['']: row for row in metric_rows(result, metrics)}
    assert len(rows) == 13
    for row in rows.values():
        assert row['model'] is not None
        assert row['baseline'] is not None
    assert rows['MPJPE (mm)']['baseline'] == metrics['mpjpe_baseline_mm']
    text = benchmark_text(result, metrics, 'T')
    for word in ('By camera', 'left "A"', 'By keypoint', 'mpjpe_p99_mm', 'PA-MPJPE: '):
        assert word in text


def test_the_verdict_follows_the_strongest_trivial_answer(result):
    metrics = benchmark_metrics(result)
    assert ', better than the' in benchmark_summary(result, metrics)[1]
    assert not any('One pose for all' in text for text in benchmark_summary(result, metrics))
    # Far better than the baseline, and no better than the mean pose.
    worse = metrics | {'pa_mpjpe_mm': 6.94, 'pa_mpjpe_baseline_mm': 24.5, 'pa_mpjpe_mean_pose_mm': 6.49}
    text = benchmark_summary(result, worse)
    assert ', no better than the 6.49 mm of the mean pose' in text[2]
    assert text[-1].startswith('One pose for all frames is as good or better by: error of the pose alone')
    notes = {label: note for _, label, note in headline_numbers(result, worse)}
    assert notes['error of the pose alone (PA-MPJPE)'].startswith('NO BETTER than 6.49 mm of the mean pose')
    assert notes['mean 3D error (MPJPE)'].startswith('better than')
    rows = {row['']: row['better than all'] for row in metric_rows(result, worse)}
    assert (rows['PA-MPJPE (mm)'], rows['MPJPE (mm)']) == ('NO', 'yes')


def test_images_have_a_legend(result, tmp_path):
    assert 'class="legend"' not in write_benchmark_folder(result, tmp_path).read_text(encoding='utf-8')
    image = np.zeros((8, 8, 3), np.uint8)
    page = write_benchmark_folder(result, tmp_path, images={'one': image})
    assert page.read_text(encoding='utf-8').count('class="legend"') == 1


def test_an_unknown_edge_is_named(result, tmp_path):
    with pytest.raises(KeyError, match=r"no keypoint 'nsoe'\. Did you mean 'nose'"):
        write_benchmark_folder(result, tmp_path, edges=[('nsoe', 'nose')])
