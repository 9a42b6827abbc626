"""Every hostile body model file is refused by a sentence that names it, in bounded time and memory."""

from tests.hostile.hostile_models import hostile_models
from tests.hostile.judges import judge_model
from tests.hostile.sandbox import run_cases

CALL = 'tests.hostile.reading_calls:read_model'


def test_hostile_models_are_refused(tmp_path):
    files = hostile_models(tmp_path)
    assert len(files) >= 170
    whole = {'whole': tmp_path / 'whole.npz', 'json': tmp_path / 'whole.smil.json'}
    result = run_cases(CALL, whole | files, seconds=5.0)
    assert result.pop('json').outcome == 'accepted'
    reference = result.pop('whole')
    assert reference.outcome == 'accepted', reference
    wrong = {name: judge_model(case, files[name], reference.value) for name, case in result.items()}
    assert {name: reason for name, reason in wrong.items() if reason} == {}
    assert result.keys() == files.keys()
