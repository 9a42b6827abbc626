"""The benchmark of regressors runs on tiny sets, and its intervals are over sessions and seeds."""

import csv
import json

import numpy as np

from benchmarks.regression.__main__ import main
from benchmarks.regression.scoring import interval


def test_a_config_is_trained_within_its_budget_and_scored(tmp_path, capsys):
    sets, out = tmp_path / 'sets', tmp_path / 'out'
    tiny = '--quick --only held_out --seeds 1 --budget 0.01 --views 2 --crop-mode bbox_crop --resolution 64'
    command = [*tiny.split(), '--animals', 'quadruped', '--config', 'train/multiview_demo.py']
    assert main([*command, '--sets', str(sets), '--out', str(out)]) == 0
    printed = capsys.readouterr().out
    written = json.loads((out / 'regression_held_out.json').read_text())
    assert written['about']['config'] == 'train/multiview_demo.py'
    (row,) = written['rows']
    assert row['steps'] == 1
    assert row['ended by'] == 'budget'
    assert 0 < row['PA %'] < 50
    assert row['PA from'] <= row['PA %'] <= row['PA to']
    # Hardly trained: as good as its mean pose.
    assert 0.7 < row['PA ratio'] < 1.5
    assert (row['boxes'], row['what'], row['views']) == ('labels', 'body', 2)
    with (out / 'regression_held_out.csv').open() as file:
        assert len(list(csv.DictReader(file))) == 1
    assert 'held_out: train/multiview_demo.py' in printed


def test_an_interval_covers_seeds_and_sessions():
    sessions = [np.repeat([0, 1, 2, 3], 5)] * 3
    same = [np.full(20, 2.0)] * 3
    assert interval(same, sessions) == (2.0, 2.0, 2.0)
    apart = [np.repeat([1.0, 2.0, 3.0, 4.0], 5)] * 3
    mean, low, high = interval(apart, sessions)
    assert mean == 2.5
    assert 1.0 < low < 2.0
    assert 3.0 < high < 4.0
    # Sessions of few frames count as much as those of many.
    uneven = interval([np.array([1.0, 1.0, 1.0, 5.0])], [np.array([0, 0, 0, 1])])
    assert uneven[0] == 3.0
    # A sample without a number is none.
    assert interval([np.array([1.0, np.nan])], [np.array([0, 0])])[0] == 1.0
