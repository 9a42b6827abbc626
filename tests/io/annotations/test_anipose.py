import csv

import numpy as np
import pytest
import torch

from smilfit.io import write_calibration
from smilfit.io.annotations.anipose import read_points
from smilfit.registry import build_annotations
from smilfit.structures import Cameras, VideoFrame
from tests.io.annotations.pose_writers import columns_of, write_csv, write_table_h5

PARTS = ('nose', 'tail', 'paw')
RNG = np.random.default_rng(0)
XYZ = RNG.uniform(-1, 1, (4, 3, 3))
# As anipose makes them: unit rows, not orthogonal.
AXES = np.array([[1.0, 0, 0], [0.6, 0.8, 0], [0, 0.6, 0.8]])
CENTRE = np.array([0.3, -0.2, 0.1])


def _cameras():
    rotation = torch.tensor(
        [[[1.0, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]]
    ).double()
    K = torch.tensor([[80.0, 0, 40], [0, 80, 30], [0, 0, 1]]).double().expand(2, 3, 3)
    t = torch.tensor([[0.0, 0, 5], [0, 0, 6]]).double()
    return Cameras(('A', 'B'), K, rotation, t, torch.tensor([[81.0, 61.0]]).double().expand(2, 2), unit='mm')


def _write_3d(path, xyz=XYZ, axes=AXES, frames=range(4), score=0.75):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = [f'{part}_{what}' for part in PARTS for what in ('x', 'y', 'z', 'error', 'ncams', 'score')]
    header += [f'M_{i}{j}' for i in range(3) for j in range(3)] + [f'center_{i}' for i in range(3)] + ['fnum']
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for frame, points in zip(frames, xyz @ axes.T - CENTRE):
            cells = [[*point, 0.1, 2, score] for point in points]
            row = [*np.ravel(cells), *axes.ravel(), *CENTRE, frame]
            writer.writerow(['' if np.isnan(value) else value for value in row])


@pytest.fixture
def session(tmp_path):
    """Two cameras, four frames, points that project onto the poses."""
    cameras = _cameras()
    pixels = cameras.project(torch.as_tensor(XYZ.reshape(-1, 3)))[0].reshape(2, 4, 3, 2).numpy()
    columns = columns_of(PARTS, coords=('x', 'y', 'likelihood'))
    for name, view in zip(cameras.names, pixels):
        values = np.concatenate((view, np.full((4, 3, 1), 0.5)), -1).reshape(4, 9)
        write_table_h5(tmp_path / f'pose-2d-filtered/walk 1-cam{name}.h5', columns, list(range(4)), values)
        (tmp_path / 'videos-raw').mkdir(exist_ok=True)
        (tmp_path / f'videos-raw/walk 1-cam{name}.mp4').touch()
    _write_3d(tmp_path / 'pose-3d/walk 1.csv')
    write_calibration(tmp_path / 'calibration/calibration.toml', cameras)
    return tmp_path


def _read(path, **options):
    return build_annotations({'type': 'anipose', **options}).read(path)


def test_points_project_onto_the_poses_of_every_view(session):
    result = _read(session)
    assert result.keypoint_names == PARTS
    assert (result.unit, result.temporal, len(result)) == ('mm', True, 8)
    assert {image.sequence for image in result.images} == {'walk 1+A', 'walk 1+B'}
    for image in result.images:
        assert image.image == VideoFrame(
            session / f'videos-raw/walk 1-cam{image.camera.names[0]}.mp4', image.frame
        )
        np.testing.assert_allclose(image.keypoints3d, XYZ[image.frame], atol=1e-9)
        np.testing.assert_allclose(image.confidence3d, 0.75)
        np.testing.assert_allclose(image.confidence, 0.5)
        projected = image.camera.project(torch.as_tensor(image.keypoints3d))[0][0]
        np.testing.assert_allclose(projected, image.keypoints, atol=1e-6)


def test_offsets_and_camera_names_come_from_the_configuration(session):
    (session / 'config.toml').write_text(
        '[triangulation]\ncam_regex = "-cam([A-Z])$"\n[cameras.A]\noffset = [10, 5, 60, 50]\n'
    )
    first = next(image for image in _read(session).images if image.sequence == 'walk 1+A')
    np.testing.assert_allclose(first.camera.K[0, :2, 2], [30, 25])


def test_without_calibration_and_3d_there_are_poses(session):
    for path in ('calibration/calibration.toml', 'pose-3d/walk 1.csv'):
        (session / path).unlink()
    for image in _read(session, unit='cm').images:
        assert image.camera is None
        assert image.keypoints3d is None


def test_missing_points_and_frames(session):
    xyz = XYZ[1:3].copy()
    xyz[0, 1] = np.nan
    _write_3d(session / 'pose-3d/walk 1.csv', xyz, frames=(1, 2), score=np.nan)
    images = [image for image in _read(session).images if image.sequence == 'walk 1+A']
    assert images[0].keypoints3d is None
    np.testing.assert_array_equal(images[1].confidence3d, 0)
    assert not images[1].keypoints3d[1].any()


def test_a_camera_without_its_video_is_reported(session):
    (session / 'videos-raw/walk 1-camB.mp4').unlink()
    result = _read(session)
    assert len(result) == 4
    assert "a video 'walk 1-camB' must be there" in result.skipped[0].reason


def test_what_is_no_session(session):
    with pytest.raises(ValueError, match=r'must hold the camera by .*Give cam_regex='):
        _read(session, cam_regex=r'_view(\d)$')
    with pytest.raises(ValueError, match='cam_regex must be a pattern'):
        _read(session, cam_regex='(')
    with pytest.raises(FileNotFoundError, match=r'must hold pose-2d'):
        _read(session / 'videos-raw')
    columns = columns_of(('head',), coords=('x', 'y', 'likelihood'))
    for name in 'AB':
        (session / f'pose-2d-filtered/walk 1-cam{name}.h5').unlink()
        write_csv(session / f'pose-2d-filtered/walk 1-cam{name}.csv', columns, [('0',)], np.full((1, 3), 0.5))
    with pytest.raises(KeyError, match="'nose' is no body part of the 2D poses"):
        _read(session)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('nose_x,nose_y,fnum\n1,2,0\n', r'columns must be <part>_x, _y, _z and fnum'),
        ('nose_x,nose_y,nose_z,fnum\n1,2,3,0\n1,2,3,0\n', 'fnum must number every row once'),
        ('nose_x,nose_y,nose_z,fnum\n1,2,z,0\n', 'cells must be numbers'),
        ('nose_x,nose_y,nose_z,fnum\n1,2,3\n4,5,6,0\n', 'rows must have 4 cells; got 3 in row 1'),
        (
            'nose_x,nose_y,nose_z,fnum,M_00,M_01,M_02,M_10,M_11,M_12,M_20,M_21,M_22,center_0,center_1,center_2\n'
            '1,2,3,0,1,0,0,1,0,0,0,0,1,0,0,0\n',
            'M must be three axes of space',
        ),
    ],
)
def test_bad_tables_of_points(tmp_path, text, message):
    path = tmp_path / 'a.csv'
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_points(path)
