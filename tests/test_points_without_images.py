"""From points in space to a fit by the commands, without cameras and images."""

import json

import numpy as np
import pytest
import torch

from smilfit.apis import check_data, export_fit, fit
from smilfit.body_models import SMIL, load_body_model_data
from smilfit.cli.data.preprocess import main as preprocess
from smilfit.datasets import MultiViewDataset, open_dataset
from smilfit.files import BadFileError
from smilfit.io.points import read_recorded_points
from smilfit.io.points3d import read_points3d


@pytest.fixture
def recording(tmp_path):
    body = SMIL(load_body_model_data('quadruped'))
    with torch.no_grad():
        joints = body(body.zero_params(3), ('joints',)).joints.double() * 120 + 5
    names = list(body.joint_names)
    np.savez(tmp_path / 'run.npz', xyz=joints.numpy(), names=np.array(names))
    return tmp_path, joints.numpy()


def test_points_are_fitted_without_images(recording):
    folder, joints = recording
    data = folder / 'run.h5'
    command = [
        'points3d',
        str(folder / 'run.npz'),
        str(data),
        '--body-model',
        'quadruped',
        '--unit',
        'mm',
        '--quiet',
    ]
    assert preprocess(command) == 0
    stored = open_dataset(data)
    assert not stored.has_images('run')
    assert not stored.has_cameras('run')
    order = [stored.keypoint_names.index(n) for n in load_body_model_data('quadruped').joint_names]
    np.testing.assert_allclose(stored.keypoints3d('run').xyz[:, order], joints)
    with pytest.raises(
        ValueError, match='training on images needs images; session run is of points in space'
    ):
        MultiViewDataset(data)
    with pytest.raises(ValueError, match='a check before training needs images'):
        check_data(data)
    done = fit('configs/fit/points3d_lm.py', data, folder / 'out', video=False, verdict=False)
    assert done.points['run'].median() < 0.02 * done.points['run'].size
    numbers = json.loads((folder / 'out' / 'run' / 'benchmark.json').read_text())
    assert numbers['points/median_mm'] == pytest.approx(done.points['run'].median())
    export_fit(folder / 'out', ['points3d', 'frames', 'angles'], folder / 'exported')
    fitted = done.results['run'].keypoints3d
    written = read_points3d(next((folder / 'exported').rglob('points3d.h5')), fitted.names)
    assert np.abs(written - fitted.xyz.numpy()).max() < 1e-3


def test_files_that_are_no_points_are_named(tmp_path):
    path = tmp_path / 'a.csv'
    path.write_text('frame,paw_x\n0,1\n')
    with pytest.raises(BadFileError, match=f'{path}: columns must be NAME_x'):
        read_recorded_points(path)
    np.savez(tmp_path / 'b.npz', xyz=np.zeros((2, 3, 3)))
    with pytest.raises(BadFileError, match='its 3 keypoints must have names'):
        read_recorded_points(tmp_path / 'b.npz')


def test_wide_and_tidy_tables_are_the_same(tmp_path):
    wide, tidy = tmp_path / 'wide.csv', tmp_path / 'tidy.csv'
    wide.write_text('frame,a_x,a_y,a_z,b_x,b_y,b_z\n3,1,2,3,4,5,6\n5,7,8,9,,,\n')
    tidy.write_text('frame,keypoint,x,y,z\n3,a,1,2,3\n3,b,4,5,6\n5,a,7,8,9\n')
    one, other = read_recorded_points(wide), read_recorded_points(tidy)
    assert one.names == other.names == ('a', 'b')
    np.testing.assert_array_equal(one.frames, other.frames)
    np.testing.assert_array_equal(one.xyz, other.xyz)
