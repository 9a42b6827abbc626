"""Whole runs: a run with a break equals one without, checkpoints are plain."""

import copy
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

from smilfit.networks.engine import (
    build_test_runner,
    build_train_runner,
    read_checkpoint,
    set_mixed_precision,
    set_resume,
)
from smilfit.networks.engine.checkpoint_loader import check_weights
from tests.toy_experiment import experiment
from tests.toy_samples import toy_data


def _train(cfg):
    runner = build_train_runner(cfg, device='cpu')
    runner.train()
    return runner


def _weights(runner):
    return {k: v.clone() for k, v in runner.model.state_dict().items()}


@pytest.mark.parametrize('workers', [0, 1])
def test_a_resumed_run_equals_an_unbroken_one(tmp_path, workers):
    """Weights, optimiser, schedule, curriculum, random numbers; with shuffling and batch normalisation."""
    changes = {'train_dataloader.num_workers': workers, 'train_cfg.max_epochs': 4}
    (tmp_path / 'whole').mkdir()
    (tmp_path / 'broken').mkdir()
    whole = _train(experiment(tmp_path / 'whole', 'test_resnet', **changes))
    cfg = experiment(tmp_path / 'broken', 'test_resnet', **changes)
    first = copy.deepcopy(cfg)
    first.train_cfg.max_epochs = 2
    _train(first)
    # Other random numbers than the run would have had.
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    set_resume(cfg, 'auto')
    second = _train(cfg)
    assert second.epoch == 4
    for name, value in _weights(whole).items():
        torch.testing.assert_close(value, second.model.state_dict()[name], atol=1e-6, rtol=0, msg=name)
    assert second.optim_wrapper.get_lr() == whole.optim_wrapper.get_lr()
    a, b = (r.optim_wrapper.optimizer.state_dict()['state'] for r in (whole, second))
    for key in a:
        torch.testing.assert_close(a[key]['exp_avg'], b[key]['exp_avg'], atol=1e-6, rtol=0)
    assert second.model.loss_weights == whole.model.loss_weights
    assert second.model.loss_weights['keypoints3d'] == 2.0
    losses = [r.message_hub.get_scalar('train/loss').data[0] for r in (whole, second)]
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-5)
    assert len(losses[0]) == 8


class StopBeforeValidation(Hook):
    """Ends a run as a kill would: its last checkpoint is written, and not validated."""

    def before_val(self, runner):
        raise KeyboardInterrupt


def test_a_validation_that_a_stop_left_out_is_made_up_for(tmp_path):
    """A checkpoint is written before its epoch is validated: the best one must be found all the same."""
    changes = {'train_cfg.val_interval': 2}
    (tmp_path / 'whole').mkdir()
    (tmp_path / 'broken').mkdir()
    _train(experiment(tmp_path / 'whole', **changes))
    cfg = experiment(tmp_path / 'broken', **changes)
    runner = build_train_runner(cfg, device='cpu')
    runner.register_hook(StopBeforeValidation())
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    wanted, best = (tmp_path / d / 'work' / 'best_toy_error_mm_epoch_2.pth' for d in ('whole', 'broken'))
    assert not best.exists()
    set_resume(cfg, 'auto')
    assert _train(cfg).epoch == 2
    result, again = (torch.load(path, weights_only=True)['state_dict'] for path in (wanted, best))
    assert result.keys() == again.keys()
    for name, value in result.items():
        assert torch.equal(value, again[name])


def test_checkpoints_are_plain_and_say_what_they_belong_to(tmp_path):
    cfg = experiment(tmp_path)
    runner = _train(cfg)
    path = tmp_path / 'work' / 'epoch_2.pth'
    assert torch.serialization.get_unsafe_globals_in_checkpoint(path) == []
    checkpoint = torch.load(path, weights_only=True)
    stored = checkpoint['smilfit']
    assert stored['body_model_hash'] == toy_data().content_hash()
    assert stored['body_model_file'].endswith('toy.smil.json')
    assert stored['keypoint_names'] == ('root', 'neck', 'head', 'left', 'right')
    assert stored['camera_names'] == ('cam0', 'cam1', 'cam2')
    assert stored['loss_weights']['transl'] == 0.5
    assert "type='MultiViewRegressor'" in checkpoint['meta']['cfg']
    assert not [key for key in checkpoint['state_dict'] if key.startswith('body_model')]
    assert len(list((tmp_path / 'work').glob('best_toy_error_mm_*.pth'))) == 1
    assert runner.message_hub.get_info('best_score') > 0


def test_a_checkpoint_is_tested_with_its_own_statistics_data_and_body(tmp_path):
    cfg = experiment(tmp_path)
    cfg.model.body_model = None
    runner = build_train_runner(
        cfg, device='cpu', summarise=lambda xyz, seen: {'baseline': xyz.mean(0), 'mean_pose': xyz[0]}
    )
    runner.train()
    trained = runner.model
    cfg.train_dataloader.dataset.data_path = None
    tester = build_test_runner(cfg, tmp_path / 'work' / 'epoch_2.pth', device='cpu')
    metrics = tester.test()
    assert math.isfinite(metrics['toy_error_mm'])
    torch.testing.assert_close(tester.model.statistics.scene_unit, trained.statistics.scene_unit)
    assert tester.model.statistics.scene_unit != 1
    assert np.shape(tester.test_evaluator.metrics[0].baseline) == (5, 3)
    # The loaded model predicts what the trained one does.
    batch = next(iter(tester.test_dataloader))
    for a, b in zip(tester.model.test_step(copy.deepcopy(batch)), trained.eval().test_step(batch)):
        torch.testing.assert_close(a['keypoints3d'], b['keypoints3d'])


def test_a_checkpoint_of_another_body_model_is_refused(tmp_path):
    from dataclasses import replace

    from smilfit.body_models import save_body_model

    cfg = experiment(tmp_path, **{'train_cfg.max_epochs': 1})
    _train(cfg)
    data = toy_data()
    other = save_body_model(replace(data, v_template=data.v_template * 1.1), tmp_path / 'other.smil.json')
    runner = build_test_runner(cfg, tmp_path / 'work' / 'epoch_1.pth', device='cpu', body_model=other)
    with pytest.raises(ValueError, match=r'body model it was trained with.*toy\.smil\.json'):
        runner.test()


def test_a_dataset_made_with_another_body_model_is_refused(tmp_path):
    from dataclasses import replace

    from smilfit.body_models import save_body_model

    cfg = experiment(tmp_path)
    data = toy_data()
    other = save_body_model(replace(data, v_template=data.v_template * 1.1), tmp_path / 'other.smil.json')
    cfg.model.body_model = str(other)
    with pytest.raises(ValueError, match='the one that it was made with'):
        build_train_runner(cfg, device='cpu')


def test_weights_of_another_shape_are_refused(tmp_path):
    cfg = experiment(tmp_path, **{'train_cfg.max_epochs': 1})
    _train(cfg)
    cfg.model.head.n_layers = 2
    runner = build_test_runner(cfg, tmp_path / 'work' / 'epoch_1.pth', device='cpu')
    with pytest.raises(ValueError, match=r'missing \(such as head\.layers\.1'):
        runner.test()


class _Evil:
    def __reduce__(self):
        return (print, ('owned',))


@pytest.mark.parametrize('what', ['code', 'short', 'other', 'absent'])
def test_bad_checkpoints_are_refused(tmp_path, what, capsys):
    path = tmp_path / 'bad.pth'
    if what == 'code':
        torch.save({'state_dict': {}, 'x': _Evil()}, path)
    elif what == 'short':
        torch.save({'state_dict': {'a': torch.zeros(1000)}}, path)
        path.write_bytes(path.read_bytes()[:1500])
    elif what == 'other':
        torch.save([1, 2], path)
    error = FileNotFoundError if what == 'absent' else ValueError
    with pytest.raises(error, match='checkpoint'):
        read_checkpoint(path)
    assert 'owned' not in capsys.readouterr().out


def test_training_in_mixed_precision_runs_on_the_cpu(tmp_path):
    cfg = experiment(tmp_path)
    set_mixed_precision(cfg, 'cpu')
    runner = _train(cfg)
    assert runner.optim_wrapper.dtype == torch.bfloat16
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    assert np.isfinite(losses).all()
    assert all(p.dtype == torch.float32 for p in runner.model.parameters())


def test_validation_and_test_follow_the_training_file(tmp_path):
    runner = build_train_runner(experiment(tmp_path), device='cpu')
    assert runner._val_dataloader.dataset.data_path == str(tmp_path / 'data' / 'toy.h5')
    cfg = experiment(tmp_path)
    cfg.train_dataloader.dataset.data_path = None
    with pytest.raises(ValueError, match=r'train_dataloader\.dataset\.data_path=FILE'):
        build_train_runner(cfg, device='cpu')


def test_missing_body_model_says_where_it_was_looked_for(tmp_path):
    cfg = experiment(tmp_path)
    cfg.model.body_model = None
    shutil.move(tmp_path / 'data' / 'toy.smil.json', tmp_path / 'moved.smil.json')
    with pytest.raises(FileNotFoundError, match='--body-model'):
        build_train_runner(cfg, device='cpu')
    runner = build_train_runner(cfg, device='cpu', body_model=tmp_path / 'moved.smil.json')
    assert Path(runner.model.statistics.names.body_model_file).name == 'moved.smil.json'


def test_resume_before_the_first_checkpoint_begins_anew_and_says_so(tmp_path, caplog):
    cfg = experiment(tmp_path)
    set_resume(cfg, 'auto')
    assert not cfg.resume
    assert '--resume: ' in caplog.text
    assert 'begins anew' in caplog.text
    with pytest.raises(FileNotFoundError):
        set_resume(cfg, str(tmp_path / 'epoch_1.pth'))


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('train_cfg.max_epochs', -1),
        ('train_cfg.max_epochs', 0),
        ('optim_wrapper.optimizer.lr', float('nan')),
    ],
)
def test_a_training_of_nothing_is_refused_by_the_name_of_its_option(tmp_path, key, value):
    with pytest.raises(ValueError, match=rf'{key} must .*got {value}.*--cfg-options {key}='):
        build_train_runner(experiment(tmp_path, **{key: value}), device='cpu')


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    model = torch.nn.Linear(2, 2)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    check_weights('a.pth', model, weights)
    weights['bias'][1] = float('nan')
    with pytest.raises(ValueError, match=r'a\.pth: weights must be finite numbers.*bias'):
        check_weights('a.pth', model, weights)


def test_the_log_has_the_losses_and_the_time_left(tmp_path):
    cfg = experiment(
        tmp_path, **{'log_level': 'INFO', 'default_hooks.logger': {'type': 'LoggerHook', 'interval': 1}}
    )
    cfg.optim_wrapper.paramwise_cfg = {'custom_keys': {'head': {'lr_mult': 0.5}}}
    _train(cfg)
    (log,) = (tmp_path / 'work').glob('*/*.log')
    # A line for every option of every parameter would hide all others.
    assert 'paramwise_options' not in log.read_text()
    line = next(x for x in log.read_text().splitlines() if 'Epoch(train)' in x)
    for part in ('eta:', 'loss_keypoints2d:', 'loss_intermediate:', 'lr:', 'n_behind_camera:'):
        assert part in line
    scalars = next((tmp_path / 'work').glob('*/vis_data/*.json'))
    assert 'loss_keypoints3d' in json.loads(scalars.read_text().splitlines()[0])
