"""The shipped config of fits to images reaches what is promised of it, and the benchmark tells it."""

import json

import pytest

from benchmarks.images import CASES, main, measure


@pytest.mark.parametrize('case', ['one view', 'one view, masks alone'])
def test_the_shipped_config_fits_a_made_image(case, tmp_path):
    row = measure(case, 1, tmp_path)
    assert row['IoU'] > (0.93 if case == 'one view' else 0.7)
    assert case != 'one view' or row['PCK@5px'] >= 0.95
    assert (tmp_path / f'{case}.png').is_file()


def test_a_table_is_printed_and_written(tmp_path, capsys):
    assert main(['--only', 'four views', '--n', '1', '--out', str(tmp_path)]) == 0
    (row,) = json.loads((tmp_path / 'images.json').read_text())['rows']
    assert row['case'] in CASES
    assert row['case'] in capsys.readouterr().out
    assert row['MPJPE %'] < 3
