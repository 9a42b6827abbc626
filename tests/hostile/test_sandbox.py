"""The sandbox tells a refusal from a value, a crash, a hang and a process that fills the memory."""

import pytest

from tests.hostile.sandbox import run_cases

CALL = 'tests.hostile.hostile_calls:end_as_asked'


def test_every_ending_is_reported(tmp_path):
    names = ('fine', 'refuse', 'crash', 'hang', 'leave', 'fill', 'grow')
    result = run_cases(CALL, {name: tmp_path / name for name in names}, seconds=2.0, memory_mib=1024)
    assert {name: o.outcome for name, o in result.items()} == {
        'fine': 'accepted',
        'refuse': 'refused',
        'crash': 'crash',
        'hang': 'timeout',
        'leave': 'crash',
        'fill': 'memory',
        'grow': 'accepted',
    }
    assert result['fine'].value == {'fine': 1}
    assert result['refuse'].message == f'{tmp_path / "refuse"}: outer'
    assert 'ValueError' in result['refuse'].families
    assert result['refuse'].causes == ('KeyError',)
    assert (result['crash'].kind, result['leave'].kind) == ('SIGSEGV', 'exit 3')
    assert 190 < result['grow'].peak_mib < 400


def test_an_unknown_function_is_reported(tmp_path):
    with pytest.raises(RuntimeError, match='no_such_function'):
        run_cases('tests.hostile.hostile_calls:no_such_function', {'a': tmp_path})
