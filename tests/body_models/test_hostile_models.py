"""Every hostile body model file is refused by a sentence that names it, in bounded time and memory."""

from pathlib import Path

from benchmarks.reliability.hostile_models import hostile_models
from benchmarks.reliability.sandbox import Outcome, run_cases

CALL = 'benchmarks.reliability.reading_calls:read_model'


def judge(case: Outcome, path: Path, whole: str) -> str:
    """Say what is wrong with the outcome of a hostile file; nothing is."""
    if case.outcome == 'accepted' and case.name.startswith('flip'):
        return '' if case.value == whole else 'other values than the whole file'
    if case.outcome != 'refused':
        return f'{case.outcome} {case.kind} {case.output}'
    if not {'ValueError', 'KeyError', 'OSError'} & set(case.families):
        return f'a {case.kind}: {case.message}'
    if not case.message.startswith(f'{path}: '):
        return f'the file is not named: {case.message}'
    # Rule, value and advice are sentences; a value alone ends without a full stop or a question mark.
    if not case.message.endswith(('.', '?')) or len(case.message) > len(str(path)) + 600:
        return f'no advice, or endless: {case.message[:600]}'
    if case.output:
        return f'warned: {case.output}'
    # A reader that ran out of memory had believed the file.
    return 'it took all memory first' if 'MemoryError' in case.causes else ''


def test_hostile_models_are_refused(tmp_path):
    files = hostile_models(tmp_path)
    assert len(files) >= 170
    whole = {'whole': tmp_path / 'whole.npz', 'json': tmp_path / 'whole.smil.json'}
    found = run_cases(CALL, whole | files, seconds=5.0)
    assert found.pop('json').outcome == 'accepted'
    reference = found.pop('whole')
    assert reference.outcome == 'accepted', reference
    wrong = {name: judge(case, files[name], reference.value) for name, case in found.items()}
    assert {name: reason for name, reason in wrong.items() if reason} == {}
    assert found.keys() == files.keys()
