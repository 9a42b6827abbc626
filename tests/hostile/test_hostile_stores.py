"""Every hostile dataset file is refused by a sentence that names it, in bounded time and memory; none is believed."""

import pytest

from tests.hostile.hostile_smilify import hostile_smilify_files
from tests.hostile.hostile_stores import hostile_stores
from tests.hostile.judges import judge_store
from tests.hostile.sandbox import run_cases

CALLS = 'tests.hostile.reading_calls'


@pytest.mark.parametrize(
    ('make', 'call', 'least'),
    [(hostile_stores, 'read_store', 250), (hostile_smilify_files, 'read_smilify', 35)],
)
def test_hostile_files_are_refused(make, call, least, tmp_path):
    files = make(tmp_path)
    assert len(files) >= least
    result = run_cases(f'{CALLS}:{call}', {'whole': tmp_path / 'whole.h5'} | files, seconds=5.0)
    whole = result.pop('whole')
    assert whole.outcome == 'accepted', whole
    wrong = {name: judge_store(case, files[name], whole.value) for name, case in result.items()}
    assert {name: reason for name, reason in wrong.items() if reason} == {}
    assert result.keys() == files.keys()
