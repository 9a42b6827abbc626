"""Parameters in groups of equal options: the same steps as one group a tensor."""

import copy
import logging

import torch
from mmengine.logging import MMLogger
from mmengine.optim import DefaultOptimWrapperConstructor

from smilfit.networks.engine import GroupedOptimWrapperConstructor

CFG = {'type': 'OptimWrapper', 'optimizer': {'type': 'AdamW', 'lr': 0.1, 'weight_decay': 0.3}}
PARAMWISE = {'custom_keys': {'0': {'lr_mult': 0.5}, '2.bias': {'decay_mult': 0.0}}}


def _network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))


def _trained(constructor, network):
    wrapper = constructor(copy.deepcopy(CFG), copy.deepcopy(PARAMWISE))(network)
    for _ in range(3):
        wrapper.update_params(network(torch.ones(2, 3)).square().sum())
    return wrapper.optimizer


def test_steps_are_those_of_one_group_a_tensor():
    grouped, single = _network(), _network()
    joined = _trained(GroupedOptimWrapperConstructor, grouped)
    apart = _trained(DefaultOptimWrapperConstructor, single)
    for a, b in zip(grouped.parameters(), single.parameters()):
        torch.testing.assert_close(a, b)
    assert len(apart.param_groups) == 4
    result = [(len(g['params']), g['lr'], g['weight_decay']) for g in joined.param_groups]
    assert result == [(2, 0.05, 0.3), (1, 0.1, 0.3), (1, 0.1, 0.0)]


def test_frozen_weights_are_counted_in_one_line():
    network, log, lines = _network(), MMLogger.get_current_instance(), []
    network[0].requires_grad_(False)
    seen = logging.Handler()
    seen.emit = lambda record: lines.append(record.getMessage())
    log.addHandler(seen)
    try:
        wrapper = GroupedOptimWrapperConstructor(copy.deepcopy(CFG), copy.deepcopy(PARAMWISE))(network)
    finally:
        log.removeHandler(seen)
    notes = [line for line in lines if 'frozen' in line or 'skipped' in line]
    assert notes == ['2 weights are frozen: the optimiser leaves them out.']
    assert sum(len(g['params']) for g in wrapper.optimizer.param_groups) == 2
