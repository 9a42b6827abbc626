"""A session's shape from masks in files, by one command: where they lie, what is told, and what cannot be."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch

from smilfit import apis
from smilfit.apis.fitting.fit_config import with_masks, without_masks
from smilfit.apis.preprocessing.recordings import open_recording
from smilfit.apis.shipped_configs import configs_folder
from smilfit.body_models import load_body_model
from smilfit.cli.fitting.fit import main
from smilfit.datasets import open_dataset
from smilfit.registry import ConfigError, read_config
from smilfit.renderers import ZBufferRenderer
from smilfit.structures import FitResult
from tests.hostile.small_inputs import make_inputs

SESSION = 'session_000'
CONFIG = """
_base_ = ['./fit.py']
type = 'MaskSMPLify'
segmenter = dict(type='GrabCutSegmenter')
n_mask_frames = 4
side_px = 48
handlers = [*_base_.handlers, dict(type='SilhouetteDistanceHandler', handler_key='mask_distance', n_mask_points=50)]
mask_stages = [dict(n_iter=2, keypoints2d_mse_weight=1.0, mask_distance_weight=0.1, pose_reg_weight=10.0)]
"""


@pytest.fixture(scope='module')
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('masks') / 'inputs'
    made = make_inputs(folder, configs_folder() / 'train' / 'multiview_demo.py')
    (made / 'masks.py').write_text(CONFIG)
    dataset, body = open_dataset(made / 'small.h5'), load_body_model(made / 'animal.smil.json')
    recording, truth = open_recording(dataset, SESSION), dataset.true_params(SESSION).to(body.v_template)
    with torch.no_grad():
        vertices = body(truth, ('vertices',)).vertices
    for name in recording.cameras.names:
        (made / 'drawn' / SESSION / name).mkdir(parents=True)
        for row, number in enumerate(dataset.frame_indices(SESSION)):
            lens = recording.cameras.select([name]).to(vertices)
            alpha = ZBufferRenderer()(vertices[row : row + 1], body.faces, lens).alpha[0].numpy()
            path = made / 'drawn' / SESSION / name / f'{number:06d}.png'
            cv2.imwrite(str(path), (alpha > 0.5).astype(np.uint8) * 255)
    return made


def command(inputs, out, *more, config='masks.py'):
    files = [str(inputs / config), '--data', str(inputs / 'small.h5'), '--out', str(out)]
    return [*files, '--no-video', '--no-verdict', *more]


def test_masks_in_files_give_the_shape_and_are_told_of(inputs, tmp_path, capsys):
    out = tmp_path / 'out'
    assert main(command(inputs, out, '--masks', str(inputs / 'drawn'))) == 0
    printed = ' '.join(capsys.readouterr().out.split())
    assert 'IoU of the body and masks' in printed
    assert 'masks of 3 frames (MaskFiles); 1 further frames judge it' in printed
    report = json.loads((out / SESSION / 'fit.json').read_text())['report']['masks']
    assert set(report['iou']['checked']) == {'cam_top', 'cam_1'}
    page = (out / 'report.html').read_text()
    assert 'Shape came from' in page
    assert 'as another time' in page
    result = FitResult.load(out / SESSION / 'fit.npz')
    assert float(result.params.betas.abs().max()) > 0.01
    # The same masks: nothing to do.
    before = (out / SESSION / 'fit.npz').stat().st_mtime_ns
    assert main(command(inputs, out, '--masks', str(inputs / 'drawn'))) == 0
    assert (out / SESSION / 'fit.npz').stat().st_mtime_ns == before


def test_the_command_chooses_where_masks_come_from(inputs):
    config = read_config(inputs / 'masks.py').to_dict()
    assert with_masks(config, None) == config
    assert with_masks(config, 'background')['segmenter'] == {'type': 'BackgroundSubtraction'}
    assert with_masks(config, 'grabcut')['segmenter'] == {'type': 'GrabCutSegmenter'}
    assert with_masks(config, inputs)['segmenter']['folder'] == str(inputs)
    plain = read_config(inputs / 'fit.py').to_dict()
    assert without_masks(plain) == plain
    assert without_masks(config)['type'] == 'SMPLify'
    assert not {'segmenter', 'mask_stages', 'side_px'} & set(without_masks(config))
    with pytest.raises(ConfigError, match='--masks: the config must be of a fit with mask_stages'):
        with_masks(plain, 'grabcut')


def test_a_recording_that_is_gone_is_told_of(inputs, tmp_path):
    gone = shutil.copytree(inputs, tmp_path / 'gone')
    shutil.rmtree(gone / 'sessions')
    away = inputs / 'sessions'
    away.rename(inputs / 'away')
    try:
        with pytest.raises(FileNotFoundError, match='masks are found in the recording, which must be where'):
            apis.fit(gone / 'masks.py', gone / 'small.h5', tmp_path / 'out', video=False, verdict=False)
    finally:
        (inputs / 'away').rename(away)
