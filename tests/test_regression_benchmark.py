"""The benchmark of regressors runs on tiny sets, and its intervals are over sessions and seeds."""

import csv
import json

import numpy as np

from benchmarks.regression.__main__ import main
from benchmarks.regression.scoring import interval
from benchmarks.regression.seed_step import SeedStep, keypoint_losses
from benchmarks.regression.step import made_batch, total_loss
from benchmarks.regression.step import main as compare_steps
from smilfit.body_models import SMIL
from smilfit.networks.scene_frame import cameras_of
from smilfit.synthetic import make_quadruped


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


def test_steps_take_turns_beside_the_seeds(tmp_path, capsys):
    small = '--backbone test_vit --side 32 --dim 32 --batch-sizes 1 --rounds 1 --without seed'
    assert compare_steps([*small.split(), '--out', str(tmp_path)]) == 0
    rows = json.loads((tmp_path / 'regression_step.json').read_text())['rows']
    assert [row['step'] for row in rows][-1] == 'backbone'
    assert all(row['ms'] > 0 for row in rows)
    assert 'decoder, cached, bf16' in capsys.readouterr().out


def test_the_seeds_step_teaches_its_heads_alone():
    body = SMIL(make_quadruped(), joint_scale_mode='inherited')
    step = SeedStep(body, 2, 'unet_mobilenet_v3', dim=16)
    batch = made_batch(body, 2, 64)
    total_loss(step, batch).backward()
    trained = {name.split('.')[1] for name, p in step.named_parameters() if p.grad is not None}
    assert trained == {
        'transformer_head',
        'view_fusion',
        'camera_heads',
        'view_embeddings',
        'patch_view_embed',
    }
    # The truth itself costs next to nothing: the formulas look at what they should.
    truth = batch['data_samples']
    costs = keypoint_losses(truth['keypoints3d'], cameras_of(batch['inputs']), truth)
    assert max(map(float, costs.values())) < 1e-10
