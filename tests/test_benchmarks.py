"""Every table of the fitting benchmark runs, on a tiny body with a few frames and steps."""

import csv
import json
import logging

import pytest

from benchmarks.fitting.__main__ import TABLES, main
from smilfit.body_models import save_body_model
from tests.animals import small_animal

# Columns of what a case may not have at all.
MAY_LACK = {'seconds', 'not_observed', 'one_camera'}


@pytest.mark.parametrize('table', TABLES)
def test_a_table_is_printed_and_written(table, tmp_path, capsys):
    model = save_body_model(small_animal(), tmp_path / 'tiny.smil.json')
    assert main(['--only', table, '--quick', '--model', str(model), '--out', str(tmp_path)]) == 0
    # What runs after it in this process is reported as much as before.
    assert logging.getLogger('smilfit').level == logging.NOTSET
    printed = capsys.readouterr().out
    written = json.loads((tmp_path / f'fitting_{table}.json').read_text())
    assert {'machine', 'threads', 'torch', 'commit'} <= written['about'].keys()
    with (tmp_path / f'fitting_{table}.csv').open() as file:
        assert len(list(csv.DictReader(file))) == len(written['rows']) >= 1
    for row in written['rows']:
        # A method that is not here says so and nothing else.
        assert row['note'] or all(value is not None for key, value in row.items() if key not in MAY_LACK)
        assert all(str(value) in printed for value in row.values() if isinstance(value, str))
