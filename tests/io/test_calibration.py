import cv2
import numpy as np
import pytest
import torch

from smilfit.io import read_calibration, write_calibration

TEXT = """
[cam_0]
name = "back"
size = [ 1280, 1024,]
matrix = [ [ 769.9, 0.0, 639.5,], [ 0.0, 770.1, 511.5,], [ 0.0, 0.0, 1.0,],]
distortions = [ -0.28, 0.02, 0.001, 0.0, 0.0,]
rotation = [ 0.4, -0.8, 2.1,]
translation = [ 0.1, -5.9, 122.2,]

[cam_1]
name = "top"
size = [ 640, 480,]
matrix = [ [ 500.0, 0.0, 319.5,], [ 0.0, 500.0, 239.5,], [ 0.0, 0.0, 1.0,],]
distortions = [ 0.1, 0.0, 0.0, 0.002,]
rotation = [ 0.0, 0.0, 0.0,]
translation = [ 0.0, 0.0, 50.0,]

[metadata]
adjusted = false
"""


@pytest.fixture
def written(tmp_path):
    def write(text=TEXT):
        path = tmp_path / 'calibration.toml'
        path.write_text(text, encoding='utf-8')
        return path

    return write


def test_means_what_opencv_means(written):
    cameras = read_calibration(written())
    assert cameras.names == ('back', 'top')
    assert cameras.unit is None
    assert cameras.size.tolist() == [[1280, 1024], [640, 480]]
    rvec, tvec = np.array([0.4, -0.8, 2.1]), np.array([0.1, -5.9, 122.2])
    np.testing.assert_allclose(cameras.R[0].numpy(), cv2.Rodrigues(rvec)[0], atol=1e-12)
    points = np.random.default_rng(0).normal(scale=20, size=(30, 3))
    dist = np.array([-0.28, 0.02, 0.001, 0, 0])
    theirs = cv2.projectPoints(points, rvec, tvec, cameras.K[0].numpy(), dist)[0][:, 0]
    ours, _, valid = cameras.project(torch.from_numpy(points))
    np.testing.assert_allclose(ours[0].numpy()[valid[0]], theirs[valid[0]], atol=1e-8)
    # Four coefficients are k1, k2, p1, p2.
    assert cameras.dist[1].tolist() == [0.1, 0, 0, 0.002, 0]


def test_round_trip(written, tmp_path):
    cameras = read_calibration(written(), unit='mm')
    again = read_calibration(write_calibration(tmp_path / 'again' / 'calibration.toml', cameras))
    assert again.names == cameras.names
    assert again.unit == 'mm'
    for field in ('K', 't', 'size', 'dist'):
        assert torch.equal(getattr(again, field), getattr(cameras, field))
    torch.testing.assert_close(again.R, cameras.R, atol=1e-14, rtol=0)


@pytest.mark.parametrize('angle', [0.0, 1e-9, np.pi - 1e-7, np.pi])
def test_rotations_of_no_and_half_a_turn_round_trip(written, tmp_path, angle):
    vector = (angle * np.array([0.6, -0.64, 0.48])).tolist()
    cameras = read_calibration(written(TEXT.replace('rotation = [ 0.4, -0.8, 2.1,]', f'rotation = {vector}')))
    again = read_calibration(write_calibration(tmp_path / 'again.toml', cameras))
    torch.testing.assert_close(again.R, cameras.R, atol=1e-9, rtol=0)


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('[cam_1]', '[cam_1', r'calibration.toml: the calibration must be valid TOML; got: .*line 10'),
        ('translation = [ 0.0, 0.0, 50.0,]', 'fisheye = true', r'\[cam_1\]: the lens must be a pinhole'),
        (
            'rotation = [ 0.0, 0.0, 0.0,]\n',
            'rotations = [0.0]\n',
            r"got no 'rotation'. Did you mean 'rotations'",
        ),
        ('[ 0.1, 0.0, 0.0, 0.002,]', '[0, 0, 0, 0, 0, 1, 2, 3]', 'up to five numbers .* got 8'),
        ('size = [ 640, 480,]', 'size = [ 640,]', r'size must be numbers of shape 2'),
        ('[ 0.0, 0.0, 50.0,]', '["x", 0.0, 50.0,]', r'translation must be numbers'),
        ('[ 0.0, 0.0, 50.0,]', '[nan, 0.0, 50.0,]', r'translation must be .* all finite'),
        ('[ [ 500.0, 0.0, 319.5,]', '[ [ -500.0, 0.0, 319.5,]', 'positive focal lengths'),
        ('name = "top"', 'name = "back"', "camera names must differ; got 'back'"),
        ('adjusted = false', 'unit = 3', r'unit must be a string'),
    ],
)
def test_errors_name_the_file_and_the_rule(written, old, new, message):
    assert old in TEXT
    with pytest.raises(ValueError, match=message):
        read_calibration(written(TEXT.replace(old, new)))


def test_a_file_without_cameras_is_an_error(written):
    with pytest.raises(ValueError, match='one table a camera'):
        read_calibration(written('[metadata]\n'))


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match='the calibration must be there'):
        read_calibration(tmp_path / 'calibration.toml')


def test_units_must_agree(written):
    text = TEXT.replace('adjusted = false', 'unit = "cm"')
    assert read_calibration(written(text)).unit == 'cm'
    with pytest.raises(ValueError, match="the file says 'cm', the caller 'mm'"):
        read_calibration(written(text), unit='mm')


def test_cameras_of_many_frames_are_not_one_calibration(written, tmp_path):
    cameras = read_calibration(written())
    affine = torch.eye(2, 3, dtype=torch.float64).repeat(5, 2, 1, 1)
    with pytest.raises(ValueError, match='cameras must be those of one session'):
        write_calibration(tmp_path / 'x.toml', cameras.transformed(affine, cameras.size))
