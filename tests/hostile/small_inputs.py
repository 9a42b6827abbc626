"""Inputs of seconds: a made animal, a recording of it, images of it, and configs that end at once."""

import json
from pathlib import Path

import cv2
import numpy as np

from benchmarks.image_scenes import KEYPOINT_SET, single_views
from smilfit.body_models import SMIL, save_body_model
from smilfit.cli.data.preprocess import main as preprocess
from smilfit.synthetic import make_quadruped, write_sessions

FIT_CONFIG = """
type = 'SMPLify'
use_one_betas_per_video = True
optimizer = dict(type='LevenbergMarquardt', backend='torch', gnc_schedule=())
handlers = [dict(type='Keypoint2dHandler'), dict(type='BodyPosePriorHandler', handler_key='pose_reg',
    prior_loss=dict(type='PoseRegLoss'))]
stages = [
    dict(name='place', n_iter=4, fit_body_pose=False, fit_betas=False, fit_scale=True, keypoints2d_mse_weight=1.0),
    dict(name='pose', n_iter=4, fit_betas=False, keypoints2d_mse_weight=1.0, pose_reg_weight=10.0),
]
"""
IMAGES_CONFIG = """
type = 'SMALify'
n_hypotheses = 2
optimizer = dict(type='LevenbergMarquardt', backend='torch', gnc_schedule=())
handlers = [dict(type='Keypoint2dHandler'), dict(type='BodyPosePriorHandler', handler_key='pose_prior')]
stages = [
    dict(name='place', n_iter=4, fit_body_pose=False, fit_betas=False, keypoints2d_mse_weight=1.0),
    dict(name='pose', n_iter=4, fit_betas=False, keypoints2d_mse_weight=1.0, pose_prior_weight=500.0),
]
"""
TRAIN_CONFIG = """
_base_ = ['{base}']
model = dict(
    backbone=dict(name='test_convnext', out_index=0),
    fusion=dict(dim=32, n_layers=1, n_heads=2), head=dict(dim=32, n_layers=1, n_heads=2), camera_head=None)
split = dict(ratios=(0.5, 0.25, 0.25), gap=0)
train_dataloader = dict(batch_size=2, num_workers=0, drop_last=False, dataset=split)
val_dataloader = dict(num_workers=0, dataset=split)
test_dataloader = dict(num_workers=0, dataset=split)
del split
train_cfg = dict(max_epochs=2, val_interval=2)
custom_hooks = []
"""


def make_inputs(folder: Path, train_base: Path, n_frames: int = 8, n_pictures: int = 3) -> Path:
    """Write all inputs into a folder.

    `animal.smil.json`, `sessions/` (two cameras), `small.h5` made of it, `pictures/` with `labels.json` (COCO), and
    the configs `fit.py`, `pictures.py`, `train.py`.

    Args:
        folder: made here.
        train_base: the config that `train.py` rests on.
        n_frames: of the recording.
        n_pictures: of the COCO set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = save_body_model(make_quadruped(), folder / 'animal.smil.json')
    body = SMIL(make_quadruped())
    write_sessions(folder / 'sessions', body, n_sessions=1, n_frames=n_frames, n_cameras=2, size=(96, 80))
    (folder / 'fit.py').write_text(FIT_CONFIG)
    (folder / 'pictures.py').write_text(IMAGES_CONFIG)
    (folder / 'train.py').write_text(TRAIN_CONFIG.format(base=train_base))
    _write_images(folder, body, n_pictures)
    code = preprocess(preprocess_arguments(folder, folder / 'small.h5'))
    if code != 0:
        raise RuntimeError(f'{folder}: the recording must be preprocessed; got exit code {code}.')
    assert model.is_file()
    return folder


def preprocess_arguments(folder: Path, out: Path) -> list[str]:
    """Return the command line that makes a dataset of the recording."""
    return [
        'sleap', str(folder / 'sessions'), str(out), '--body-model', str(folder / 'animal.smil.json'),
        '--joint-lookup', str(folder / 'sessions' / 'joint_lookup.csv'), '--unit', 'mm', '--crop-mode', 'bbox_crop',
        '--target-resolution', '32', '--num-workers', '0', '--quiet',
    ]  # fmt: skip


def _write_images(folder: Path, body: SMIL, n: int) -> None:
    scene = single_views(body.double(), n, seed=0)
    names = list(body.data.keypoint_sets[KEYPOINT_SET])
    (folder / 'pictures').mkdir()
    images, entries = [], []
    for i in range(n):
        mask = scene.masks[i, 0].numpy() > 0.5
        image = np.where(mask[..., None], (90, 140, 180), (30, 30, 30)).astype(np.uint8)
        name = f'picture_{i}.png'
        cv2.imwrite(str(folder / 'pictures' / name), image)
        height, width = mask.shape
        rows, columns = np.nonzero(mask)
        box = [int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
        xy = scene.keypoints.xy[i, 0].clamp(0, width - 1).tolist()
        keypoints = [value for x, y in xy for value in (x, y, 2)]
        images.append({'id': i, 'file_name': name, 'width': width, 'height': height})
        entries.append({'id': i, 'image_id': i, 'category_id': 1, 'keypoints': keypoints, 'bbox': box})
    category = {'id': 1, 'name': 'animal', 'keypoints': names}
    document = {'images': images, 'annotations': entries, 'categories': [category]}
    (folder / 'labels.json').write_text(json.dumps(document))
