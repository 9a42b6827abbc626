"""Datasets, fits and checkpoints find their body model wherever a command stands, and in a moved folder."""

import json
import shutil
from dataclasses import replace

import pytest

from smilfit.apis import SourceOptions, infer
from smilfit.apis import test as evaluate
from smilfit.apis.viewer.open_scene import open_scene
from smilfit.body_models import save_body_model
from smilfit.cli.fitting.export import main as export
from smilfit.cli.fitting.fit import main as fit
from smilfit.datasets import PreprocessOptions, open_dataset, preprocess
from smilfit.networks.engine import build_train_runner, load_trained_regressor
from tests.apis.inference_session import write_toy_session
from tests.test_fit_launcher import CONFIG, BodySession, make_data
from tests.toy_experiment import experiment
from tests.toy_samples import toy_data

pytestmark = pytest.mark.filterwarnings('ignore::UserWarning')
# Formats that need the body model.
SKINNED = ('glb', 'bvh', 'angles', 'bones', 'meshes')


def exported(of, out) -> tuple[int, dict]:
    code = export([str(of), '--to', 'all', '--out', str(out)])
    return code, json.loads((out / 'exports.json').read_text())['parts']


@pytest.fixture(params=['CC0-1.0', None], ids=['packed', 'by_place'])
def made(tmp_path, monkeypatch, request):
    """A dataset and a fit of it, both made in a folder that they name their model relative to."""
    folder, licence = tmp_path / 'made', request.param
    (folder / 'base').mkdir(parents=True)
    (folder / 'config.py').write_text(CONFIG)
    monkeypatch.chdir(folder)
    data = replace(make_data(), licence=licence)
    save_body_model(data, 'base/animal.smil.json')
    options = PreprocessOptions(target_resolution=64, num_workers=0)
    preprocess(
        [BodySession('walk', 3)], folder / 'data.h5', data, options, body_model_file='base/animal.smil.json'
    )
    words = [
        'config.py',
        '--data',
        'data.h5',
        '--out',
        'fits',
        '--no-video',
        '--no-verdict',
        '--meshes',
        'none',
    ]
    assert fit([*words, '--body-model', 'base/animal.smil.json']) == 0
    return folder, licence


def test_from_another_folder_after_a_move_without_the_model_and_with_another(
    made, tmp_path, monkeypatch, capsys
):
    folder, licence = made
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    assert open_scene(folder / 'fits').bodies is not None
    folder = shutil.move(folder, tmp_path / 'lab')
    _, parts = exported(folder / 'fits' / 'walk', tmp_path / 'all')
    assert set(SKINNED) <= set(parts)
    data = ['--data', str(folder / 'data.h5'), '--no-video', '--no-verdict', '--meshes', 'none', '--out']
    assert fit([str(folder / 'config.py'), *data, str(tmp_path / 'again')]) == 0
    assert open_scene(folder / 'fits').bodies is not None
    model = folder / 'base' / 'animal.smil.json'
    model.unlink()
    _, parts = exported(folder / 'fits' / 'walk', tmp_path / 'without')
    assert set(parts) >= set(SKINNED) if licence else not set(parts) & set(SKINNED)
    other = make_data()
    save_body_model(replace(other, v_template=1.1 * other.v_template), model)
    capsys.readouterr()
    code, parts = exported(folder / 'fits' / 'walk', tmp_path / 'replaced')
    refit = fit([str(folder / 'config.py'), *data, str(tmp_path / 'replaced_fit')])
    scene = open_scene(folder / 'fits')
    notes = capsys.readouterr()
    if licence:
        assert set(parts) >= set(SKINNED)
        assert (refit, scene.bodies is not None) == (0, True)
    else:
        assert code == 3
        assert not set(parts) & set(SKINNED)
        assert f'left out: {folder}' in notes.out
        assert notes.err.splitlines()[0].startswith('left out: ')
        for text in (notes.out, notes.err, scene.notes[-1]):
            assert other.hash_without_landmarks() in text
            assert replace(other, v_template=1.1 * other.v_template).content_hash() in text
        assert (refit, scene.bodies) == (1, None)
    # What was made of the model anew, out of a file that holds it, holds it too.
    assert (open_dataset(folder / 'data.h5').body_model.packed is not None) is bool(licence)


@pytest.mark.parametrize('licence', ['own', None])
def test_checkpoints(licence, tmp_path, monkeypatch):
    folder = tmp_path / 'lab'
    (folder / 'data').mkdir(parents=True)
    monkeypatch.chdir(folder)
    data = replace(toy_data(), licence=licence)
    save_body_model(data, 'data/toy.smil.json')
    cfg = experiment(folder, **{'train_cfg.max_epochs': 1, 'val_cfg': None})
    cfg.model.body_model = 'data/toy.smil.json'
    cfg.val_dataloader = cfg.val_evaluator = None
    del cfg.default_hooks.checkpoint.save_best, cfg.default_hooks.checkpoint.rule
    build_train_runner(cfg, device='cpu').train()
    session = write_toy_session(tmp_path / 'toy_session', n_frames=2)
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    folder = shutil.move(folder, tmp_path / 'moved')
    checkpoint = folder / 'work' / 'epoch_1.pth'
    (run,) = infer(checkpoint, session, tmp_path / 'out', sources=SourceOptions(side=64), device='cpu')
    assert run.predictions.valid.all()
    metrics = evaluate(
        None,
        checkpoint,
        cfg_options={'test_dataloader.dataset.data_path': str(folder / 'data' / 'toy.h5')},
        device='cpu',
    ).metrics
    assert metrics['toy_error_mm'] > 0
    _, parts = exported(run.folder, tmp_path / 'exported')
    assert set(SKINNED) <= set(parts)
    model = folder / 'data' / 'toy.smil.json'
    save_body_model(replace(data, v_template=1.1 * data.v_template), model)
    if licence is None:
        with pytest.raises(
            ValueError, match=rf'{data.content_hash()}.*got another one.*Looked at: .*toy.smil'
        ):
            load_trained_regressor(checkpoint)
    else:
        assert load_trained_regressor(checkpoint).body.data.content_hash() == data.content_hash()
