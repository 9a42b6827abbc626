"""Metrics against numbers worked out by hand, and what must not change them."""

import numpy as np
import pytest

from smilfit.evaluation import (
    align_similarity,
    by_group,
    distances,
    length_text,
    mean_error,
    mpjpe,
    pa_distances,
    pa_mpjpe,
    pck,
    pck_curve,
    percentiles,
    to_mm,
    unit_suffix,
)


def random_rotation(generator):
    q, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def test_distances_of_a_3_4_5_triangle():
    predicted = np.array([[0.0, 0.0], [3.0, 4.0], [np.nan, 1.0], [7.0, 7.0]])
    truth = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [np.nan, np.nan]])
    result = distances(predicted, truth, np.array([True, True, True, False]))
    np.testing.assert_array_equal(result, [0.0, 5.0, np.inf, np.nan])


def test_pck_by_hand():
    errors = np.array([1.0, 4.0, 5.0, 5.1, 20.0, 0.0])
    weights = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    assert pck(errors, weights, 5.0) == pytest.approx(3 / 5)
    assert pck(errors, np.array([0.0, 0.0, 0.0, 3.0, 1.0, 0.0]), 6.0) == pytest.approx(3 / 4)


def test_curve_agrees_with_pck_rises_and_ends_at_one():
    generator = np.random.default_rng(0)
    errors = generator.uniform(0, 50, (7, 3, 5))
    errors[0, 0, 0] = 4.0  # a tie with a threshold counts as reached
    weights = generator.uniform(0, 1, errors.shape) * (generator.uniform(size=errors.shape) > 0.3)
    curve = pck_curve(errors, weights)
    assert len(curve) == 50
    assert (np.diff(curve) >= 0).all()
    assert curve[-1] == 1.0
    np.testing.assert_allclose(curve, [pck(errors, weights, t) for t in range(1, 51)], atol=1e-12)


def test_what_is_missing_never_counts():
    generator = np.random.default_rng(1)
    predicted, truth = generator.normal(size=(2, 6, 5, 3))
    seen = generator.uniform(size=(6, 5)) > 0.4
    before = (mpjpe(predicted, truth, seen), pa_mpjpe(predicted, truth, seen))
    truth[~seen] = np.nan
    predicted[~seen] = 1e6
    assert (mpjpe(predicted, truth, seen), pa_mpjpe(predicted, truth, seen)) == pytest.approx(
        before, rel=1e-9
    )
    values = np.array([1.0, np.nan, 3.0])
    weights = np.array([True, False, True])
    assert mean_error(values, weights) == 2.0
    assert pck(values, weights, 2.0) == 0.5


def test_nothing_seen_gives_nan_not_zero():
    errors, weights = np.full((2, 3), np.nan), np.zeros((2, 3), bool)
    assert np.isnan(mean_error(errors, weights))
    assert np.isnan(pck(errors, weights, 5.0))
    assert np.isnan(pck_curve(errors, weights)).all()
    assert np.isnan(percentiles(errors, weights)).all()


def test_a_nan_error_that_counts_is_refused():
    with pytest.raises(ValueError, match='must be numbers where the weight is above 0; got 1 NaN'):
        mean_error(np.array([np.nan]), np.array([1.0]))


def test_a_broken_prediction_is_a_miss_not_a_gap():
    predicted = np.zeros((1, 4, 3))
    predicted[0, 0] = np.nan
    truth = np.array([[[0.0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]])
    seen = np.ones((1, 4), bool)
    errors = distances(predicted, truth, seen)
    assert pck(errors, seen, 5.0) == 0.75
    assert mpjpe(predicted, truth, seen) == np.inf
    assert pa_distances(predicted, truth, seen)[0, 0] == np.inf
    np.testing.assert_array_equal(percentiles(errors, seen, (50, 100)), [0.0, np.inf])


def test_mpjpe_by_hand():
    truth = np.zeros((2, 2, 3))
    predicted = np.array([[[3.0, 4, 0], [0, 0, 1]], [[0, 0, 0], [0, 2, 0]]])
    assert mpjpe(predicted, truth, np.ones((2, 2), bool)) == pytest.approx(2.0)
    assert mpjpe(predicted, truth, np.array([[True, False], [True, True]])) == pytest.approx(7 / 3)


def test_pa_mpjpe_does_not_see_a_similarity_and_mpjpe_does():
    generator = np.random.default_rng(2)
    truth = generator.normal(size=(5, 8, 3))
    seen = generator.uniform(size=(5, 8)) > 0.2
    noise = 0.05 * generator.normal(size=truth.shape)
    moved = np.stack(
        [3.0 * (frame + n) @ random_rotation(generator).T + 7.0 for frame, n in zip(truth, noise)]
    )
    assert pa_mpjpe(moved, truth, seen) == pytest.approx(pa_mpjpe(truth + noise, truth, seen), rel=1e-9)
    assert mpjpe(moved, truth, seen) > 1.0
    exact = np.stack([0.2 * frame @ random_rotation(generator).T - 2.0 for frame in truth])
    assert pa_mpjpe(exact, truth, seen) < 1e-12


def test_alignment_is_the_least_squares_one():
    generator = np.random.default_rng(3)
    source, target = generator.normal(size=(2, 1, 6, 3))
    weights = np.ones((1, 6))
    best = ((align_similarity(source, target, weights) - target) ** 2).sum()
    for _ in range(200):
        scale, rotation = generator.uniform(0.0, 2.0), random_rotation(generator)
        other = scale * source @ rotation.T
        other += (target - other).mean(1, keepdims=True)
        assert ((other - target) ** 2).sum() >= best


def test_a_mirror_image_is_not_aligned_away():
    truth = np.random.default_rng(4).normal(size=(1, 8, 3))
    assert pa_mpjpe(truth * np.array([-1.0, 1, 1]), truth, np.ones((1, 8), bool)) > 0.1


def test_a_prediction_without_extent_is_as_wrong_as_the_spread_of_the_truth():
    truth = np.random.default_rng(5).normal(size=(1, 8, 3))
    collapsed = np.full((1, 8, 3), 4.0)
    spread = np.linalg.norm(truth - truth.mean(1, keepdims=True), axis=-1).mean()
    assert pa_mpjpe(collapsed, truth, np.ones((1, 8), bool)) == pytest.approx(spread)


def test_two_points_cannot_be_aligned():
    truth = np.random.default_rng(6).normal(size=(2, 4, 3))
    seen = np.array([[True, True, False, False], [True, True, True, False]])
    errors = pa_distances(truth + 1.0, truth, seen)
    assert np.isnan(errors[0]).all()
    np.testing.assert_allclose(errors[1, :3], 0.0, atol=1e-12)
    assert np.isnan(errors[1, 3])


def test_percentiles_by_hand():
    errors = np.arange(101.0)
    np.testing.assert_allclose(percentiles(errors, errors >= 0), [50, 75, 90, 95, 99])


def test_groups_are_along_the_axis_asked_for():
    errors = np.array([[[1.0, np.nan], [3.0, 5.0]], [[2.0, 2.0], [np.nan, np.nan]]])  # N C K
    valid = ~np.isnan(errors)
    mean, median, count = by_group(errors, valid, axis=1)
    np.testing.assert_allclose(mean, [5 / 3, 4.0])
    np.testing.assert_allclose(median, [2.0, 4.0])
    np.testing.assert_array_equal(count, [3, 2])
    mean, _, count = by_group(errors, valid, axis=2)
    np.testing.assert_allclose(mean, [2.0, 3.5])
    np.testing.assert_array_equal(count, [3, 2])


def test_units_are_stated_or_refused():
    assert unit_suffix('mm') == 'mm'
    assert unit_suffix(None) == 'unknown_unit'
    assert length_text(1.23456, 'mm') == '1.23 mm'
    assert length_text(1.23456, None) == '1.23 (unknown unit)'
    assert to_mm(2.0, 'cm') == 20.0
    with pytest.raises(ValueError, match='the unit must be one of mm, cm, m, um for lengths in mm; got None'):
        to_mm(2.0, None)
