"""Intervals by whole sessions hold what they should, and paired ones find what single ones cannot."""

from dataclasses import replace

import numpy as np
import pytest

from smilfit.evaluation import BenchmarkResult, Intervals, benchmark_metrics, paired_differences
from smilfit.evaluation.benchmark_result import Figure, figures_of
from smilfit.evaluation.metric_words import resampled, resampling_of


def _result(offset: np.ndarray, noise: float = 0.1, seed: int = 0) -> BenchmarkResult:
    """Predictions that miss by an offset of each session's own, 20 frames each."""
    rng = np.random.default_rng(seed)
    n, c, k = 20 * len(offset), 2, 3
    session, frame = np.repeat(np.arange(len(offset)), 20), np.tile(np.arange(20), len(offset))
    truth = np.random.default_rng(9).normal(size=(n, k, 3))
    truth2d = np.random.default_rng(8).normal(size=(n, c, k, 2)) * 50
    off = offset[session][:, None, None]
    return BenchmarkResult(
        ('a', 'b', 'c'), ('x', 'y'), 'mm',
        truth2d + 10 * off[:, None] * np.array([1.0, 0]) + noise * rng.normal(size=truth2d.shape),
        truth2d, np.ones((n, c, k), bool), np.broadcast_to(np.eye(2, 3), (n, c, 2, 3)),
        truth + off * np.array([1.0, 0, 0]) + noise * rng.normal(size=truth.shape),
        truth, np.ones((n, k), bool), session, frame, baseline3d=truth.mean(0),
    )  # fmt: skip


def test_a_draw_of_each_group_once_gives_the_figure_itself():
    result = _result(np.random.default_rng(1).random(6))
    by = resampling_of(result.session, result.frame, draws=3)
    by.times[:] = 1
    for figure in figures_of(result.errors(), '', 5, 'mm'):
        tolerance = 0.05 if figure.kind == 'percentile' else 1e-9
        assert resampled(figure, by) == pytest.approx(figure.value(), rel=tolerance)


def test_a_drawn_figure_is_that_of_the_drawn_frames():
    result = _result(np.random.default_rng(1).random(5))
    by = resampling_of(result.session, result.frame, draws=4)
    values = result.errors().world
    for r, times in enumerate(by.times):
        rows = np.concatenate(
            [np.flatnonzero(by.group == g) for g, t in enumerate(times) for _ in range(int(t))]
        )
        for kind, at in (('mean', 0), ('percentile', 75), ('pck', 0.4)):
            drawn = resampled(Figure('x', values, kind, at), by)[r]
            assert drawn == pytest.approx(Figure('x', values[rows], kind, at).value(), rel=0.03), kind


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Sessions differ; an interval by sessions holds the mean of all sessions, one by frames would not."""
    rng, held, by_frames = np.random.default_rng(3), 0, 0
    for _ in range(60):
        values = np.repeat(rng.normal(5, 1, 24), 10)[:, None] + 0.1 * rng.normal(size=(240, 1))
        figure, session = Figure('x', values, 'mean'), np.repeat(np.arange(24), 10)
        low, high = np.quantile(resampled(figure, resampling_of(session, session, 500)), (0.025, 0.975))
        held += low <= 5 <= high
        alone = resampled(figure, resampling_of(np.arange(240), np.arange(240), 500))
        low, high = np.quantile(alone, (0.025, 0.975))
        by_frames += low <= 5 <= high
    assert held >= 51
    assert by_frames <= 40


def test_every_number_has_an_interval_and_says_what_it_rests_on():
    result = _result(np.linspace(0, 1, 10))
    intervals = Intervals.of(result)
    metrics = benchmark_metrics(result)
    for name, (low, high) in intervals.bounds.items():
        assert low <= metrics[name] * 1.01
        assert metrics[name] * 0.99 <= high
    assert set(intervals.bounds) == {name for name in metrics if not name.startswith('n_')}
    assert '10 sessions' in intervals.by
    assert intervals.beside('mpjpe_mm').startswith(' [')
    one = replace(result, session=np.zeros_like(result.session), frame=np.arange(200))
    assert '20 blocks of time, for there is one session only' in Intervals.of(one).by
    assert 'so few' in Intervals.of(_result(np.ones(3))).by


def test_too_few_frames_have_no_interval():
    result = _result(np.ones(1))
    rows = {n: getattr(result, n)[:6] for n in (
        'predicted2d', 'truth2d', 'seen2d', 'to_original', 'predicted3d', 'truth3d', 'seen3d', 'session', 'frame'
    )}  # fmt: skip
    intervals = Intervals.of(replace(result, **rows))
    assert not intervals.bounds
    assert 'must have 10 frames' in intervals.by


def test_a_prediction_that_is_not_finite_makes_the_end_infinite():
    result = _result(np.linspace(0, 1, 10))
    result.predicted3d[5] = np.nan
    assert Intervals.of(result).bounds['mpjpe_mm'][1] == np.inf


def test_paired_differences_see_through_what_sessions_share():
    offset = np.random.default_rng(2).random(12) * 3
    a, b = _result(offset), _result(offset * 0.97, seed=1)
    differences, by = paired_differences(a, b)
    result = {d.name: d for d in differences}
    assert result['mpjpe_mm'].better == 'B'
    assert result['mpjpe_mm'].low < result['mpjpe_mm'].difference < result['mpjpe_mm'].high < 0
    # Each alone is far less sure than their difference.
    low, high = Intervals.of(a).bounds['mpjpe_mm']
    assert high - low > 5 * (result['mpjpe_mm'].high - result['mpjpe_mm'].low)
    assert {d.better for d in paired_differences(b, a)[0] if d.name == 'mpjpe_mm'} == {'A'}
    assert {d.better for d in paired_differences(a, a)[0]} == {None}
    assert '12 sessions' in by


def test_only_the_same_frames_are_compared():
    a = _result(np.ones(4))
    with pytest.raises(ValueError, match='same truth; their truth3d differ'):
        paired_differences(a, replace(a, truth3d=a.truth3d + 1))
    with pytest.raises(ValueError, match='same keypoints'):
        paired_differences(a, replace(a, keypoint_names=('a', 'b', 'd')))
    with pytest.raises(ValueError, match='frames in common'):
        paired_differences(a, replace(a, session=a.session + 9))
