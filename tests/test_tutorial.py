"""The tutorial's files, written as they stand there, fit and train."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest
import torch

from smilfit.body_models import SMIL, load_body_model, save_body_model
from smilfit.cli.data.preprocess import main as preprocess
from smilfit.cli.fitting import fit as fit_tool
from smilfit.cli.networks import train as train_tool
from smilfit.datasets import open_dataset
from smilfit.handlers import ActiveTerm, BodyState
from smilfit.registry import HANDLERS, INPUTS, LOSSES, build_registrant, read_config
from smilfit.structures import FitResult
from smilfit.synthetic import make_quadruped, write_sessions

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r'```python\n# my_lab/(\w+\.py)[^\n]*\n(.*?)```', re.DOTALL)


def write_files(text: str, folder: Path) -> set[str]:
    """Write the code blocks that begin with a file's name; those of one file follow one another."""
    files: dict[str, str] = {}
    for name, code in BLOCK.findall(text):
        files[name] = files.get(name, '') + code
    for name, code in files.items():
        (folder / name).write_text(code, encoding='utf-8')
    return set(files)


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    """A user's folder beside the checkout, and a small dataset of the demo's animal."""
    folder = tmp_path_factory.mktemp('user')
    (folder / 'smilfit').symlink_to(ROOT)
    lab = folder / 'my_lab'
    lab.mkdir()
    text = (ROOT / 'docs' / 'tutorials' / 'custom_loss.md').read_text(encoding='utf-8')
    assert write_files(text, lab) == {'my_losses.py', 'my_fit.py', 'my_train.py'}
    body = save_body_model(make_quadruped(), folder / 'animal.smil.json')
    sessions = folder / 'sessions'
    write_sessions(sessions, SMIL(make_quadruped()), n_sessions=1, n_frames=12, n_cameras=2, size=(96, 80))
    assert preprocess([
        'sleap', str(sessions), str(folder / 'demo.h5'), '--body-model', str(body), '--unit', 'mm', '--quiet',
        '--joint-lookup', str(sessions / 'joint_lookup.csv'), '--target-resolution', '48', '--min-views', '1',
    ]) == 0  # fmt: skip
    registries = {r: dict(r.module_dict) for r in (LOSSES, INPUTS, HANDLERS)}
    path = list(sys.path)
    yield lab
    sys.path[:] = path
    sys.modules.pop('my_losses', None)
    for registry, names in registries.items():
        for name in registry.module_dict.keys() - names:
            registry.module_dict.pop(name)


def test_the_fit_uses_both_losses(lab):
    data, out = lab.parent / 'demo.h5', lab / 'fit'
    assert (
        fit_tool.main(
            [str(lab / 'my_fit.py'), '--data', str(data), '--out', str(out), '--no-video', '--no-verdict']
        )
        == 0
    )
    rotation, pose = FitResult.load(out / 'session_000' / 'fit.npz').history
    assert rotation['terms'].keys() == {'keypoints2d_mse', 'bone_direction'}
    assert rotation['terms']['bone_direction'] > 0
    assert pose['terms'].keys() == {'keypoints2d_mse', 'easy_bend'}


@pytest.mark.filterwarnings('ignore::UserWarning')
def test_the_training_uses_both_losses_by_epoch(lab):
    small = [
        'train_cfg.max_epochs=2', 'train_dataloader.dataset.split=all', 'model.backbone.name=test_convnext',
        'model.fusion.dim=32', 'model.head.dim=32', 'model.head.n_layers=1', 'model.orientation_head=None',
        'model.loss_weights.view_orientation=0', 'train_dataloader.num_workers=0', 'train_dataloader.batch_size=4',
        'default_hooks.logger.interval=1',
    ]  # fmt: skip
    data = f'train_dataloader.dataset.data_path={lab.parent / "demo.h5"}'
    arguments = [
        str(lab / 'my_train.py'),
        '--work-dir',
        str(lab / 'work'),
        '--device',
        'cpu',
        '--traceback',
        '--no-validate',
    ]
    assert train_tool.main([*arguments, '--cfg-options', data, *small]) == 0
    (scalars,) = (lab / 'work').glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in scalars.read_text().splitlines()]
    # The curriculum brings it in with the second epoch.
    assert {('loss_easy_bend' in row, row['epoch']) for row in rows} == {(False, 1), (True, 2)}
    assert all(row['loss_bone_direction'] > 0 for row in rows)


def test_by_hand_and_for_second_order(lab):
    """The notebook door; each loss is what it states, whatever weight and reduction, and every solver takes it."""
    cfg = read_config(lab / 'my_fit.py').to_dict()
    cfg.pop('custom_imports')
    mine = importlib.import_module('my_losses')
    body = load_body_model(lab.parent / 'animal.smil.json')
    fitter = build_registrant({**cfg, 'body_model': body})
    dataset = open_dataset(lab.parent / 'demo.h5')
    seen = mine.BoneDirectionInput(dataset.keypoints3d('session_000')).to(torch.float32)
    result = fitter([dataset.keypoints2d('session_000'), seen])
    params = result.params.replace(body_pose=result.params.body_pose + 0.4)
    for key, observation in {'bone_direction': seen, 'easy_bend': None}.items():
        handler = fitter.handlers[key]
        state = BodyState(body, params, body(params, handler.need(observation) or ('joints',)))
        (residuals,) = handler.stated(state, observation)
        squares = (
            (residuals.weights() * residuals.value.square().sum(-1)).sum()
            if key == 'bone_direction'
            else None
        )
        for reduction in ('mean', 'sum'):
            loss = handler(state, observation, 3.0, reduction)
            assert loss > 0
            torch.testing.assert_close(
                ActiveTerm(handler, observation, 3.0, reduction).per_frame(state).sum(), loss
            )
        squares = residuals.value.square().sum() if squares is None else squares
        torch.testing.assert_close(loss, 3 * squares)
    stages = [stage | {'n_iter': 30} for stage in cfg['stages']]
    changed = {'body_model': body, 'optimizer': dict(type='LevenbergMarquardt'), 'stages': stages}
    rotation, pose = build_registrant(cfg | changed)([dataset.keypoints2d('session_000'), seen]).history
    assert rotation['loss_end'] < 1.02 * result.history[0]['loss_end']
    assert pose['loss_end'] < 1.02 * result.history[1]['loss_end']


def test_an_error_is_a_message_and_a_traceback_if_asked_for(lab, capsys):
    broken = lab / 'my_broken_fit.py'
    broken.write_text((lab / 'my_fit.py').read_text().replace("'nose'", "'noze'"))
    arguments = [
        str(broken),
        '--data',
        str(lab.parent / 'demo.h5'),
        '--out',
        str(lab / 'never'),
        '--no-video',
    ]
    assert fit_tool.main(arguments) == 1
    assert "Did you mean 'nose'" in capsys.readouterr().err
    assert fit_tool.main([*arguments, '--traceback']) == 1
    stderr = capsys.readouterr().err
    assert 'Traceback (most recent call last)' in stderr
    assert "Did you mean 'nose'" in stderr.splitlines()[-1]
