"""Every hostile dataset file is refused by a sentence that names it, in bounded time and memory; none is believed."""

from pathlib import Path

import pytest

from benchmarks.reliability.hostile_smilify import hostile_smilify_files
from benchmarks.reliability.hostile_stores import hostile_stores
from benchmarks.reliability.sandbox import Outcome, run_cases

CALLS = 'benchmarks.reliability.reading_calls'
ADVICE = ('copy it again', 'ake it anew', 'ake the file anew', 'Update smilfit', 'Run preprocessing again')
ADVICE += ('Make one with', 'Make the file from', 'in smaller pieces')


def judge(case: Outcome, path: Path, whole: str) -> str:
    """Say what is wrong with the outcome of a hostile file; nothing is."""
    may_be_read = case.name.startswith(('flip', 'harmless'))
    if case.outcome == 'accepted' and may_be_read:
        return '' if case.value == whole else 'other values than the whole file'
    if case.outcome != 'refused':
        return f'{case.outcome} {case.kind} {case.output}'
    if not {'ValueError', 'KeyError', 'OSError'} & set(case.families):
        return f'a {case.kind}: {case.message}'
    if not case.message.startswith(f'{path}: '):
        return f'the file is not named: {case.message}'
    if not case.message.endswith('.') or not any(advice in case.message for advice in ADVICE):
        return f'no advice: {case.message}'
    # A reader that ran out of memory had believed the file.
    return 'it took all memory first' if 'MemoryError' in case.causes else ''


@pytest.mark.parametrize(
    ('make', 'call', 'least'),
    [(hostile_stores, 'read_store', 250), (hostile_smilify_files, 'read_smilify', 35)],
)
def test_hostile_files_are_refused(make, call, least, tmp_path):
    files = make(tmp_path)
    assert len(files) >= least
    found = run_cases(f'{CALLS}:{call}', {'whole': tmp_path / 'whole.h5'} | files, seconds=5.0)
    whole = found.pop('whole')
    assert whole.outcome == 'accepted', whole
    wrong = {name: judge(case, files[name], whole.value) for name, case in found.items()}
    assert {name: reason for name, reason in wrong.items() if reason} == {}
    assert found.keys() == files.keys()
