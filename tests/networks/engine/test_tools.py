"""The commands, from a config file to a benchmark folder."""

import copy
import json
from pathlib import Path

import pytest
from mmengine.config import Config

from smilfit.cli.networks import testing as test_tool
from smilfit.cli.networks import train as train_tool
from smilfit.options import fields
from smilfit.solvers.processes import LAUNCHERS
from tests.toy_experiment import experiment

ROOT = Path(__file__).resolve().parents[3]


def _config_file(folder: Path) -> Path:
    cfg = experiment(folder)
    cfg.work_dir = None
    cfg.test_evaluator = cfg.val_evaluator = [{'type': 'MultiViewPoseMetric'}]
    cfg.default_hooks.checkpoint.update(save_best='pck_auc_original', rule='greater')
    cfg.custom_imports = {'imports': ['tests.toy_experiment'], 'allow_failed_imports': False}
    cfg.custom_hooks = []
    cfg.log_level = 'INFO'
    path = folder / 'toy.py'
    cfg.dump(path)
    return path


@pytest.mark.filterwarnings('ignore::UserWarning')
def test_train_then_test_writes_the_benchmark_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = str(_config_file(tmp_path))
    common = ['--device', 'cpu', '--cfg-options']
    assert train_tool.main([config, *common, 'train_cfg.max_epochs=1', '--traceback']) == 0
    work_dir = tmp_path / 'work_dirs' / 'toy'
    result = capsys.readouterr()
    assert f'checkpoint: {work_dir / "epoch_1.pth"}' in result.out
    assert f'next: python tools/test.py {work_dir / "best_pck_auc_original_epoch_1.pth"}' in result.out
    # What a person reads is on the console, all else in the log file that it names.
    assert len(result.out.splitlines()) < 25
    assert 'mmengine' not in result.out + result.err
    [log] = [line.split()[-1] for line in result.out.splitlines() if line.startswith('log ')]
    assert 'System environment' in Path(log).read_text()
    assert '8 samples, 4 more for validation' in result.out
    assert '2/2  epoch 1: loss ' in result.out
    assert 'validation after epoch 1:' in result.out
    assert '  mean distance in space ' in result.out
    own = tmp_path / 'own.py'
    own.write_text('')
    resumed = [
        config,
        *common,
        'train_cfg.max_epochs=2',
        '--resume',
        '--amp',
        '--traceback',
        '--import',
        str(own),
    ]
    assert train_tool.main(resumed) == 0
    # What comes next needs the same classes.
    assert capsys.readouterr().out.count(f' --import {own}\n') == 2
    checkpoint = str(work_dir / 'epoch_2.pth')
    out = tmp_path / 'out' / 'metrics.json'
    more = ['--out', str(out), '--left-out-views', '--traceback']
    assert test_tool.main([config, checkpoint, '--device', 'cpu', *more]) == 0
    metrics = json.loads(out.read_text())
    # Beside the baseline of the training set, kept in the checkpoint.
    assert metrics['n_samples'] == 4
    assert {'mpjpe_mm', 'mpjpe_baseline_mm', 'pa_mpjpe_mean_pose_mm', 'pck_5px_original'} <= metrics.keys()
    assert (work_dir / 'benchmark' / 'report.html').is_file()
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith('the same, poses')]
    assert 'of the mean pose' in line
    # Each of three views from the two others.
    left_out = {name for name in metrics if 'left_out' in name}
    assert metrics['n_views_left_out'] == 4 * 3
    assert 'median_error_left_out_px_original' in left_out
    # The checkpoint alone, and options between the files.
    assert test_tool.main([checkpoint, '--device', 'cpu', '--traceback']) == 0
    printed = capsys.readouterr().out
    assert f'numbers: {work_dir / "benchmark" / "metrics.json"}' in printed
    assert 'mmengine' not in printed
    assert 'no intervals: ' in printed
    alone = json.loads((work_dir / 'benchmark' / 'metrics.json').read_text())
    assert alone == pytest.approx({name: v for name, v in metrics.items() if name not in left_out})
    files = [str(work_dir / 'benchmark' / 'comparison.npz'), str(work_dir / 'epoch_1.pth')]
    assert test_tool.main(['--compare', *files, '--device', 'cpu']) == 1
    assert 'must have 10 frames' in capsys.readouterr().err
    # What is no checkpoint is told before anything is tested.
    (tmp_path / 'none.pth').write_text('none')
    assert test_tool.main(['--compare', files[1], str(tmp_path / 'none.pth'), '--device', 'cpu']) == 1
    result = capsys.readouterr()
    assert 'none.pth' in result.err
    assert 'mpjpe' not in result.out
    more = ['--cfg-options', 'test_dataloader.dataset.n=12', '--device', 'cpu', '--traceback']
    assert test_tool.main([config, '--out', str(out), checkpoint, *more]) == 0
    assert ' to ' in capsys.readouterr().out
    assert test_tool.main(['--compare', *files, '--out', str(out), *more]) == 0
    printed = capsys.readouterr().out
    assert '12 frames; 95 % intervals by drawing whole 2 blocks of time' in printed
    assert {d['name'] for d in json.loads(out.read_text())['differences']} >= {'mpjpe_mm', 'pck_auc_original'}


def test_a_config_in_a_checkpoint_runs_nothing(tmp_path):
    import torch

    from smilfit.files import BadFileError
    from smilfit.networks.engine import build_train_runner, config_of_checkpoint

    cfg = experiment(tmp_path, **{'train_cfg.max_epochs': 1})
    build_train_runner(cfg, device='cpu').train()
    path = tmp_path / 'work' / 'epoch_1.pth'
    result = config_of_checkpoint(path)
    assert result.model.head == cfg.model.head
    assert 'custom_hooks' not in result
    stored = torch.load(path, weights_only=True)
    for key, value in (('type', 'os.system'), ('_scope_', 'somewhere'), ('type', 5)):
        changed = copy.deepcopy(stored)
        changed['smilfit']['config']['model']['backbone'][key] = value
        torch.save(changed, tmp_path / 'bad.pth')
        with pytest.raises(BadFileError, match=r'model\.backbone\.type .*registered class'):
            config_of_checkpoint(tmp_path / 'bad.pth')
    stored['smilfit']['config'] = None
    torch.save(stored, tmp_path / 'old.pth')
    with pytest.raises(BadFileError, match='must hold its config.*CONFIG CHECKPOINT'):
        config_of_checkpoint(tmp_path / 'old.pth')


def test_check_config_builds_everything_and_trains_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train_tool.main([str(_config_file(tmp_path)), '--device', 'cpu', '--check-config']) == 0
    assert 'everything builds' in capsys.readouterr().out
    assert not list(tmp_path.glob('**/*.pth'))


def test_bad_input_is_a_message(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = str(_config_file(tmp_path))
    for arguments, words in (
        ([config, '--cfg-options', 'train_cfg.max_epoch=3'], "Did you mean 'max_epochs'"),
        ([config, '--launcher', 'pytorch', '--device', 'cpu'], 'RANK must be set'),
        ([config, '--body-model', 'none.pkl', '--device', 'cpu'], 'the body model none.pkl must be there'),
        ([config, '--auto-scale-lr', '--device', 'cpu'], 'base_batch_size'),
        (['none.py'], 'the config is not there'),
    ):
        assert train_tool.main(arguments) == 1
        assert words in capsys.readouterr().err
    assert test_tool.main([config, 'none.pth', '--device', 'cpu']) == 1
    assert 'no such checkpoint' in capsys.readouterr().err


@pytest.mark.parametrize('tool', [train_tool, test_tool])
def test_help_shows_defaults(tool, capsys):
    with pytest.raises(SystemExit, match='0'):
        tool.main(['--help'])
    printed = capsys.readouterr().out
    for option in ('--work-dir', '--cfg-options', '--launcher', '--body-model', '(default: auto)'):
        assert option in printed


def test_the_command_lines_know_every_launcher():
    assert fields.LAUNCHERS == LAUNCHERS


@pytest.mark.parametrize('name', ['multiview_resnet', 'multiview_demo'])
def test_shipped_configs_read_and_dump(tmp_path, name):
    cfg = Config.fromfile(ROOT / 'configs' / 'train' / f'{name}.py')
    cfg.dump(tmp_path / 'again.py')
    assert Config.fromfile(tmp_path / 'again.py').pretty_text == cfg.pretty_text
    # Only the training set's file is asked for.
    assert cfg.train_dataloader.dataset.data_path is None
