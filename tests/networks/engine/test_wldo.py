"""WLDO's training by the shipped config: it builds, trains, is tested, infers; heads of sizes and focal lengths."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from torch.utils.data import default_collate

from smilfit.apis import infer
from smilfit.body_models import ShapeMixture, load_body_model, save_body_model
from smilfit.cli.networks import testing as test_tool
from smilfit.cli.networks import train as train_tool
from smilfit.datasets import MultiViewDataset, PreprocessOptions, image_sessions, preprocess
from smilfit.evaluation import PROTOCOLS
from smilfit.networks import BodyEstimate, FocalHead, MLPHead, TransformerDecoderHead
from smilfit.networks.engine import learned_mixture, load_trained_regressor
from smilfit.networks.engine.model_building import build_regressor
from smilfit.networks.engine.training_statistics import compute_statistics
from smilfit.networks.inference.predictions import read_predictions
from smilfit.synthetic import make_quadruped
from tests.datasets.image_set import make_images

CONFIG = Path(__file__).resolve().parents[3] / 'configs' / 'train' / 'wldo.py'
pytestmark = pytest.mark.filterwarnings('ignore::UserWarning')


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset file of four images of a body of two kinds, of which neither shape nor camera is known."""
    folder = tmp_path_factory.mktemp('animals')
    data = make_quadruped()
    means = np.zeros((2, data.n_betas))
    means[1, 0] = 2.0
    kinds = ShapeMixture(('small', 'tall'), np.array([0.5, 0.5]), means, np.stack([np.eye(data.n_betas)] * 2))
    data = replace(data, shape_mixture=kinds, shape_cov=kinds.moments()[1])
    image_set = make_images(folder, data, known_cameras=False)
    images = tuple(replace(image, params=None) for image in image_set.annotations.images)
    sessions, _ = image_sessions(replace(image_set.annotations, images=images))
    save_body_model(data, folder / 'quadruped.smil.json')
    options = PreprocessOptions(crop_mode='bbox_crop', target_resolution=64, num_workers=0)
    preprocess(sessions, folder / 'images.h5', data, options, body_model_file='quadruped.smil.json')
    return folder / 'images.h5'


def small(path: Path) -> list[str]:
    """Return options that make a training of seconds."""
    parts = [
        f'model.{part}.{key}' for part in ('fusion', 'head') for key in ('dim=32', 'n_layers=1', 'n_heads=4')
    ]
    return [
        f'train_dataloader.dataset.data_path={path}',
        *(f'{name}_dataloader.dataset.split=all' for name in ('train', 'val', 'test')),
        *(f'{name}_dataloader.num_workers=0' for name in ('train', 'val', 'test')),
        *('train_dataloader.batch_size=2', 'train_cfg.max_epochs=2', 'train_cfg.val_interval=2'),
        *('model.backbone.name=test_convnext', 'model.orientation_head.dim=32', 'model.camera_head.dim=16'),
        *(*parts, 'model.mask_side=32'),
        *('custom_hooks.0.schedule.0.silhouette=1.0', 'custom_hooks.1.begin=1'),
    ]


@pytest.fixture(scope='module')
def run(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work dir of a training of two epochs."""
    work = tmp_path_factory.mktemp('run')
    command = [str(CONFIG), '--device', 'cpu', '--traceback', '--work-dir', str(work)]
    assert train_tool.main([*command, '--cfg-options', *small(made)]) == 0
    return work


@pytest.mark.parametrize('shipped', [True, False])
def test_the_config_builds(made, tmp_path, capsys, shipped):
    """For the shipped quadruped of seven kinds, too: a dataset file's own is in the file."""
    body = ['--body-model', 'quadruped'] if shipped else []
    path = made
    if shipped:
        path = images_of_the_shipped(tmp_path)
    command = [str(CONFIG), '--device', 'cpu', '--traceback', '--work-dir', str(tmp_path / 'work'), *body]
    assert train_tool.main([*command, '--check-config', '--cfg-options', *small(path)]) == 0
    assert 'everything builds' in capsys.readouterr().out


def images_of_the_shipped(folder: Path) -> Path:
    """Make a dataset file of two images for the shipped quadruped."""
    body = load_body_model('quadruped')
    sets = {**body.data.keypoint_sets, 'sleap': dict(zip(body.joint_names, body.joint_names))}
    data = replace(body.data, keypoint_sets=sets)
    image_set = make_images(folder, data, n=2, known_cameras=False)
    images = tuple(replace(image, params=None) for image in image_set.annotations.images)
    sessions, _ = image_sessions(replace(image_set.annotations, images=images))
    options = PreprocessOptions(crop_mode='bbox_crop', target_resolution=64, num_workers=0)
    preprocess(sessions, folder / 'shipped.h5', body.data, options, body_model_file='quadruped')
    return folder / 'shipped.h5'


def test_training_learns_kinds_sizes_and_focal_lengths(run):
    mixture = learned_mixture(run / 'epoch_2.pth')
    assert mixture.names == ('small', 'tall')
    assert not np.array_equal(mixture.means, [[0.0] * mixture.n_betas, [2.0] + [0.0] * (mixture.n_betas - 1)])
    log = next(run.glob('*/*.log')).read_text()
    assert 'kinds after epoch 2: of 4 samples (0 with a true shape) small' in log
    for loss in ('keypoints2d', 'silhouette', 'shape_prior', 'part_size_prior', 'camera'):
        assert f'loss_{loss}:' in log
    model = load_trained_regressor(run / 'epoch_2.pth').model
    for layer in (model.head.correct, model.camera_head.out):
        assert bool((layer.weight != 0).any())
    body = load_body_model(run / 'shape_mixture.smil.json')
    assert np.array_equal(body.data.shape_mixture.means, mixture.means)


def test_its_checkpoint_is_tested_and_infers(run, made, tmp_path, capsys):
    """The checkpoint alone, on images and as a file."""
    out = tmp_path / 'metrics.json'
    given = [str(run / 'epoch_2.pth'), '--device', 'cpu', '--traceback', '--out', str(out)]
    protocols = [x for name in PROTOCOLS for x in ('--protocol', name)]
    assert test_tool.main(given + protocols) == 0
    numbers = json.loads(out.read_text())
    scores = {name: value for name, value in numbers.items() if '/' in name}
    assert all(np.isfinite(v) for name, v in numbers.items() if name not in scores and v is not None)
    # Nothing is known of shapes, and single images have no motion.
    unknown = {name for name, value in scores.items() if np.isnan(value)}
    assert unknown == {
        *('animer/PA-MPVPE', 'space/PA-MPVPE', 'animer/PA-MPJPE', 'space/PA-MPJPE'),
        *('motion/acceleration error', 'motion/jitter', 'motion/acceleration error of a line'),
    }
    assert 0 < scores['wldo/IoU'] < 1
    told = capsys.readouterr().out
    assert 'protocol wldo (WLDO on StanfordExtra)' in told
    assert 'not known: no image has what it needs' in told
    with pytest.raises(SystemExit):
        test_tool.main([*given, '--protocol'])
    assert test_tool.main([*given, '--protocol', 'wlod']) == 1
    image = sorted(made.parent.glob('*.png'))[0]
    folder = tmp_path / 'images'
    folder.mkdir()
    (folder / image.name).write_bytes(image.read_bytes())
    (result,) = infer(run / 'epoch_2.pth', folder, tmp_path / 'out', device='cpu')
    _, fit = read_predictions(result.file)
    assert fit.params.part_sizes.shape == (
        1,
        len(load_body_model(run / 'shape_mixture.smil.json').part_sizes),
    )
    assert bool(fit.params.part_sizes.abs().max() < 0.3)


def make_model(made: Path, **changes):
    cfg = Config.fromfile(CONFIG).model.to_dict() | changes
    cfg['backbone']['name'], cfg['mask_side'] = 'test_convnext', 32
    tiny = {'dim': 32, 'n_layers': 1, 'n_heads': 4}
    cfg |= {'fusion': cfg['fusion'] | tiny, 'head': cfg['head'] | tiny, 'orientation_head': None}
    body = load_body_model(made.parent / 'quadruped.smil.json')
    dataset = MultiViewDataset(made, split='all', test_mode=True)
    model = build_regressor(cfg, body, compute_statistics(dataset, body))
    return model, model.data_preprocessor(default_collate([dataset[i] for i in range(2)]))


def test_every_new_number_has_a_gradient(made):
    torch.manual_seed(0)
    model, batch = make_model(made)
    for layer in (model.head.correct, model.camera_head.out):
        torch.nn.init.normal_(layer.weight, std=0.02)
    model.set_loss_weights({'silhouette': 1.0})
    losses = model(**batch, mode='loss')
    assert losses['loss_part_size_prior'] > 0
    assert losses['loss_camera'] > 0
    sum(value for name, value in losses.items() if name.startswith('loss_')).backward()
    G = model.head.change.n_part_sizes
    assert G == len(model.body_model.part_sizes) > 0
    assert bool((model.head.correct.weight.grad[-G:] != 0).any(1).all())
    assert bool((model.camera_head.out.weight.grad != 0).any())


def test_a_focal_head_changes_focal_lengths_alone(made):
    torch.manual_seed(0)
    model, batch = make_model(made)
    assert isinstance(model.camera_head, FocalHead)
    given = model.predict_parameters(batch['inputs']).cameras
    assert torch.equal(given.K, batch['inputs']['K'])
    torch.nn.init.normal_(model.camera_head.out.weight, std=0.5)
    changed = model.eval().predict_parameters(batch['inputs'])
    assert torch.equal(changed.camera_change[..., :6], torch.zeros(2, 1, 6))
    ratio = changed.cameras.K[..., 0, 0] / given.K[..., 0, 0]
    torch.testing.assert_close(ratio, changed.camera_change[..., 6].exp())
    assert bool((ratio != 1).all())
    assert torch.equal(changed.cameras.t, given.t)
    assert torch.equal(changed.cameras.K[..., 2], given.K[..., 2])


@pytest.mark.parametrize('kind', [MLPHead, TransformerDecoderHead])
def test_heads_estimate_sizes_of_parts(kind):
    """At rest while untrained; a tenth of what the last layer says."""
    sizes = {'n_joints': 5, 'n_betas': 2, 'context_dim': 16, 'n_part_sizes': 3}
    if kind is MLPHead:
        head = kind(**sizes, dim=32, dropout=0.0, part_sizes=True)
    else:
        head = kind(**sizes, dim=32, n_layers=1, n_heads=4, n_iters=2, part_sizes=True)
    start = BodyEstimate.resting(torch.eye(3).expand(5, 3, 3), 2, 4)
    tokens, mask = torch.randn(4, 6, 16), torch.ones(4, 6, dtype=torch.bool)
    last = head.eval()(tokens, mask, start)[-1]
    assert torch.equal(last.part_sizes, torch.zeros(4, 3))
    head.correct.bias.data[-3:] = torch.tensor([1.0, -1.0, 0.5])
    steps = head(tokens, mask, start)
    expected = 0.1 * len(steps) * torch.tensor([1.0, -1.0, 0.5])
    torch.testing.assert_close(steps[-1].part_sizes, expected.expand(4, 3))
    without = kind(**sizes, dim=32)
    assert without.change.n_part_sizes == 0
    assert without(tokens, mask, start)[-1].part_sizes is None
