"""The worker that compares two checkouts runs a case, and says what failed instead of ending."""

import pytest

from benchmarks.before_after.worker import answer


def test_a_case_gives_its_time_and_its_figure_again_and_again():
    made = {}
    asked = {'case': 'silhouette, visible, 64 px'}
    first, second = (answer(asked, made) for _ in range(2))
    assert first['seconds'] > 0
    assert first['figure'] == pytest.approx(second['figure'])
    assert set(made) == {asked['case']}


def test_a_case_that_fails_is_answered_by_its_error():
    assert 'KeyError' in answer({'case': 'no such case'}, {})['error']
