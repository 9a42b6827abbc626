"""Tables of little that would fill the memory or never end are refused in a sentence that names them."""

import h5py
import pytest

from smilfit.files import BadFileError
from smilfit.io.mat_files import read_mat
from smilfit.io.points3d import read_points3d
from smilfit.io.pose_tables import read_pandas_table
from smilfit.io.recordings.sleap_labels import load_slp
from tests.hostile.hostile_readers import HDF5, MATS

READERS = {
    '4,000 references to one packed 480 MB table': read_mat,
    'a data frame of 1e8 packed row labels': read_pandas_table,
    '2e7 packed frames of points': lambda path: read_points3d(path, ['a'] * 4),
    '3e6 packed empty frames': load_slp,
    '3e6 packed instances': load_slp,
    '2e6 packed names of tracks': load_slp,
}
QUICK = (
    'a struct array of 300,000',
    '30,000,000 structs without fields',
    '300,000 dimensions of 2**31 - 1',
    'a cell of 2e7 empties',
    '5,000,000 names of fields',
)


@pytest.mark.parametrize('name', QUICK)
def test_matlab_files_are_refused_by_what_they_would_take(name, tmp_path):
    path = tmp_path / 'bomb.mat'
    path.write_bytes(MATS[name]())
    with pytest.raises(BadFileError, match=r'bomb\.mat: .*(must take at most|at most 32 dimensions)'):
        read_mat(path)


@pytest.mark.parametrize('name', READERS)
def test_hdf5_tables_are_refused_by_what_they_would_take(name, tmp_path):
    _, ending, write = HDF5[name]
    path = tmp_path / f'bomb{ending}'
    with h5py.File(path, 'w') as file:
        write(file)
    with pytest.raises(BadFileError, match=r'bomb\.\w+: .*must (take|be) at most'):
        READERS[name](path)
