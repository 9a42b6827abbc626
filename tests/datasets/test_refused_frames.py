"""What numbers the frames of a dataset file, and how a preprocessing that cannot be says so."""

import h5py
import numpy as np
import pytest

from smilfit.datasets import PreprocessOptions, open_dataset, preprocess
from smilfit.files import BadFileError
from smilfit.io.keypoint_maps import keypoint_map_file
from tests.datasets.blob_session import BlobSession, make_body

SMALL = PreprocessOptions(target_resolution=32, num_workers=0)


@pytest.mark.parametrize(
    ('frames', 'message'),
    [
        (lambda n: np.zeros(n, np.int64), 'must number every sample differently; got 0 3 times'),
        (lambda n: np.array([0, 1, 1]), 'must number every sample differently; got 1 2 times'),
        (lambda n: np.arange(n, dtype=np.float32), 'samples/frame must hold whole numbers; got float32'),
    ],
)
def test_frames_that_repeat_or_are_no_whole_numbers_are_refused(tmp_path, frames, message):
    path = tmp_path / 'data.h5'
    preprocess([BlobSession(n_frames=3)], path, make_body(), SMALL)
    with h5py.File(path, 'r+') as file:
        samples = file['samples']
        numbers = frames(len(samples['frame']))
        del samples['frame']
        samples.create_dataset('frame', data=numbers, chunks=numbers.shape, fletcher32=True)
    with pytest.raises(BadFileError, match=message):
        open_dataset(path)


def test_too_many_views_are_refused_without_words_of_excluded_cameras(tmp_path):
    options = PreprocessOptions(target_resolution=32, num_workers=0, min_views=99)
    with pytest.raises(ValueError, match=r'min_views = 99; got 3\. Lower it \(--min-views\)'):
        preprocess([BlobSession(n_frames=3)], tmp_path / 'a.h5', make_body(), options)


def test_a_keypoint_map_that_is_there_but_no_table_is_refused_as_such(tmp_path):
    path = tmp_path / 'map.txt'
    path.write_text('model,data\n')
    with pytest.raises(ValueError, match=r'map\.txt: a keypoint map must be a table that ends in \.csv'):
        keypoint_map_file(path)
