"""Command lines that cannot work are refused in a sentence, before anything is written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.bad_inputs import CASES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def outcomes(tmp_path_factory):
    """What every case did; a fresh interpreter pays the imports once and forks for each."""
    report_file = tmp_path_factory.mktemp('bad_inputs') / 'report.json'
    done = subprocess.run(
        [sys.executable, '-m', 'tests.hostile.bad_inputs', '--json', str(report_file)],
        cwd=ROOT,
        env=os.environ | {'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert report_file.is_file(), done.stdout + done.stderr
    return json.loads(report_file.read_text())


def test_there_are_many_and_no_two_of_one_name():
    assert len(CASES) >= 150
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize('case', CASES, ids=lambda case: case.name)
def test_it_is_refused_in_a_sentence(case, outcomes):
    result = outcomes['cases'][case.name]
    assert not result['faults'], f'{case.line}\n{result["err"][-2000:]}'


def test_no_input_is_changed_and_nothing_was_run(outcomes):
    assert outcomes['changed'] == []
