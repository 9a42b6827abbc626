"""Training on a set of images with masks, by the shipped config."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from torch.utils.data import default_collate

from smilfit.body_models import load_body_model, save_body_model
from smilfit.cli.networks import train as train_tool
from smilfit.datasets import MultiViewDataset, PreprocessOptions, image_sessions, preprocess
from smilfit.networks import MultiViewRegressor
from smilfit.networks.engine.model_building import build_regressor
from smilfit.networks.engine.training_statistics import compute_statistics
from smilfit.synthetic import make_quadruped
from tests.datasets.image_set import ImageSet, make_images

CONFIG = Path(__file__).resolve().parents[3] / 'configs' / 'train' / 'single_view_images.py'


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ImageSet]:
    """A dataset file of four images without known cameras, and what they show."""
    folder = tmp_path_factory.mktemp('pictures')
    data = make_quadruped()
    image_set = make_images(folder, data, known_cameras=False)
    images = tuple(replace(image, params=None) for image in image_set.annotations.images)
    sessions, _ = image_sessions(replace(image_set.annotations, images=images))
    save_body_model(data, folder / 'quadruped.smil.json')
    options = PreprocessOptions(crop_mode='bbox_crop', target_resolution=64, num_workers=0)
    preprocess(sessions, folder / 'images.h5', data, options, body_model_file='quadruped.smil.json')
    return folder / 'images.h5', image_set


def _options(path: Path) -> list[str]:
    return [
        f'train_dataloader.dataset.data_path={path}',
        'train_dataloader.dataset.split=all',
        'val_dataloader.dataset.split=all',
        'test_dataloader.dataset.split=all',
        'train_dataloader.num_workers=0',
        'train_dataloader.batch_size=2',
        'val_dataloader.num_workers=0',
        'model.backbone.name=test_convnext',
        'model.fusion.dim=32',
        'model.fusion.n_layers=1',
        'model.fusion.n_heads=4',
        'model.head.dim=32',
        'model.head.n_layers=1',
        'model.head.n_heads=4',
        'model.orientation_head.dim=32',
        'model.mask_side=32',
        'model.loss_weights.silhouette=1.0',
        'custom_hooks=[]',
        'train_cfg.max_epochs=1',
    ]


@pytest.mark.filterwarnings('ignore::UserWarning')
def test_the_shipped_config_checks_and_trains(made, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = [str(CONFIG), '--device', 'cpu', '--traceback', '--cfg-options', *_options(made[0])]
    assert train_tool.main([*command[:3], '--check-config', *command[3:]]) == 0
    assert 'everything builds' in capsys.readouterr().out
    assert train_tool.main(command) == 0
    assert list(tmp_path.glob('**/epoch_1.pth'))


LOSSES = ('IoU', 'L1', 'L2', 'BCE', 'DistanceTransform')
TERMS = [dict(type='SilhouetteHandler', loss=dict(type=f'Silhouette{name}Loss')) for name in LOSSES]


@pytest.mark.parametrize('term', [*TERMS, dict(type='SilhouetteDistanceHandler')], ids=[*LOSSES, 'distances'])
def test_a_silhouette_alone_moves_the_head(made, term):
    dataset = MultiViewDataset(made[0], split='all', test_mode=True)
    model = _model(made[0], dataset, term, silhouette=1.0)
    batch = default_collate([dataset[i] for i in range(2)])
    batch['data_samples']['confidence2d'].zero_()
    losses = model(**model.data_preprocessor(batch), mode='loss')
    value = losses['loss_silhouette']
    assert 0 < value.item() <= (1 if term is TERMS[0] else float('inf'))
    value.backward()
    moved = [p.grad is not None and bool((p.grad != 0).any()) for p in model.head.parameters()]
    assert any(moved)
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
    # A view whose mask is not known says nothing.
    batch['data_samples']['has_mask'].zero_()
    nothing = model(**model.data_preprocessor(batch), mode='loss')['loss_silhouette']
    assert nothing.item() == 0


def test_one_view_places_the_animal_by_its_resting_size(made):
    path, images = made
    dataset = MultiViewDataset(path, split='all', test_mode=True)
    statistics = compute_statistics(dataset, images.body.float())
    images.body.double()
    assert statistics.mean_scale == 1.0
    # True focal lengths are 1.6 of the longer side, guessed ones 1.2; the animal stood 3 away.
    distance = float(statistics.mean_position.norm())
    assert np.isclose(distance, 3 * 1.2 / 1.6, rtol=0.25)


def _model(path: Path, dataset: MultiViewDataset, term: dict, **weights: float) -> MultiViewRegressor:
    cfg = Config.fromfile(CONFIG).model.to_dict()
    others = [h for h in cfg['handlers'] if h.get('handler_key') != 'silhouette']
    cfg['handlers'] = [*others, {**term, 'handler_key': 'silhouette'}]
    cfg['backbone']['name'] = 'test_convnext'
    small = {'dim': 32, 'n_layers': 1, 'n_heads': 4}
    cfg |= {'fusion': cfg['fusion'] | small, 'head': cfg['head'] | small, 'orientation_head': None}
    cfg |= {'mask_side': 32, 'loss_weights': weights}
    body = load_body_model(path.parent / 'quadruped.smil.json')
    return build_regressor(cfg, body, compute_statistics(dataset, body))
