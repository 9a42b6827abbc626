"""Hostile pickles are refused by a sentence with the file's name, soon, and without taking memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from smilfit.body_models import load_body_model_data, read_pickle
from tests.hostile.hostile_pickles import hostile_pickles
from tests.hostile.pickle_fuzz import check_plain
from tests.hostile.pickle_writer import model
from tests.hostile.sandbox import Outcome, run_cases

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='memory is measured in /proc')


def run_module(*arguments: str, seconds: int) -> list[dict]:
    """Run a module in a process of its own; what it prints is JSON by line."""
    done = subprocess.run(
        [sys.executable, '-m', *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.returncode, done.stdout[-500:], done.stderr[-3000:])
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope='module')
def reports(tmp_path_factory) -> dict[str, Outcome]:
    folder, files = tmp_path_factory.mktemp('pickles'), {}
    for name, content in hostile_pickles().items():
        files[name] = folder / f'{name}.pkl'
        files[name].write_bytes(content)
    return run_cases('tests.hostile.reading_calls:read_model', files, seconds=30.0)


def test_the_model_that_the_attacks_change_is_a_good_one(tmp_path):
    path = tmp_path / 'good.pkl'
    path.write_bytes(model())
    data = load_body_model_data(path)
    assert data.joints.tolist() == [[1, 0, 0], [0, 1, 0]]
    assert data.n_betas == 2


def test_every_attack_was_tried(reports):
    assert list(reports) == list(hostile_pickles())
    assert len(reports) > 250


def test_every_attack_is_refused(reports):
    assert not {n: r for n, r in reports.items() if r.outcome != 'refused' or 'ValueError' not in r.families}


def test_every_refusal_names_the_file_and_is_short(reports):
    assert not {n: r for n, r in reports.items() if f'{n}.pkl' not in r.message or len(r.message) > 1200}


def test_no_attack_takes_five_seconds_or_a_gigabyte(reports):
    assert not {n: r for n, r in reports.items() if r.cpu_s > 5 or r.peak_mib > 1000}


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('calls_os.system', "'os.system', which is not on the allow-list (GLOBAL at byte"),
        ('persid', 'must not use the opcode PERSID'),
        ('newobj_of_ndarray', 'a new object must be one of scipy.sparse or chumpy; got numpy.ndarray'),
        ('item_of_an_array', 'items must be set in a dict; got numpy.core.multiarray._reconstruct'),
        ('second_state', 'a state must be given once'),
        ('dtype_subarray', 'no fields and no subarray'),
        ('array_of_objects', 'an array of Python objects is not allowed'),
        ('hash_bomb_key', 'when shared values are written out'),
        ('list_in_itself', 'a value must not hold itself'),
        ('deep_appends', 'nest at most 64 deep'),
        ('integer_of_a_million_digits', 'at most 64 digits'),
        ('bytes_after_the_end', 'bytes after its end'),
        ('sparse_index_below', 'J_regressor: indices: must be 0 to 1; got -5'),
        ('sparse_shape_of_terabytes', 'at most 536870912 bytes written out'),
        ('faces_between', 'f: must be whole numbers; got 0.5'),
        ('weights_a_dict', 'weights: must be numbers; got dict of 1'),
    ],
)
def test_what_is_wrong_is_reported(reports, name, message):
    assert message in reports[name].message


def test_fuzzed_pickles_end_in_a_sentence_or_in_plain_values():
    (report,) = run_module('tests.hostile.pickle_fuzz', '--cases', '60000', '--seed', '0', seconds=600)
    assert report['cases'] == 60000
    assert report['slowest_s'] < 5
    # The fuzzer is worth its time where some pickles get through to the end.
    assert min(report['outcomes'][kind] for kind in ('value', 'dict', 'model')) > 500


def test_what_has_no_end_is_not_read():
    with pytest.raises(ValueError, match='/dev/zero: a pickle must be a file that nobody writes to'):
        read_pickle('/dev/zero')


@pytest.mark.parametrize('value', [object(), [print], {'a': (lambda: 0,)}, {1: {type}}])
def test_the_fuzzer_would_see_what_is_not_plain(value):
    with pytest.raises(AssertionError):
        check_plain(value)
