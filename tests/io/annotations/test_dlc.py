import pickle

import h5py
import numpy as np
import pytest

from smilfit.body_models import UnsafePickleError
from smilfit.io.pose_tables import read_pose_table
from smilfit.registry import build_annotations
from smilfit.structures import VideoFrame
from tests.io.annotations.pose_writers import columns_of, write_csv, write_fixed_h5, write_table_h5

PARTS = ('nose', 'tail', 'paw')
ROWS = [('labeled-data', 'vid', 'img003.png'), ('labeled-data', 'vid', 'img017.png')]
PATHS = ['/'.join(row) for row in ROWS]


def _values(columns, rows=2, seed=0):
    return np.random.default_rng(seed).uniform(0, 90, (rows, columns))


def _read(path, **options):
    return build_annotations({'type': 'dlc', **options}).read(path)


@pytest.fixture
def project(tmp_path):
    values = _values(6)
    values[1, 2:4] = np.nan
    path = write_csv(tmp_path / 'labeled-data/vid/CollectedData_me.csv', columns_of(PARTS), ROWS, values)
    return path, values


def test_the_layouts_of_a_table_say_the_same(tmp_path, project):
    path, values = project
    columns = columns_of(PARTS)
    tables = [
        read_pose_table(path),
        read_pose_table(write_csv(tmp_path / 'flat.csv', columns, [(p,) for p in PATHS], values)),
        read_pose_table(write_table_h5(tmp_path / 'table.h5', columns, PATHS, values)),
        read_pose_table(write_fixed_h5(tmp_path / 'fixed.h5', columns, ROWS, values)),
    ]
    for table in tables:
        assert ['/'.join(row) for row in table.rows] == PATHS
        track = table.tracks['']
        assert track.names == PARTS
        np.testing.assert_array_equal(track.xy, values.reshape(2, 3, 2))
        np.testing.assert_array_equal(track.confidence, [[1, 1, 1], [1, 0, 1]])
        assert not table.of_video
        assert not table.skipped


def test_labels_of_a_project(tmp_path, project):
    path, values = project
    (tmp_path / 'labeled-data/vid/img003.png').touch()
    for source in (path, path.parent, tmp_path):
        result = _read(source)
        assert result.keypoint_names == PARTS
        assert not result.temporal
        first, second = result.images
        assert first.image == tmp_path / PATHS[0]
        assert (first.sequence, first.frame, second.frame) == ('vid', 3, 17)
        assert first.where == f'{path}, line 4'
        np.testing.assert_array_equal(first.keypoints, values[0].reshape(3, 2))
        np.testing.assert_array_equal(second.confidence, [1, 0, 1])
        np.testing.assert_array_equal(second.keypoints[1], 0)
    assert _read(path, images=tmp_path / 'other').images[0].image == tmp_path / 'other' / PATHS[0]


def test_images_beside_a_moved_table_are_found(tmp_path):
    path = write_csv(tmp_path / 'CollectedData.csv', columns_of(PARTS), ROWS[:1], _values(6, 1))
    (tmp_path / 'img003.png').touch()
    assert _read(path).images[0].image == tmp_path / 'img003.png'


def test_several_animals_are_entries_and_sequences(tmp_path):
    columns = columns_of(PARTS, ['a', 'b']) + [('me', 'single', 'corner', c) for c in 'xy']
    values = _values(14)
    values[1, 6:12] = np.nan
    write_csv(tmp_path / 'CollectedData_me.csv', columns, ROWS, values)
    result = _read(tmp_path)
    assert [image.sequence for image in result.images] == ['vid+a', 'vid+b', 'vid+a']
    assert result.keypoint_names == PARTS
    np.testing.assert_array_equal(result.images[1].keypoints, values[0, 6:12].reshape(3, 2))
    assert "individual 'single'" in result.skipped[0].where
    alone = _read(tmp_path, individuals=['single'])
    assert alone.keypoint_names == ('corner',)
    assert not alone.skipped
    with pytest.raises(KeyError, match="no individual 'c'"):
        _read(tmp_path, individuals=['c'])


@pytest.mark.parametrize('write', [write_csv, write_table_h5])
def test_predictions_of_a_video(tmp_path, write):
    columns = columns_of(PARTS, coords=('x', 'y', 'likelihood'))
    values = _values(9)
    values[:, 2::3] = np.random.default_rng(1).random((2, 3))
    suffix = {write_csv: '.csv', write_table_h5: '.h5'}[write]
    rows = [('7',), ('8',)] if write is write_csv else [7, 8]
    path = write(tmp_path / f'cage1DLC_resnet50_x{suffix}', columns, rows, values)
    with pytest.raises(ValueError, match=r'must be found; got none.*video='):
        _read(path)
    for name in ('cage.mp4', 'cage1.avi'):
        (tmp_path / name).touch()
    result = _read(path)
    assert result.temporal
    assert result.images[0].image == VideoFrame(tmp_path / 'cage1.avi', 7)
    assert (result.images[1].sequence, result.images[1].frame) == ('cage1', 8)
    np.testing.assert_array_equal(result.images[0].confidence, values[0, 2::3])
    np.testing.assert_array_equal(result.images[0].keypoints, values[0].reshape(3, 3)[:, :2])
    assert _read(path, video=tmp_path / 'cage.mp4').images[0].image.video == tmp_path / 'cage.mp4'


def test_tables_of_other_body_parts_join(tmp_path):
    for name, parts in (('one', PARTS[:2]), ('two', PARTS[1:])):
        rows = [('labeled-data', name, 'img1.png')]
        write_csv(
            tmp_path / f'labeled-data/{name}/CollectedData_me.csv', columns_of(parts), rows, _values(4, 1)
        )
    result = _read(tmp_path)
    assert result.keypoint_names == PARTS
    assert [image.confidence.tolist() for image in result.images] == [[1, 1, 0], [0, 1, 1]]


def test_bad_rows_are_reported_and_the_rest_is_read(tmp_path, project):
    path, _ = project
    names = [f'labeled-data,vid,img{i:03}.png,' for i in range(30, 36)]
    lines = [
        names[0] + '1,,3,4,5,6',
        names[1] + '1,2,3,4,5',
        names[2] + '1,2,3,4,5,six',
        names[3] + ',,,,,',
        'labeled-data,vid,,1,2,3,4,5,6',
    ]
    path.write_text(path.read_text() + '\n'.join(lines) + '\n')
    result = _read(path)
    assert len(result) == 2
    reasons = {skip.where.split(', ')[-1]: skip.reason for skip in result.skipped}
    assert set(reasons) == {f'line {n}' for n in range(6, 11)}
    assert 'must be both numbers or both empty' in reasons['line 6']
    assert 'must have 9 cells; got 8' in reasons['line 7']
    assert "could not convert string to float: 'six'" in reasons['line 8']
    assert 'one body part at least must be labelled' in reasons['line 9']
    assert 'must name an image or a frame' in reasons['line 10']


def test_likelihoods_that_are_none_cost_their_point_alone(tmp_path, caplog):
    columns = columns_of(PARTS[:2], coords=('x', 'y', 'likelihood'))
    (tmp_path / 'a.mp4').touch()
    values = np.array([[1, 2, 1.0000001, 3, 4, 0.9], [1, 2, 1.5, 3, 4, np.nan], [1, 2, -0.5, 3, 4, 0.8]])
    result = _read(write_csv(tmp_path / 'a.csv', columns, [('0',), ('1',), ('2',)], values))
    assert [image.confidence.tolist() for image in result.images] == [[1, 0.9], [1, 0], [0, 0.8]]
    assert not result.skipped
    notes = ' '.join(record.getMessage() for record in caplog.records)
    assert '1 likelihoods exceed 1 (up to 1.500)' in notes
    assert '2 points have no likelihood (empty or NaN: 1, negative: 1)' in notes


def test_likelihoods_in_percent_are_refused(tmp_path):
    columns = columns_of(PARTS[:1], coords=('x', 'y', 'likelihood'))
    (tmp_path / 'a.mp4').touch()
    path = write_csv(tmp_path / 'a.csv', columns, [('0',), ('1',)], np.array([[1, 2, 99.0], [1, 2, 87.0]]))
    with pytest.raises(
        ValueError, match=r'likelihood must be from 0 to 1; most exceed 1.25, the median is 93'
    ):
        _read(path)


def test_peaks_above_one_are_clipped_and_told_once(tmp_path, caplog):
    columns = columns_of(PARTS[:1], coords=('x', 'y', 'likelihood'))
    (tmp_path / 'a.mp4').touch()
    values = np.array([[1, 2, 1.006], [1, 2, 1.1], [1, 2, 0.3]])
    result = _read(write_csv(tmp_path / 'a.csv', columns, [('0',), ('1',), ('2',)], values))
    assert [image.confidence[0] for image in result.images] == [1, 1, 0.3]
    assert not result.skipped
    assert result.confidence_threshold == 0.2
    assert [
        r.getMessage() for r in caplog.records if '2 likelihoods exceed 1 (up to 1.100)' in r.getMessage()
    ]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('a,b\n1,2\n', 'first rows must begin with scorer'),
        ('scorer,me\nbodyparts,nose\ncoords,x\n1,2\n', "'nose' '' must have x and y; got .'x'"),
        ('scorer,me,me\nbodyparts,nose,nose\ncoords,x,x\n1,2,3\n', 'must be there once'),
        ('scorer\nbodyparts\ncoords\n', 'one body part at least'),
        ('scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\n', 'must have rows below its header'),
    ],
)
def test_what_is_no_table(tmp_path, text, message):
    path = tmp_path / 'CollectedData.csv'
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        _read(path)


def test_no_table_at_all(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'must hold CollectedData_\*.*give the table of one camera'):
        _read(tmp_path)
    with pytest.raises(FileNotFoundError, match='must exist'):
        _read(tmp_path / 'none.h5')


def test_h5_that_is_no_frame_of_pandas(tmp_path):
    path = tmp_path / 'a.h5'
    path.write_bytes(b'no')
    with pytest.raises(ValueError, match='must be readable HDF5'):
        _read(path)
    with h5py.File(path, 'w') as file:
        file['tracks'] = np.zeros(3)
    with pytest.raises(ValueError, match='must hold one data frame of pandas'):
        _read(path)
    write_table_h5(path, columns_of(PARTS), PATHS, _values(6))
    with h5py.File(path, 'a') as file:
        del file['df_with_missing'].attrs['non_index_axes']
    with pytest.raises(ValueError, match=r'must hold a data frame as pandas writes it.*Convert it to csv'):
        _read(path)


class _Runs:
    def __reduce__(self):
        return (open, ('/tmp/never', 'w'))


def test_labels_that_would_run_code_are_refused(tmp_path):
    path = write_table_h5(tmp_path / 'a.h5', columns_of(PARTS), PATHS, _values(6))
    with h5py.File(path, 'a') as file:
        file['df_with_missing'].attrs['non_index_axes'] = np.bytes_(pickle.dumps([(1, [_Runs()])], 0))
    with pytest.raises(UnsafePickleError, match='Nothing was run'):
        _read(path)
