"""Figures show the numbers they were given."""

import json

import numpy as np
import pytest

from smilfit.drawing import (
    Report,
    add_fit_sections,
    figure_png,
    fit_summary,
    plot_bars,
    plot_fit_stages,
    plot_histogram,
    plot_pck_curves,
    plot_skeletons,
    plot_training,
    read_scalars,
)
from smilfit.evaluation import CameraFit, FitBenchmark

HISTORY = [
    {'stage': 'place', 'loss_start': 100.0, 'loss_end': 10.0, 'steps': 5},
    {'stage': 'pose', 'loss_start': 40.0, 'loss_end': 4.0, 'steps': 9},
]


def test_curves_are_the_numbers():
    thresholds = np.arange(1.0, 51.0)
    figure = plot_pck_curves(thresholds, {'model': thresholds / 50, 'baseline': thresholds / 100})
    lines = figure.axes[0].get_lines()
    np.testing.assert_allclose(lines[0].get_ydata(), 2 * thresholds)
    np.testing.assert_allclose(lines[1].get_ydata(), thresholds)
    assert lines[1].get_linestyle() == '--'


def test_a_histogram_says_how_much_lies_beyond():
    values = np.concatenate((np.arange(99.0), [np.inf]))
    figure = plot_histogram({'model': values}, 'x', 't', clip=50)
    text = figure.axes[0].get_legend().get_texts()[0].get_text()
    assert 'median 49.5, 48 % beyond the axis' in text
    assert plot_histogram({'model': np.zeros(0)}, 'x', 't').axes[0].get_legend() is None


def test_bars_have_a_place_for_what_is_missing():
    figure = plot_bars(['a', 'b$'], {'fit': np.array([1.5, np.nan])}, 'px', 't', [3, 0])
    assert [bar.get_width() for bar in figure.axes[0].patches] == [1.5, 0.0]
    labels = [t.get_text() for t in figure.axes[0].texts]
    assert labels == ['1.5', 'none']
    assert figure_png(figure)[:4] == b'\x89PNG'


def test_skeletons_draw_with_gaps():
    truth, predicted = np.random.default_rng(0).normal(size=(2, 4, 3))
    truth[0], predicted[1] = np.nan, np.nan
    figure = plot_skeletons(
        truth, predicted, np.array([np.nan, 10.0, 50.0, 100.0]), 'mm', 't', edges=[(2, 3)]
    )
    assert figure_png(figure)[:4] == b'\x89PNG'


def test_training_curves_come_from_the_log(tmp_path):
    path = tmp_path / 'scalars.json'
    rows = [
        {'lr': 0.1, 'loss': 4.0, 'kp2d_loss': 1.0, 'epoch': 1, 'iter': 1, 'time': 0.2, 'step': 1},
        {'lr': 0.05, 'loss': 2.0, 'kp2d_loss': 0.5, 'epoch': 1, 'iter': 2, 'time': 0.2, 'step': 2},
        {'pck_5px_original': 0.5, 'mpjpe_mm': 3.0, 'mpjpe_p99_mm': 9.0, 'n_samples': 4, 'step': 1},
    ]
    path.write_text('\n'.join(json.dumps(row) for row in rows) + '\n')
    scalars = read_scalars(path)
    np.testing.assert_array_equal(scalars['loss'], [[1, 2], [4, 2]])
    assert 'time' not in scalars
    figure = plot_training(scalars)
    assert [axes.get_title() for axes in figure.axes] == [
        'loss',
        'learning rate',
        'validation: share of keypoints (PCK)',
        'validation: 3D error',
    ]
    assert figure.axes[0].get_yscale() == 'log'
    assert len(figure.axes[3].get_lines()) == 1


def test_a_cut_log_is_named(tmp_path):
    (tmp_path / 's.json').write_text('{"loss": 1.0}\n{"loss": 1')
    with pytest.raises(ValueError, match='line 2 must be a JSON object'):
        read_scalars(tmp_path / 's.json')


def test_stage_losses_are_drawn():
    figure = plot_fit_stages(HISTORY)
    assert [list(line.get_ydata()) for line in figure.axes[0].get_lines()] == [[100.0, 10.0], [40.0, 4.0]]


def test_a_fit_report_holds_every_camera():
    benchmark = FitBenchmark(
        (CameraFit('back', 10, 8.0, 20.0, 9, 8.0, 4.0, 6.0), CameraFit('side', 0, None, None)),
        5,
        5,
        'mm',
        ('nose', 'tail'),
        (1.0, None),
        {'mpjpe_mm': 2.5},
    )
    text = ' '.join(fit_summary(benchmark))
    assert '2.00 times the 4.0 px of points that are triangulated from the same labels' in text
    assert 'Camera side saw no keypoint.' in text
    assert '2.5 mm on average' in text
    notes = {'ignored <b>': ['x'], 'unmoved': [{'sentence': 'joint sizes: 1 of 3 joints (Ear_L)'}]}
    page = add_fit_sections(Report('fit'), benchmark, HISTORY, notes).html()
    assert page.count('data:image/png') == 3
    assert '<p>Joint sizes: 1 of 3 joints (Ear_L).</p>' in page
    assert 'unmoved' not in page
    assert 'ignored &lt;b&gt;' in page
    assert 'class="legend"' not in page
    image = np.zeros((8, 8, 3), np.uint8)
    assert 'class="legend"' in add_fit_sections(Report('fit'), benchmark, images={'one': image}).html()
