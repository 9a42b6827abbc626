"""What is switched on by a line: averaged weights, early stopping, trackers, compilation, clusters."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from smilfit.networks.engine import (
    RememberingEarlyStoppingHook,
    build_test_runner,
    build_train_runner,
    read_checkpoint,
    set_resume,
    set_tracking,
)
from tests.toy_experiment import experiment

ROOT = Path(__file__).resolve().parents[3]
BASE = ROOT / 'configs' / '_base_'
HOOKS = sorted((BASE / 'hooks').glob('*.py'))


def _habits() -> list[dict]:
    result = []
    for path in HOOKS:
        cfg = Config.fromfile(path).to_dict()
        # Beside the hook there is at most the import of its room.
        assert set(cfg) - {'custom_imports'} == {path.stem}
        result.append(cfg[path.stem])
    return result


def test_all_shipped_hooks_run_together_and_are_resumed(tmp_path):
    hooks = _habits()
    assert {h['type'] for h in hooks} == {
        *('EMAHook', 'EarlyStoppingHook', 'CheckpointHook', 'BadBatchHook', 'ValidationOverlayHook'),
    }
    stopping = next(h for h in hooks if h['type'] == 'EarlyStoppingHook')
    stopping.update(monitor='toy_error_mm', rule='less', patience=2, min_delta=1e9)
    next(h for h in hooks if h['type'] == 'CheckpointHook').update(interval=1)
    next(h for h in hooks if h['type'] == 'EMAHook').update(momentum=0.3)
    cfg = experiment(tmp_path, custom_hooks=hooks, **{'train_cfg.max_epochs': 1})
    build_train_runner(cfg, device='cpu').train()
    cfg.train_cfg.max_epochs = 9
    set_resume(cfg, str(tmp_path / 'work' / 'epoch_1.pth'))
    runner = build_train_runner(cfg, device='cpu')
    runner.train()
    # The first validation, made up for, sets the mark; two that are no better by so much end the run.
    assert runner.epoch == 3
    assert runner.message_hub.get_info('early_stopping')[0] == 2
    # A test takes the averaged weights, or those of the last step.
    path = tmp_path / 'work' / 'epoch_3.pth'
    stored = read_checkpoint(path)
    name = 'head.correct.weight'
    for averaged in (True, False):
        tester = build_test_runner(cfg, path, device='cpu', averaged=averaged)
        tester.test()
        wanted = stored['state_dict'][name] if averaged else runner.model.state_dict()[name]
        assert torch.equal(tester.model.state_dict()[name], wanted)
    assert not torch.equal(stored['state_dict'][name], runner.model.state_dict()[name])


def test_weights_that_nobody_averaged_are_not_left_out(tmp_path):
    cfg = experiment(tmp_path, **{'train_cfg.max_epochs': 1})
    build_train_runner(cfg, device='cpu').train()
    tester = build_test_runner(cfg, tmp_path / 'work' / 'epoch_1.pth', device='cpu', averaged=False)
    with pytest.raises(ValueError, match='EMAHook for --no-ema'):
        tester.test()


def test_early_stopping_listens_to_no_loss():
    with pytest.raises(ValueError, match='no loss weight changes'):
        RememberingEarlyStoppingHook('loss_keypoints2d', rule='less')


@pytest.mark.parametrize('name', ['tensorboard', 'wandb'])
def test_a_tracker_is_added_or_what_to_install_is_said(tmp_path, name):
    cfg = experiment(tmp_path, **{'train_cfg.max_epochs': 1})
    set_tracking(cfg, [name])
    set_tracking(cfg, [name])
    kinds = [backend['type'] for backend in cfg.visualizer.vis_backends]
    shipped = Config.fromfile(BASE / 'trackers' / f'{name}.py')
    assert kinds == [backend['type'] for backend in shipped.visualizer.vis_backends]
    if find_spec(name) is None:
        with pytest.raises(ValueError, match=f'pip install {name}'):
            build_train_runner(cfg, device='cpu')
    elif name == 'tensorboard':
        build_train_runner(cfg, device='cpu').train()
        assert list((tmp_path / 'work').glob('**/events.out.*'))


_COMPILED = """
import sys, torch
from pathlib import Path
from smilfit.networks.engine import build_train_runner
from tests.toy_experiment import experiment
weights = []
for name, extra in (('plain', {}), ('compiled', {'compile': {'backend': 'eager'}})):
    folder = Path(sys.argv[1]) / name
    folder.mkdir()
    runner = build_train_runner(experiment(folder, **{'train_cfg.max_epochs': 1}, **extra), device='cpu')
    runner.train()
    weights.append(runner.model.state_dict())
for name, value in weights[0].items():
    torch.testing.assert_close(value, weights[1][name], atol=1e-5, rtol=1e-4, msg=name)
"""


def test_a_compiled_step_is_the_same_step(tmp_path):
    """torch's tracing alone; generating code takes a compiler and a minute. It does not see through type checks."""
    assert Config.fromfile(BASE / 'compile.py').compile is True
    root = Path(__file__).resolve().parents[3]
    subprocess.run([sys.executable, '-c', _COMPILED, tmp_path], cwd=root, check=True, timeout=300)


_COMPILED_NETWORK = """
import copy, sys, torch
from pathlib import Path
from smilfit.networks.engine import build_train_runner
from tests.toy_experiment import experiment, keypoint_model
torch.set_num_threads(1)
changes = {'train_cfg.max_epochs': 1, 'custom_hooks': [], 'compile': {'backend': 'aot_eager'}}
cfg = experiment(Path(sys.argv[1]), **changes)
cfg.model = keypoint_model(cfg.model.body_model)
runner = build_train_runner(cfg, device='cpu')
model = runner.model
plain = copy.deepcopy(model)
runner._maybe_compile('train_step')
# The whole step is not compiled, the network is, and a copy or a checkpoint knows nothing of it.
assert 'train_step' not in vars(model)
assert model.vision.backbone._compiled_call_impl is not None
assert model.state_dict().keys() == plain.state_dict().keys()
crops = torch.rand(2, 3, 32, 32)
found = []
for one in (model, plain):
    torch.nn.init.constant_(one.vision.head.out.weight, 0.1)
    logits = one.vision.logits(crops)
    logits.square().mean().backward()
    found.append([logits.detach(), *(p.grad for p in one.vision.parameters())])
for a, b in zip(*found, strict=True):
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
print('alike:', len(found[0]), 'of', 1 + len(list(plain.vision.parameters())))
"""


def test_a_compiled_network_gives_the_same_maps_and_gradients(tmp_path):
    """Traced forward and backward; generating code takes a compiler and minutes."""
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, '-c', _COMPILED_NETWORK, tmp_path]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    compared, valid = done.stdout.splitlines()[-1].removeprefix('alike: ').split(' of ')
    assert int(compared) == int(valid) > 1


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_a_cluster_is_asked_for_one_task_a_gpu(tmp_path, tool):
    (tmp_path / 'srun').write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / 'srun').chmod(0o755)
    files = ['a.py'] if tool == 'train' else ['a.py', 'b.pth']
    environment = {
        'PATH': f'{tmp_path}:/usr/bin:/bin', 'GPUS': '16', 'CPUS_PER_TASK': '3', 'SRUN_ARGS': '--time=2 --quiet'
    }  # fmt: skip
    command = [str(ROOT / 'tools' / f'slurm_{tool}.sh'), 'part', 'job', *files, '--device', 'cuda']
    asked = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    assert {
        '--partition=part',
        '--gres=gpu:8',
        '--ntasks=16',
        '--ntasks-per-node=8',
        '--cpus-per-task=3',
    } <= {*asked}
    assert {'--time=2', '--quiet'} <= {*asked}
    assert asked[-len(files) - 4 :] == [*files, '--launcher', 'slurm', '--device', 'cuda'][-len(files) - 4 :]
