"""The benchmark of regressors runs the documented way on tiny sets; its scores are right where answers are known."""

import json

import numpy as np

from benchmarks.regression.__main__ import main, summary
from benchmarks.regression.scoring import Truth, compare
from benchmarks.regression.seed_step import SeedStep, keypoint_losses
from benchmarks.regression.step import made_batch, total_loss
from benchmarks.regression.step import main as compare_steps
from smilfit.body_models import SMIL
from smilfit.networks.scene_frame import cameras_of
from smilfit.synthetic import make_quadruped


def test_the_documented_way_is_run_and_scored(tmp_path, capsys):
    tiny = '--quick --animals quadruped --seeds 1 --cfg-options train_dataloader.sampler.samples_per_epoch=16'
    given = [*tiny.split(), '--keep', str(tmp_path / 'kept'), '--out', str(tmp_path)]
    assert main(given) == 0
    rows = json.loads((tmp_path / 'regression.json').read_text())['rows']
    cases = {(row['looks'], row['cameras'], row['what']) for row in rows}
    assert {('varied', 4, 'points'), ('other', 4, 'points'), ('varied', 2, 'lifted')} <= cases
    assert {('wrong case: insect', 4, 'refined'), ('wrong case: empty', 4, 'refined')} <= cases
    # Hardly trained: nothing is met, and the mean pose on the truth does not ask the network.
    assert all(
        row['median %'] > 3 and 0 < row['mean pose PA %'] < 15 for row in rows if row['median %'] is not None
    )
    assert 'by the documented way: train/keypoint_unet.py' in capsys.readouterr().out


def test_the_truth_itself_has_no_error():
    names = ('nose', 'paw_L', 'paw_R', 'tail')
    points = np.array([[[0.0, 0, 0], [1, 1, 0], [1, -1, 0], [3, 0, 1]]] * 2)
    truth = Truth(names, points, np.array([4.0, 4.0]))
    turned = points @ np.diag([-1.0, -1.0, 1.0])
    exchanged = points[:, [0, 2, 1, 3]]
    nothing = np.full_like(points, np.nan)
    scores = [compare(x, truth, np.arange(2), points[0]) for x in (points, turned, exchanged, nothing)]
    right, reversed_heading, swapped, missing = scores
    assert right.error.max() < 1e-12
    assert right.aligned.max() < 1e-6
    assert not right.reversed_heading.any()
    assert right.exchanged.max() == 0
    assert reversed_heading.reversed_heading.all()
    # One pair of two changed places, each by 2 of a length of 4, in a mean over four keypoints.
    np.testing.assert_allclose(swapped.error, 100 * (2 + 2) / 4 / 4)
    assert swapped.exchanged.min() == 1
    assert np.isinf(missing.error).all()
    assert not missing.reversed_heading.any()
    row = summary([right, missing])
    assert row['predicted %'] == 50
    assert row['median %'] < 1e-12


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
