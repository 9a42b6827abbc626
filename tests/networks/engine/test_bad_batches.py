"""A batch whose loss or gradient is not finite is left out and named; many in a row stop the run."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from smilfit.networks.engine import (
    AutocastOptimWrapper,
    BadBatchHook,
    SkippingOptimWrapper,
    build_train_runner,
    set_resume,
)
from smilfit.networks.engine.hooks.bad_batch_hook import sample_names
from tests.ranks import on_two_ranks
from tests.toy_experiment import experiment


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))


def _wrapper(kind: str, net: nn.Module, **kwargs) -> SkippingOptimWrapper | AutocastOptimWrapper:
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    kwargs = {'optimizer': optimizer, 'clip_grad': {'max_norm': 1.0}, **kwargs}
    return SkippingOptimWrapper(**kwargs) if kind == 'plain' else AutocastOptimWrapper(kind, **kwargs)


def _step(net: nn.Module, wrapper, factor: float = 1.0, seed: int = 0) -> None:
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(seed))
    with wrapper.optim_context(net):
        y = net(x * factor)
    wrapper.update_params(y.float().square().mean())


def _state(net: nn.Module, wrapper) -> list[torch.Tensor]:
    result = [*net.state_dict().values()]
    result += [x for s in wrapper.optimizer.state.values() for x in s.values()]
    scaler = getattr(wrapper, 'loss_scaler', None)
    return [x.clone() for x in result] + ([torch.tensor(scaler.get_scale())] if scaler else [])


@pytest.mark.parametrize('kind', ['plain', 'bfloat16', 'float16'])
@pytest.mark.parametrize('factor', [float('nan'), float('inf')])
def test_a_bad_batch_leaves_everything_as_it_was(kind, factor):
    net = _net()
    wrapper = _wrapper(kind, net)
    _step(net, wrapper)
    assert wrapper.bad is None
    before = _state(net, wrapper)
    _step(net, wrapper, factor)
    assert wrapper.bad == 'loss'
    assert all(torch.equal(a, b) for a, b in zip(before, _state(net, wrapper), strict=True))
    _step(net, wrapper)
    assert wrapper.bad is None
    assert not torch.equal(before[0], net[0].weight)


def test_a_gradient_that_is_not_finite_is_bad_though_the_loss_is_finite():
    weight = nn.Parameter(torch.zeros(4))
    wrapper = SkippingOptimWrapper(torch.optim.SGD([weight], lr=0.1))
    wrapper.update_params(weight.sqrt().sum())
    assert wrapper.bad == 'gradient'
    assert not weight.any()
    # Its norm would overflow; its entries do not.
    wrapper.update_params((weight * 3e38).sum())
    assert wrapper.bad is None


def test_a_loss_scaled_too_far_is_the_scalers_to_mend():
    net = _net()
    wrapper = _wrapper('float16', net, loss_scale=2.0**40)
    before = _state(net, wrapper)
    with torch.no_grad():
        net[2].weight.mul_(1e3)
    _step(net, wrapper)
    assert wrapper.bad is None
    assert wrapper.loss_scaler.get_scale() == 2.0**39
    assert torch.equal(before[0], net[0].weight)


def test_the_step_that_a_bad_batch_was_accumulated_for_is_left_out():
    net, twin = _net(), _net()
    wrapper, other = (_wrapper('plain', n, accumulative_counts=3) for n in (net, twin))
    for i, factor in enumerate((1, float('nan'), 1)):
        _step(net, wrapper, factor, seed=i)
    assert torch.equal(net[0].weight, twin[0].weight)
    assert not wrapper.optimizer.state
    # The next step is the first of a run that never saw those; running statistics apart.
    for i in (3, 4, 5):
        _step(net, wrapper, seed=i)
        _step(twin, other, seed=i)
    assert torch.equal(net[0].weight, twin[0].weight)
    assert wrapper.optimizer.state


def _run(folder, bad, **changes):
    dataset = {'train_dataloader.dataset.type': 'NoisyToys', 'train_dataloader.dataset.bad': list(bad)}
    one = {'train_dataloader.batch_size': 2, 'train_dataloader.sampler.shuffle': False}
    return experiment(folder, **dataset, **one, **changes)


def _log(folder: Path) -> str:
    return ' '.join(path.read_text() for path in sorted((folder / 'work').glob('*/*.log')))


def test_a_run_goes_on_and_names_the_samples(tmp_path):
    import tests.noisy_toys  # noqa: F401

    cfg = _run(
        tmp_path, bad=[3], **{'train_cfg.max_epochs': 1, 'default_hooks.logger': {'type': 'LoggerHook'}}
    )
    runner = build_train_runner(cfg, device='cpu')
    runner.train()
    text = _log(tmp_path)
    assert 'of the samples (toy, frame 3) of ' in text
    assert 'loss_prediction = nan' in text
    assert '1 of 4 batches were left out' in text
    assert all(p.isfinite().all() for p in runner.model.parameters())
    assert len(runner.message_hub.get_scalar('train/loss').data[0]) == 3
    assert runner.message_hub.get_info('bad_batches') == [1, 0]
    # A resumed run counts on.
    cfg.train_cfg.max_epochs = 2
    set_resume(cfg, 'auto')
    runner = build_train_runner(cfg, device='cpu')
    runner.train()
    assert runner.message_hub.get_info('bad_batches') == [2, 0]


def test_many_in_a_row_stop_the_run(tmp_path):
    import tests.noisy_toys  # noqa: F401

    cfg = _run(tmp_path, bad=range(8), custom_hooks=[{'type': 'BadBatchHook', 'most_in_a_row': 3}])
    runner = build_train_runner(cfg, device='cpu')
    with pytest.raises(FloatingPointError, match=r'epoch 1, iteration 3, .*frame 4.* 3 in a row .*Lower the'):
        runner.train()
    assert not list((tmp_path / 'work').glob('*.pth'))
    with pytest.raises(ValueError, match='most_in_a_row must be at least 1'):
        BadBatchHook(0)


def test_inputs_that_are_not_finite_single_a_sample_out():
    image = torch.zeros(3, 2, 3, 4, 4)
    image[1, 0, 0, 0, 0] = torch.nan
    truth = {'session': torch.tensor([0, 1, 5]), 'frame': torch.tensor([7, 8, 9])}
    batch = {'inputs': {'image': image}, 'data_samples': truth}
    names = {'session_names': ('a', 'b')}
    assert sample_names(batch, names) == ['(b, frame 8)']
    batch['inputs']['image'] = torch.zeros(3, 1)
    assert sample_names(batch, names) == ['(a, frame 7)', '(b, frame 8)', '(session 5, frame 9)']
    assert 'neither' in sample_names([1], {})[0]


def _one_bad_rank(folder: str) -> None:
    import tests.noisy_toys  # noqa: F401
    from smilfit.solvers.processes import process_group

    with process_group('pytorch', 'cpu'):
        # Without shuffling rank 1 has the odd frames.
        cfg = _run(Path(folder), bad=[3], **{'launcher': 'pytorch', 'train_cfg.max_epochs': 1})
        torch.save(_trained(cfg), f'{folder}/{dist.get_rank()}.pth')


def _trained(cfg) -> dict[str, torch.Tensor]:
    runner = build_train_runner(cfg, device='cpu')
    runner.train()
    return {name: value.detach().clone() for name, value in runner.model.module.named_parameters()}


def test_all_processes_leave_out_what_is_bad_in_one(tmp_path):
    experiment(tmp_path)
    on_two_ranks(_one_bad_rank, str(tmp_path), grouped=False)
    first, second = (torch.load(tmp_path / f'{r}.pth', weights_only=True) for r in (0, 1))
    assert all(torch.equal(value, second[name]) and value.isfinite().all() for name, value in first.items())
    # The first process says what the second one met.
    assert 'samples (toy, frame 3) of' in _log(tmp_path)
    assert '1 of 2 batches' in _log(tmp_path)


@pytest.mark.parametrize(
    ('bad', 'most'), [((0, 2, 4, 6), 10), ((0, 2, 4), 10)], ids=['every batch', 'three of four']
)
def test_a_run_that_learned_of_few_batches_is_no_training(tmp_path, bad, most):
    import tests.noisy_toys  # noqa: F401

    hook = {'type': 'BadBatchHook', 'most_in_a_row': most}
    cfg = _run(tmp_path, bad=bad, custom_hooks=[hook], **{'train_cfg.max_epochs': 1})
    runner = build_train_runner(cfg, device='cpu')
    sentence = rf'{len(bad)} of 4 were left out.*The first: training: every loss.*\(toy, frame 0\)'
    with pytest.raises(FloatingPointError, match=sentence):
        runner.train()
    # Nothing that could be taken for trained.
    assert not list((tmp_path / 'work').glob('*.pth'))
