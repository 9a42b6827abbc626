"""Parts that begin to train later, with learning rates of their own, also in several processes."""

import gc
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch.nn.parallel import DistributedDataParallel

from smilfit.networks.engine import StagedUnfreezeHook, build_train_runner, read_checkpoint, set_resume
from smilfit.solvers.processes import process_group
from tests.ranks import on_two_ranks
from tests.toy_experiment import experiment

STAGES = {1: ['backbone.network.stages.3'], 2: ['backbone']}


def staged(folder: Path, schedule=STAGES, **changes) -> Config:
    cfg = experiment(folder, **changes)
    cfg.custom_hooks = [{'type': 'StagedUnfreezeHook', 'schedule': schedule}]
    cfg.optim_wrapper.paramwise_cfg = {'custom_keys': {'backbone': {'lr_mult': 0.1}}}
    cfg.optim_wrapper.optimizer = {'type': 'AdamW', 'lr': 1e-3, 'weight_decay': 0.1}
    cfg.param_scheduler = []
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg.pop(key)
    cfg.default_hooks = {'checkpoint': {'type': 'CheckpointHook', 'interval': 1}}
    cfg.train_dataloader.dataset.n = 4
    cfg.train_dataloader.batch_size = 2
    return cfg


def weights(folder: Path, epoch: int) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / 'work' / f'epoch_{epoch}.pth')['state_dict']


def changed_parts(before: dict, after: dict) -> set[str]:
    names = [n for n in before if n.startswith('backbone') and not torch.equal(before[n], after[n])]
    return {'last' if n.startswith('backbone.network.stages.3') else 'first' for n in names}


def test_parts_wait_for_their_epoch_and_have_their_own_learning_rate(tmp_path):
    runner = build_train_runner(staged(tmp_path, **{'train_cfg.max_epochs': 3}), device='cpu')
    start = {n: v.clone() for n, v in runner.model.state_dict().items()}
    runner.train()
    one, two, three = (weights(tmp_path, epoch) for epoch in (1, 2, 3))
    assert not changed_parts(start, one)
    assert changed_parts(one, two) == {'last'}
    assert changed_parts(two, three) == {'first', 'last'}
    assert any(not torch.equal(start[n], one[n]) for n in start if n.startswith('head'))
    rates = {id(p): group['lr'] for group in runner.optim_wrapper.param_groups for p in group['params']}
    for name, parameter in runner.model.named_parameters():
        if id(parameter) in rates:
            assert rates[id(parameter)] == pytest.approx(1e-4 if name.startswith('backbone') else 1e-3)


def test_parts_that_never_train_stay_as_they_are(tmp_path):
    runner = build_train_runner(staged(tmp_path, {'never': ['backbone']}), device='cpu')
    start = {n: v.clone() for n, v in runner.model.state_dict().items()}
    runner.train()
    assert not changed_parts(start, weights(tmp_path, 2))


def test_what_the_hook_cannot_mean_stops_before_training(tmp_path):
    with pytest.raises(ValueError, match='0 or greater'):
        StagedUnfreezeHook({-1: ['backbone']})
    runner = build_train_runner(staged(tmp_path, {1: ['backbone.network.stage']}), device='cpu')
    with pytest.raises(KeyError, match='no parameter begins with'):
        runner.train()
    cfg = staged(tmp_path)
    cfg.model.backbone.frozen = True
    runner = build_train_runner(cfg, device='cpu')
    with pytest.raises(ValueError, match='must not be frozen by the model'):
        runner.train()
    assert runner.iter == 0


def _train(folder: str) -> None:
    with process_group('pytorch', 'cpu'):
        for epochs in (2, 3):
            cfg = staged(Path(folder), **{'train_cfg.max_epochs': epochs, 'launcher': 'pytorch'})
            set_resume(cfg, 'auto' if epochs == 3 else None)
            runner = build_train_runner(cfg, device='cpu')
            runner.train()
            # The first process alone writes the checkpoint that both go on from.
            torch.distributed.barrier()
        rank = torch.distributed.get_rank()
        torch.save(runner.model.module.state_dict(), f'{folder}/rank{rank}.pth')
        del runner
    held = [type(x) for x in gc.get_objects() if issubclass(type(x), DistributedDataParallel)]
    assert not held, held


def test_processes_stay_alike_while_parts_begin_to_train_and_after_a_resume(tmp_path):
    experiment(tmp_path)
    on_two_ranks(_train, str(tmp_path), grouped=False)
    one, two, three = (weights(tmp_path, epoch) for epoch in (1, 2, 3))
    assert changed_parts(one, two) == {'last'}
    assert changed_parts(two, three) == {'first', 'last'}
    first, second = (torch.load(tmp_path / f'rank{rank}.pth', weights_only=True) for rank in (0, 1))
    for name, value in first.items():
        if 'running' not in name and 'num_batches' not in name:
            assert torch.equal(value, second[name]), name
