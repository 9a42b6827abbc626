"""The curriculum, plain values, random state, launchers, and options with unknown keys."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from smilfit.apis.shipped_configs import configs_folder
from smilfit.networks.engine import (
    LossCurriculumHook,
    build_data_loader,
    build_train_runner,
    choose_device,
    load_experiment,
)
from smilfit.networks.engine.data_loading import (
    follow_training_data,
    random_state,
    seed_worker,
    set_random_state,
)
from smilfit.networks.engine.hooks.epoch_hooks import weights_at
from smilfit.networks.engine.hooks.whole_checkpoint_hook import WholeCheckpointHook
from smilfit.networks.engine.plain_values import from_plain, to_plain
from smilfit.networks.engine.runner import model_wrapper_config
from smilfit.registry import ConfigError
from smilfit.registry.config_options import merge_options
from smilfit.solvers.processes import rank_environment
from tests.toy_experiment import experiment


def test_curriculum_overrides_add_up():
    base, schedule = {'a': 1.0, 'b': 2.0, 'c': 3.0}, {10: {'b': 0.5}, 0: {'a': 0.1}, 20: {'a': 0.0}}
    assert weights_at(0, base, schedule) == {'a': 0.1, 'b': 2.0, 'c': 3.0}
    assert weights_at(9, base, schedule) == weights_at(0, base, schedule)
    assert weights_at(10, base, schedule) == {'a': 0.1, 'b': 0.5, 'c': 3.0}
    assert weights_at(25, base, schedule) == {'a': 0.0, 'b': 0.5, 'c': 3.0}
    assert base == {'a': 1.0, 'b': 2.0, 'c': 3.0}


def test_curriculum_refuses_what_it_cannot_mean(tmp_path):
    model = SimpleNamespace(loss_weights={'keypoints2d': 1.0})
    with pytest.raises(KeyError, match='keypoints2d'):
        runner = Runner.__new__(Runner)
        runner.model = model
        LossCurriculumHook({5: {'keypoint2d': 1.0}}).before_run(runner)
    with pytest.raises(ValueError, match='not negative'):
        LossCurriculumHook({5: {'keypoints2d': -1.0}})
    with pytest.raises(ValueError, match='0 or greater'):
        LossCurriculumHook({-1: {}})


def test_an_unknown_loss_in_the_curriculum_stops_before_training(tmp_path):
    cfg = experiment(tmp_path)
    cfg.custom_hooks[0]['schedule'] = {1: {'keypoint3d': 1.0}}
    runner = build_train_runner(cfg, device='cpu')
    with pytest.raises(KeyError, match='keypoints3d'):
        runner.train()
    assert runner.iter == 0


def test_plain_values_come_back():
    buffer = HistoryBuffer([1.0, 2.5], [1, 2], 50)
    value = {
        'a': buffer,
        'b': [np.float64(2.0), np.arange(3)],
        'c': (np.int32(1), 'x', None),
        'd': torch.ones(2),
    }
    plain = to_plain(value)
    assert type(plain['b'][0]) is float
    assert plain['b'][1] == [0, 1, 2]
    assert plain['c'] == (1, 'x', None)
    back = from_plain(plain)['a']
    assert isinstance(back, HistoryBuffer)
    np.testing.assert_array_equal(back.data[0], [1.0, 2.5])
    np.testing.assert_array_equal(back.data[1], [1, 2])
    assert back.mean(2) == buffer.mean(2)
    with pytest.raises(TypeError, match=r'checkpoint\.a\[1\]'):
        to_plain({'a': [1, object()]})


def test_random_numbers_go_on_from_a_state():
    state = to_plain(random_state())
    drawn = [random.random(), np.random.rand(), torch.rand(1).item()]  # noqa: NPY002
    set_random_state(state)
    assert drawn == [random.random(), np.random.rand(), torch.rand(1).item()]  # noqa: NPY002


def test_workers_draw_other_numbers_in_every_epoch():
    drawn = []
    state = random_state()
    for epoch in (1, 1, 2):
        torch.manual_seed(epoch)
        seed_worker(0)
        drawn.append((random.random(), np.random.rand()))  # noqa: NPY002
    set_random_state(state)
    assert drawn[0] == drawn[1] != drawn[2]


def test_launchers_read_their_environment():
    slurm = {'SLURM_PROCID': '3', 'SLURM_NTASKS': '8', 'SLURM_LOCALID': '1', 'MASTER_ADDR': 'node7'}
    assert rank_environment('slurm', slurm) == {
        'RANK': '3', 'WORLD_SIZE': '8', 'LOCAL_RANK': '1', 'MASTER_ADDR': 'node7', 'MASTER_PORT': '29500'
    }  # fmt: skip
    assert rank_environment('none', {}) == {}
    with pytest.raises(KeyError, match=r'dist_train\.sh'):
        rank_environment('pytorch', {})
    with pytest.raises(KeyError, match='srun'):
        rank_environment('slurm', {})
    with pytest.raises(KeyError, match='pytorch'):
        rank_environment('pytorc', {})


def test_without_cuda_the_distributed_wrapper_gets_no_device():
    assert model_wrapper_config('cpu')['device_ids'] is None
    assert 'device_ids' not in model_wrapper_config('cuda')


@pytest.mark.skipif(torch.cuda.is_available(), reason='here is a CUDA device')
def test_cuda_that_is_absent_is_an_error():
    with pytest.raises(ValueError, match='--device cpu'):
        choose_device('cuda')


@pytest.mark.parametrize(
    ('key', 'near'),
    [
        ('train_dataloader.dataset.datapath', 'data_path'),
        ('train_dataloader.batchsize', 'batch_size'),
        ('train_dataloder.batch_size', 'train_dataloader'),
        ('optim_wrapper.optimizer.lrr', 'lr'),
        ('model.backbone.nam', 'name'),
        ('model.loss_wieghts.transl', 'loss_weights'),
        ('param_scheduler.0.start_fator', 'start_factor'),
        ('train_cfg.max_epoch', 'max_epochs'),
        ('custom_hooks.3.type', 'list of 1'),
        ('work_dir.x', 'has no keys'),
    ],
)
def test_an_unknown_option_shows_the_near_ones(tmp_path, key, near):
    cfg = experiment(tmp_path)
    with pytest.raises(KeyError, match=near):
        merge_options(cfg, {key: 1})


def test_known_options_are_set_even_where_the_config_is_silent(tmp_path):
    cfg = experiment(tmp_path)
    options = {
        'train_dataloader.dataset.data_path': 'x.h5',
        'train_dataloader.pin_memory': True,
        'model.intermediate_weight': 0.5,
        'model.backbone.checkpoint': 'w.pth',
        'optim_wrapper.optimizer.weight_decay': 0.1,
        'optim_wrapper.accumulative_counts': 2,
        'param_scheduler.0.verbose': True,
        'default_hooks.checkpoint.interval': 3,
        'default_hooks.checkpoint.max_keep_ckpts': 3,
        'auto_scale_lr': {'base_batch_size': 4},
        'train_cfg.max_epochs': 7,
        'custom_hooks.0.schedule.3.transl': 0.25,
    }
    merge_options(cfg, options)
    assert cfg.train_dataloader.pin_memory is True
    assert cfg.optim_wrapper.optimizer.weight_decay == 0.1
    assert cfg.param_scheduler[0].verbose is True
    assert cfg.default_hooks.checkpoint.max_keep_ckpts == 3
    hook = LossCurriculumHook(cfg.custom_hooks[0].schedule)
    assert hook.schedule == {0: {'transl': 0.5}, 3: {'keypoints3d': 2.0, 'transl': 0.25}}


def test_work_dir_is_the_arguments_then_the_configs_then_by_name(tmp_path):
    path = tmp_path / 'my_run.py'
    path.write_text('a = 1\n')
    assert load_experiment(path).work_dir == 'work_dirs/my_run'
    path.write_text("work_dir = 'there'\n")
    assert load_experiment(path).work_dir == 'there'
    assert load_experiment(path, work_dir='here').work_dir == 'here'
    with pytest.raises(FileNotFoundError, match='configs/train'):
        load_experiment(tmp_path / 'none.py')


def test_a_config_is_not_changed_by_building(tmp_path):
    cfg = experiment(tmp_path)
    before = cfg.pretty_text
    build_train_runner(cfg, device='cpu')
    assert cfg.pretty_text == before
    assert isinstance(cfg, Config)


def test_a_data_loader_takes_functions_by_name():
    from torch.utils.data import default_collate

    from tests.toy_samples import ToyDataset

    cfg = {
        'batch_size': 2,
        'collate_fn': {'type': 'default_collate'},
        'dataset': {'type': 'ToyDataset', 'n': 4},
    }
    loader = build_data_loader(cfg, seed=1)
    assert loader.collate_fn.__name__ == default_collate.__name__
    assert isinstance(loader.dataset, ToyDataset)
    assert next(iter(loader))['inputs']['image'].shape == (2, 3, 3, 64, 64)
    with pytest.raises(KeyError, match='default_collate'):
        build_data_loader({**cfg, 'collate_fn': {'type': 'defaultcollate'}}, seed=1)
    with pytest.raises(KeyError, match='num_workers'):
        build_data_loader({**cfg, 'num_worker': 1}, seed=1)


def _splitting(**test) -> Config:
    data = {
        'type': 'PictureDataset',
        'data_path': 'a.h5',
        'split': 'train',
        'split_by': 'time_block',
        'gap': 3,
    }
    held_out = {'type': 'MultiViewDataset', 'data_path': None, 'split': 'test', **test}
    return Config({'train_dataloader': {'dataset': data}, 'test_dataloader': {'dataset': held_out}})


def test_parts_of_one_file_are_split_in_one_way(tmp_path):
    """An option for the training set is one for the others; what contradicts it would test what was trained on."""
    cfg = _splitting()
    follow_training_data(cfg)
    assert cfg.test_dataloader.dataset.to_dict() == {
        'type': 'MultiViewDataset', 'data_path': 'a.h5', 'split': 'test', 'split_by': 'time_block', 'gap': 3
    }  # fmt: skip
    with pytest.raises(
        ConfigError, match=r"split_by must be that of train_dataloader.*'session' and 'time_block'"
    ):
        follow_training_data(_splitting(split_by='session'))
    for other in ({'split_by': 'session', 'data_path': 'b.h5'}, {'split_by': 'session', 'split': 'all'}):
        follow_training_data(_splitting(**other))


@pytest.mark.parametrize('name', ['keypoint_unet', 'keypoint_demo', 'multiview_resnet', 'single_view_images'])
def test_shipped_configs_split_once(name):
    """And choose their best checkpoint by a figure, if at all."""
    cfg = load_experiment(configs_folder() / 'train' / f'{name}.py')
    assert cfg.default_hooks.checkpoint.save_best in ('pck_auc_original', None)
    merge_options(cfg, {'train_dataloader.dataset.split_by': 'time_block'})
    follow_training_data(cfg)
    assert cfg.test_dataloader.dataset.split_by == 'time_block'
    assert cfg.test_dataloader.dataset.ratios == cfg.train_dataloader.dataset.ratios


@pytest.mark.parametrize('best', ['loss', ['pck_auc_original', 'val/loss_keypoints2d']])
def test_the_best_checkpoint_is_not_chosen_by_a_loss(best):
    """A curriculum changes what losses mean: the best would stand still from the first stage on."""
    with pytest.raises(ValueError, match='save_best must be a figure that no loss weight changes'):
        WholeCheckpointHook(save_best=best, rule='less')
