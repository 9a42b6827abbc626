"""Small good inputs of the commands, made once."""

import contextlib
import io
import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np

from tests.hostile.bad_files import make_bad_inputs

_TRAIN_OPTIONS = {
    'train_cfg.max_epochs': 1,
    'train_cfg.val_interval': 1,
    'model.backbone.name': 'test_efficientnet',
    'model.backbone.out_index': -1,
    'model.fusion.dim': 16,
    'model.fusion.n_heads': 2,
    'model.head.dim': 16,
    'model.head.n_layers': 1,
    'model.head.n_heads': 2,
    'train_dataloader.num_workers': 0,
    'train_dataloader.batch_size': 2,
}


def make_good_inputs(folder: Path) -> dict[str, str]:
    """Make a body, sessions, images, a dataset file, a config and a checkpoint; give their paths by name."""
    from smilfit.body_models import SMIL, save_body_model
    from smilfit.cli.data.preprocess import main as preprocess
    from smilfit.cli.networks.train import main as train
    from smilfit.synthetic import make_insect, make_quadruped, write_sessions

    folder.mkdir(parents=True, exist_ok=True)
    animal = make_quadruped()
    body = save_body_model(animal, folder / 'body.smil.json')
    other = save_body_model(make_insect(), folder / 'other.smil.json')
    write_sessions(folder / 'sessions', SMIL(animal), n_sessions=1, n_frames=20, n_cameras=3, size=(128, 96))
    session = next(p.parent for p in (folder / 'sessions').rglob('calibration.toml'))
    lookup, data, work = folder / 'sessions' / 'joint_lookup.csv', folder / 'data.h5', folder / 'work'
    config = folder / 'train.py'
    config.write_text(_train_config(data), encoding='utf-8')
    rig = ['--joint-lookup', str(lookup), '--unit', 'mm', '--target-resolution', '32', '--quiet']
    with contextlib.redirect_stdout(io.StringIO()):
        done = preprocess(['sleap', str(folder / 'sessions'), str(data), '--body-model', str(body), *rig])
        trained = train([str(config), '--work-dir', str(work), '--device', 'cpu'])
    if done or trained:
        raise RuntimeError('bad_inputs: the good inputs must work; they do not. See the messages above.')
    camera = next(p for p in sorted(session.iterdir()) if p.is_dir())
    return {
        'root': str(folder), 'body': str(body), 'other': str(other), 'sessions': str(folder / 'sessions'),
        'session': str(session), 'camera': camera.name, 'lookup': str(lookup), 'data': str(data),
        'train': str(config), 'work': str(work), 'checkpoint': str(work / 'epoch_1.pth'),
        'coco': str(_make_coco(folder / 'pictures', animal.joint_names)), 'name': session.name,
    }  # fmt: skip


def _train_config(data: Path) -> str:
    from smilfit.apis.shipped_configs import configs_folder
    from smilfit.networks.engine import load_experiment

    base = configs_folder() / 'train' / 'multiview_demo.py'
    cfg = load_experiment(base, _TRAIN_OPTIONS)
    cfg.work_dir = None
    for name in ('train', 'val', 'test'):
        dataset = cfg[f'{name}_dataloader'].dataset
        dataset.data_path = str(data)
        dataset.block_size, dataset.gap, dataset.ratios = 5, 0, (0.5, 0.25, 0.25)
    cfg.log_level = 'WARNING'
    return cfg.pretty_text


def _make_coco(folder: Path, names: tuple[str, ...]) -> Path:
    """Write two images with keypoints of an animal."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    points = rng.uniform(10, 50, (2, len(names), 2)).round(1)
    for i in range(2):
        cv2.imwrite(str(folder / f'{i}.png'), rng.integers(0, 255, (60, 64, 3), dtype=np.uint8))
    result = {
        'images': [{'id': i, 'file_name': f'{i}.png', 'width': 64, 'height': 60} for i in range(2)],
        'categories': [{'id': 1, 'name': 'animal', 'keypoints': list(names)}],
        'annotations': [
            {
                'id': i, 'image_id': i, 'category_id': 1, 'bbox': [5, 5, 50, 50],
                'keypoints': [x for x, y in points[i] for x in (x, y, 2)],
            }
            for i in range(2)
        ],
    }  # fmt: skip
    path = folder / 'coco.json'
    path.write_text(json.dumps(result))
    return path


def all_inputs(folder: Path) -> SimpleNamespace:
    """Make everything; `paths` holds good and bad inputs by name."""
    good = make_good_inputs(folder / 'good')
    return SimpleNamespace(paths={**make_bad_inputs(folder / 'bad', good), **good}, good=good)
