"""A training that starts from fits: their parameters are compared with, those of another fit are refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.apis import train
from smilfit.body_models import load_body_model, save_body_model
from smilfit.datasets import PreprocessOptions, open_dataset, preprocess
from smilfit.files import BadFileError
from smilfit.networks.tasks.training_labels import read_targets
from smilfit.registry import ConfigError
from smilfit.structures import FitCovariance, FitOrigin, FitResult, FittedModel
from tests.test_fit_launcher import BodySession, make_data
from tests.toy_experiment import experiment

N = 8
WORDS = ('good', 'doubtful', 'not believable', 'not fitted') + ('good',) * 4

pytestmark = pytest.mark.filterwarnings('ignore::UserWarning')


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A dataset whose parameters nobody knows, and a fit of it."""
    folder = tmp_path_factory.mktemp('targets')
    model = save_body_model(make_data(), folder / 'small.smil.json')
    session = BodySession('walk', N)
    truth, session.true_params = session.true_params, None
    options = PreprocessOptions(target_resolution=64)
    preprocess([session], folder / 'small.h5', make_data(), options, body_model_file=model)
    dataset, body = open_dataset(folder / 'small.h5'), load_body_model(model)
    sd = torch.full((N, 3), 0.01)
    sd[1] = 0.02
    keypoints = dataset.keypoints3d('walk')
    fit = FitResult(
        truth.to(torch.float32),
        torch.ones(N),
        torch.ones(N, dtype=torch.bool),
        keypoints3d=keypoints,
        model=FittedModel.of(body.data),
        origin=FitOrigin.of(dataset, 'walk'),
        frames=torch.arange(N),
        covariance=FitCovariance(
            None, tuple(f'a.turn_{a}' for a in 'xyz'), torch.zeros(N, 0, 3, 3), (), 1.0, sd
        ),
    )
    write(folder / 'fit' / 'walk', fit)
    return folder, fit


def write(folder, fit, word='doubtful'):
    fit.save(folder / 'fit.npz')
    frames = [{'word': w, 'reason': 'bones 3 times too long'} for w in WORDS]
    verdict = {'word': word, 'reasons': [], 'measures': [], 'frames': frames, 'cameras': []}
    (folder / 'verdict.json').write_text(json.dumps(verdict))


def test_believable_frames_are_taken_by_how_well_they_are_known(made, caplog):
    folder, fit = made
    result = read_targets(folder / 'fit', [folder / 'small.h5'])
    assert result.frame.tolist() == [0, 1, 4, 5, 6, 7]
    np.testing.assert_allclose(result.weight, [1, 0.25, 1, 1, 1, 1], rtol=1e-5)
    np.testing.assert_allclose(result.params['transl'], fit.params.transl[result.frame])


def losses(made, name, targets):
    folder, _ = made
    work = folder / name
    work.mkdir()
    cfg = experiment(work, **{'train_cfg.max_epochs': 1, 'custom_hooks': []})
    cfg.model.body_model = str(folder / 'small.smil.json')
    data = {'type': 'MultiViewDataset', 'data_path': str(folder / 'small.h5'), 'split': 'all'}
    cfg.train_dataloader.dataset = data
    cfg.default_hooks.logger = {'type': 'LoggerHook', 'interval': 1}
    cfg.dump(work / 'config.py')
    run = train(work / 'config.py', device='cpu', validate=False, targets=targets)
    lines = [json.loads(line) for file in run.work_dir.rglob('scalars.json') for line in file.open()]
    return [line['loss_transl'] for line in lines if 'loss_transl' in line], run.work_dir


def test_losses_on_parameters_compare_with_them(made):
    folder, _ = made
    without, _ = losses(made, 'without', None)
    taught, work = losses(made, 'with', folder / 'fit')
    assert without
    assert max(without) == 0
    assert min(taught) > 0
    assert (work / 'targets.npz').is_file()


def test_fits_of_something_else_are_refused(made, tmp_path):
    folder, fit = made
    data = [folder / 'small.h5']
    with pytest.raises(FileNotFoundError, match='smilfit fit'):
        read_targets(tmp_path, data)
    write(tmp_path / 'a', replace(fit, origin=replace(fit.origin, fingerprint='other')))
    with pytest.raises(ValueError, match='must be fits of the dataset'):
        read_targets(tmp_path / 'a', data)
    write(tmp_path / 'b', replace(fit, model=replace(fit.model, name='cow', content_hash='other')))
    with pytest.raises(ValueError, match='body model of the training .* this is of cow'):
        read_targets(tmp_path / 'b', data)
    write(tmp_path / 'c', replace(fit, origin=None))
    with pytest.raises(BadFileError, match='Fit again'):
        read_targets(tmp_path / 'c', data)
    write(tmp_path / 'd', fit, 'not believable')
    with pytest.raises(ValueError, match='must be believable'):
        read_targets(tmp_path / 'd', data)
    with pytest.raises(ConfigError, match='one of the two'):
        train('train/multiview_demo.py', tmp_path / 'work', pseudo_labels=['x'], targets='y', device='cpu')
