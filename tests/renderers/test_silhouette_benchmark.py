"""The silhouette benchmark runs on tiny images, prints its tables and writes them."""

import json

from benchmarks.silhouette import main
from smilfit.body_models import save_body_model
from tests.animals import small_animal


def test_tables_are_printed_and_written(tmp_path, capsys):
    model = save_body_model(small_animal(), tmp_path / 'tiny.smil.json')
    assert main(['--quick', '--model', str(model), '--out', str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for name in ('silhouette', 'silhouette_growth'):
        rows = json.loads((tmp_path / f'{name}.json').read_text())['rows']
        assert (tmp_path / f'{name}.csv').is_file()
        assert all(str(value) in printed for row in rows for value in row.values() if isinstance(value, str))
