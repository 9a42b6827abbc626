"""SMAL4V's three trainings by the shipped configs, each from the one before, on one made video."""

from pathlib import Path

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.cli.main import main
from smilfit.handlers import Keypoint2dInput, Keypoint2dStepHandler
from smilfit.handlers.base import BodyState
from smilfit.io import read_labels, write_slp
from smilfit.losses import KeypointL1Loss
from smilfit.structures import Keypoints2d
from smilfit.synthetic import make_quadruped
from smilfit.synthetic.camera_rigs import make_rig

CONFIGS = Path(__file__).resolve().parents[3] / 'configs' / 'temporal'
pytestmark = pytest.mark.filterwarnings('ignore::UserWarning')


def test_a_distance_is_not_squared():
    pred = torch.tensor([[[3.0, 4.0], [0.0, 0.0]]], requires_grad=True)
    target, known = torch.zeros(1, 2, 2), torch.tensor([[1.0, 0.0]])
    loss = KeypointL1Loss(eps=1e-3, reduction='sum')(pred, target, target_conf=known)
    assert loss.item() == pytest.approx(5, abs=2e-3)
    loss.backward()
    torch.testing.assert_close(pred.grad[0, 0], torch.tensor([0.6, 0.8]), atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match='eps must be positive'):
        KeypointL1Loss(eps=0)


def test_steps_count_where_a_frame_has_no_label():
    body = SMIL(make_quadruped())
    rig = make_rig(1, 45.0, np.random.default_rng(0), size=(128, 128)).to(torch.float32)
    params = body.zero_params(4)
    params = params.replace(transl=params.transl + torch.tensor([0.0, 1.0, 3.0, 6.0])[:, None])
    names = body.joint_names[:5]
    # Labels in the frames 0, 1 and 3: the step from 0 to 1 says nothing.
    confidence = torch.tensor([1.0, 1, 0, 1])[:, None, None].expand(4, 1, 5)
    observed = Keypoints2d(torch.zeros(4, 1, 5, 2), confidence, names, rig)
    related = Keypoint2dInput(observed, handler_key='keypoints2d_steps')
    handler = Keypoint2dStepHandler()
    handler.bind(body)
    output = body(params, tuple(names))
    pixels = rig.project(output.select(names))[0]
    steps = (pixels[1:] - pixels[:-1]).norm(dim=-1)[1:]
    loss = handler(BodyState(body, params, output), related)
    assert loss.item() == pytest.approx(steps.mean().item() - 0.1, rel=2e-3)


def small(path: Path) -> list[str]:
    parts = [
        f'model.{part}.{key}' for part in ('fusion', 'head') for key in ('dim=32', 'n_layers=1', 'n_heads=4')
    ]
    return [
        f'train_dataloader.dataset.data_path={path}',
        *(f'{name}_dataloader.num_workers=0' for name in ('train', 'val', 'test')),
        *(f'{name}_dataloader.dataset.split=all' for name in ('train', 'val', 'test')),
        *('train_dataloader.batch_size=4', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=1'),
        *('model.backbone.name=test_convnext', 'model.orientation_head.dim=32'),
        *(*parts, 'model.mask_side=32'),
    ]


def test_each_training_goes_on_from_the_one_before(tmp_path):
    made = ['synthesize', 'quadruped', str(tmp_path / 'made'), '--sessions', '1', '--frames', '12']
    assert main([*made, '--cameras', '1', '--size', '96', '80', '--quiet']) == 0
    (session,) = (tmp_path / 'made').glob('session_*')
    (camera,) = (p for p in session.iterdir() if p.is_dir())
    labels = read_labels(next(camera.glob('*.slp')))
    few = np.full_like(labels.xy, np.nan)
    few[::4] = labels.xy[::4]
    write_slp(next(camera.glob('*.slp')), few, labels.node_names, next(camera.glob('*.mp4')))
    (session / 'points3d.h5').unlink()
    given = [
        '--body-model',
        'quadruped',
        '--crop-mode',
        'default',
        '--unlabelled',
        '9',
        '--min-views',
        '1',
        '--quiet',
    ]
    assert main(['preprocess', 'sleap', str(session), str(tmp_path / 'video.h5'), *given]) == 0
    before: list[str] = []
    for name in ('base', 'parent', 'test'):
        work = tmp_path / name
        # A made video has no masks to switch on.
        options = [*small(tmp_path / 'video.h5'), *before, 'custom_hooks=[]']
        given = ['train', str(CONFIGS / f'{name}.py'), '--work-dir', str(work), '--device', 'cpu']
        code = main([*given, '--cfg-options', *options])
        assert code == 0, name
        before = [f'load_from={work / "epoch_1.pth"}']
