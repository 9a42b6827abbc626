"""SMILify's checkpoints become ours: tested, trained on, and refused where they do not fit."""

import json

import pytest
import torch

from smilfit.cli.main import main
from smilfit.networks.engine import build_test_runner, load_experiment, read_checkpoint
from smilfit.networks.engine.checkpoint_loader import smilfit_entry
from smilfit.smilify import SmilifyNetwork
from smilfit.smilify.checkpoint import _unit
from tests.smilify.test_smilify_network import shaken_network
from tests.smilify_files import as_smilify, multi_view_config
from tests.toy_samples import toy_data, write_toy_model


@pytest.fixture
def model_file(tmp_path) -> str:
    return str(write_toy_model(tmp_path))


def _write(tmp_path, network: SmilifyNetwork, **changes):
    path = tmp_path / 'best_model.pth'
    torch.save(as_smilify(network, multi_view_config(**changes)), path)
    return str(path)


def _convert(*arguments) -> int:
    return main(['convert-checkpoint', *map(str, arguments)])


@pytest.mark.filterwarnings('ignore::UserWarning')
def test_a_converted_checkpoint_is_tested_as_any_other(tmp_path, model_file, capsys):
    network = shaken_network(n_cameras=3)
    out = tmp_path / 'ours.pth'
    assert _convert(_write(tmp_path, network), out, '--body-model', model_file, '--unit', '1000') == 0
    printed = capsys.readouterr().out
    assert 'cameras: cam0, cam1, cam2' in printed
    assert 'left out, as they take no part: 4' in printed
    stored = read_checkpoint(out)
    entry = smilfit_entry(out, stored)
    assert entry['body_model_hash'] == toy_data().content_hash()
    assert entry['camera_names'] == ('cam0', 'cam1', 'cam2')
    assert json.loads(entry['model'])['network']['n_iters'] == 2
    for key, value in network.state_dict().items():
        assert torch.equal(stored['state_dict'][f'network.{key}'], value), key

    cfg = load_experiment(tmp_path / 'ours.py', work_dir=tmp_path / 'work')
    dataset = {'type': 'ToyDataset', 'data_path': str(tmp_path / 'toy.h5'), 'n': 4}
    cfg.test_dataloader = {**cfg.test_dataloader, 'num_workers': 0, 'dataset': dataset}
    metrics = build_test_runner(cfg, out, device='cpu').test()
    assert metrics['n_samples'] == 4
    assert metrics['mpjpe_mm'] > 0


def test_a_file_that_is_there_is_kept(tmp_path, model_file, capsys):
    source = _write(tmp_path, shaken_network(n_cameras=3))
    out = tmp_path / 'ours.pth'
    out.write_text('mine')
    assert _convert(source, out, '--body-model', model_file) == 1
    assert '--force' in capsys.readouterr().err
    assert out.read_text() == 'mine'


def test_cameras_that_the_file_does_not_name_are_asked_for(tmp_path, model_file, capsys):
    source = _write(tmp_path, shaken_network(n_cameras=3), canonical_camera_order=None)
    out = tmp_path / 'ours.pth'
    assert _convert(source, out, '--body-model', model_file) == 1
    assert 'Give --cameras' in capsys.readouterr().err
    assert _convert(source, out, '--body-model', model_file, '--cameras', 'a', 'b', 'c') == 0
    assert read_checkpoint(out)['smilfit']['camera_names'] == ('a', 'b', 'c')


@pytest.mark.parametrize('head', ['transformer_decoder', 'mlp'])
def test_another_body_model_is_refused(head, tmp_path, capsys):
    source = _write(tmp_path, shaken_network(head=head))
    assert _convert(source, tmp_path / 'ours.pth', '--body-model', 'insect') == 1
    printed = capsys.readouterr().err
    assert 'elsewhere/toy.pkl' in printed
    assert '--body-model' in printed


def test_what_is_no_such_checkpoint_is_refused(tmp_path, model_file, capsys):
    network = shaken_network(n_cameras=3)
    whole = as_smilify(network, multi_view_config())
    less = {k: v for k, v in whole['model_state_dict'].items() if not k.startswith('view_embeddings')}
    cases = (
        ({'state_dict': {}}, 'model_state_dict'),
        ({'model_state_dict': whole['model_state_dict']}, '"config"'),
        ({**whole, 'config': multi_view_config(backbone_name='unet_mobilenet_v2')}, "'unet_mobilenet_v3'"),
        ({**whole, 'config': multi_view_config(rotation_representation='quaternion')}, 'axis_angle'),
        ({**whole, 'model_state_dict': less}, 'view_embeddings'),
    )
    for content, words in cases:
        path = tmp_path / 'other.pth'
        torch.save(content, path)
        assert _convert(path, tmp_path / 'ours.pth', '--body-model', model_file) == 1
        assert words in capsys.readouterr().err
    assert _convert(tmp_path / 'none.pth', tmp_path / 'ours.pth', '--body-model', model_file) == 1
    assert 'no such checkpoint' in capsys.readouterr().err


def test_the_unit_is_told_by_the_animals_size(tmp_path, model_file, caplog):
    assert _unit('x', 0.139, None) == 1000
    assert 'the network predicts an animal of 0.139 units, as in m; data are taken to be in mm' in caplog.text
    assert _unit('x', 139.0, None) == 1
    assert 'as in mm' in caplog.text
    # Neither m nor mm alone: said, and left as it is.
    assert _unit('x', 2.0, None) == 1
    assert 'which do not tell one' in caplog.text
    caplog.clear()
    assert _unit('x', 0.139, 1000.0) == 1000
    assert not caplog.records
    assert _unit('x', 139.0, 1000.0) == 1000
    assert 'SUSPECTED: x: the network predicts an animal of 139 units' in caplog.text
    caplog.clear()
    source = _write(tmp_path, shaken_network(n_cameras=3))
    assert _convert(source, tmp_path / 'ours.pth', '--body-model', model_file) == 0
    assert '(--unit says otherwise)' in caplog.text
