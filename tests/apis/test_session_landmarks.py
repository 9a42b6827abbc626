"""Landmarks of a lookup on their way: into the dataset, the fit, `landmarks.json`, and the next session."""

import csv
import json

import numpy as np
import pytest
import torch

from smilfit import apis
from smilfit.apis.shipped_configs import configs_folder
from smilfit.body_models import load_body_model, load_body_model_data
from smilfit.body_models.files.landmark_file import read_landmark_file
from smilfit.datasets import MultiViewDataset, open_dataset
from smilfit.io.lookup import LANDMARK_COLUMNS
from smilfit.registry import read_config
from smilfit.structures import FitResult
from tests.hostile.small_inputs import make_inputs

SESSION = 'session_000'
WRONG = np.array([0.03, 0.0, 0.04])


@pytest.fixture(scope='module')
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('landmarks') / 'inputs'
    made = make_inputs(folder, configs_folder() / 'train' / 'multiview_demo.py')
    body = load_body_model_data(made / 'animal.smil.json')
    with (made / 'sessions' / 'joint_lookup.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        # In truth the joint itself; the lookup is wrong by 5 % of the body and says that it may be.
        if row['data'] == 'neck_base':
            x, y, z = (WRONG * body.rest_size).tolist()
            row |= {'model': 'nape', 'joint': 'neck', 'offset': f'{x} {y} {z}', 'offset_sd': '0.05L'}
    with (made / 'landmarks.csv').open('w', newline='') as file:
        writer = csv.DictWriter(file, ('model', 'data', *LANDMARK_COLUMNS), restval='')
        writer.writeheader()
        writer.writerows(rows)
    options = {'target_resolution': 32, 'num_workers': 0, 'exclude_cameras': []}
    source = apis.DataSource('sleap', made / 'sessions', keypoint_map=made / 'landmarks.csv', unit='mm')
    apis.preprocess(source, made / 'marked.h5', made / 'animal.smil.json', options)
    return made


def config(inputs):
    cfg = read_config(inputs / 'fit.py').to_dict()
    # Labels that are wrong everywhere are no outliers.
    seen = {'type': 'Keypoint2dHandler', 'mse_loss': {'type': 'KeypointMSELoss', 'reduction': 'sum'}}
    cfg['handlers'] = [seen, *cfg['handlers'][1:], {'type': 'LandmarkOffsetPriorHandler'}]
    cfg['stages'][1] |= {'n_iter': 20, 'fit_landmark_offsets': True, 'landmark_offset_prior_weight': 1.0}
    return cfg


def test_the_dataset_keeps_landmarks_beside_the_plain_model(inputs):
    dataset = open_dataset(inputs / 'marked.h5')
    (name,) = dataset.landmarks
    body = load_body_model_data(inputs / 'animal.smil.json')
    mark = dataset.landmarks[name]
    assert (name, mark.anchor, mark.bone) == ('nape', 'neck', 'neck')
    np.testing.assert_allclose(mark.offset, WRONG * body.rest_size)
    assert mark.sd == pytest.approx(0.05 * body.rest_size)
    assert 'nape' in dataset.keypoint_names
    dataset.check_body_model(body)
    # What a file without landmarks says does not change.
    plain = open_dataset(inputs / 'small.h5')
    assert plain.landmarks == {}
    assert plain.body_model_hash == dataset.body_model_hash == body.content_hash()
    assert (
        json.loads(MultiViewDataset(inputs / 'marked.h5', split='all').metainfo['landmarks'])['nape']['bone']
        == 'neck'
    )


def test_a_fit_finds_them_and_the_next_one_expects_them_there(inputs, tmp_path):
    cfg, data = config(inputs), inputs / 'marked.h5'
    apis.fit(cfg, data, tmp_path / 'first', window_px=48, video=False)
    file = tmp_path / 'first' / SESSION / 'landmarks.json'
    result = read_landmark_file(file)
    assert result.expected == open_dataset(data).landmarks
    size = load_body_model_data(inputs / 'animal.smil.json').rest_size
    # The truth is no offset at all; two cameras and eight frames do not tell all of it.
    assert np.linalg.norm(result.landmarks['nape'].offset) < 0.5 * np.linalg.norm(WRONG * size)
    assert result.landmarks['nape'].sd <= result.expected['nape'].sd
    # The plain model's file is enough to go on with: the fit brings its session's landmarks.
    plain = load_body_model(inputs / 'animal.smil.json')
    loaded = FitResult.load(file.with_name('fit.npz'), plain)
    assert loaded.body.data.landmarks == result.expected
    names = loaded.keypoints3d.names
    assert 'nape' in names
    points = loaded.body(loaded.params, names).select(names)
    torch.testing.assert_close(points, loaded.keypoints3d.xyz)
    # Where the nape was found, and not where its joint is.
    moved = points[:, names.index('nape')] - loaded.body(loaded.params, ('neck',)).select(('neck',))[:, 0]
    offset = torch.tensor(result.landmarks['nape'].offset)
    torch.testing.assert_close(moved.norm(dim=1), loaded.params.scale * offset.norm(), rtol=1e-3, atol=0)
    again = apis.fit(cfg, data, tmp_path / 'next', window_px=48, video=False, landmarks=file)
    assert set(again.results) == {SESSION}
    following = read_landmark_file(tmp_path / 'next' / SESSION / 'landmarks.json')
    assert following.expected == result.landmarks


def test_without_a_stage_that_finds_them_the_lookup_is_believed_and_told(inputs, tmp_path, caplog):
    apis.fit(inputs / 'fit.py', inputs / 'marked.h5', tmp_path, window_px=48, video=False)
    assert 'no stage finds the offsets of nape (fit_landmark_offsets)' in caplog.text
    result = read_landmark_file(tmp_path / SESSION / 'landmarks.json')
    assert result.landmarks == result.expected
    with pytest.raises(ValueError, match='--landmarks: the dataset must have landmarks'):
        file = tmp_path / SESSION / 'landmarks.json'
        apis.fit(inputs / 'fit.py', inputs / 'small.h5', tmp_path / 'plain', landmarks=file)
