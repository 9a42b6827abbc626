import h5py
import numpy as np
import pytest

from smilfit.io import read_points3d, read_reprojections, write_points3d, write_reprojections

NODES = ('a', 'b', 'c')


def _points(d=3):
    points = np.random.default_rng(0).normal(size=(5, 3, d))
    points[2, 1] = np.nan
    return points


def test_points_round_trip(tmp_path):
    path = write_points3d(tmp_path / 'points3d.h5', _points())
    np.testing.assert_array_equal(read_points3d(path, NODES), _points())
    with h5py.File(path) as file:
        assert file['tracks'].shape == (5, 1, 3, 3)


def test_reprojections_round_trip(tmp_path):
    path = write_reprojections(tmp_path / 'reprojections.h5', {'x': _points(2), 'y': 2 * _points(2)})
    np.testing.assert_array_equal(
        read_reprojections(path, ['y', 'x'], NODES), np.stack((2 * _points(2), _points(2)), 1)
    )
    with pytest.raises(KeyError, match=r"no dataset 'z'"):
        read_reprojections(path, ['x', 'z'], NODES)
    with pytest.raises(ValueError, match=r'x must be \(frames, 1, 2, 2\)'):
        read_reprojections(path, ['x'], NODES[:2])


def test_reprojections_of_other_length_are_an_error(tmp_path):
    path = write_reprojections(tmp_path / 'reprojections.h5', {'x': _points(2), 'y': _points(2)[:4]})
    with pytest.raises(ValueError, match='cameras must have equally many frames'):
        read_reprojections(path, ['x', 'y'], NODES)


def test_half_a_point_is_an_error_naming_frame_and_node(tmp_path):
    points = _points()
    points[3, 2, 0] = np.nan
    path = write_points3d(tmp_path / 'points3d.h5', points)
    with pytest.raises(ValueError, match=r"points3d.h5: .*for 'c' in frame 3 \(1 such points\)"):
        read_points3d(path, NODES)


def test_other_shapes_are_errors(tmp_path):
    path = write_points3d(tmp_path / 'points3d.h5', _points())
    with pytest.raises(ValueError, match='must have the 2 nodes of the labels; got 3'):
        read_points3d(path, NODES[:2])
    for shape, message in (
        ((5, 2, 3, 3), 'must be of one animal; got 2'),
        ((5, 3, 3), 'must be .frames, animals'),
    ):
        with h5py.File(path, 'w') as file:
            file.create_dataset('tracks', data=np.zeros(shape))
        with pytest.raises(ValueError, match=message):
            read_points3d(path, NODES)
    with pytest.raises(ValueError, match=r'points must be .frames, nodes, 3.'):
        write_points3d(path, np.zeros((5, 3)))


def test_a_file_cut_short_is_an_error(tmp_path):
    path = write_points3d(tmp_path / 'points3d.h5', _points())
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match='must be readable HDF5'):
        read_points3d(path, NODES)
    with pytest.raises(FileNotFoundError, match='the file must exist'):
        read_points3d(tmp_path / 'none.h5', NODES)
