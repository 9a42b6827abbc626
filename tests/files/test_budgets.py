"""What a file may ask for: sizes, depth, links and archives are looked at before memory is taken."""

import io
import json
import zipfile

import h5py
import numpy as np
import pytest

from smilfit.files import BadFileError
from smilfit.files.budget import check_budget
from smilfit.files.hdf5 import check_hdf5, check_heaps
from smilfit.files.numpy_files import npz_names, read_npz
from smilfit.files.text_files import read_json, read_strict_json, read_text

ARRAYS = {
    'plain': np.arange(12.0).reshape(3, 4),
    'columns': np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    'text': np.array(['a', 'bcd']),
    'word': np.array('häls'),
    'bytes': np.array([b'x', b'yz']),
    'truth': np.array([True, False]),
    'nothing': np.zeros((0, 3)),
    'number': np.array(3),
    'big_endian': np.arange(3, dtype='>f8'),
}


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_arrays_come_back_as_numpy_reads_them(save, tmp_path):
    save(tmp_path / 'a.npz', **ARRAYS)
    result = read_npz(tmp_path / 'a.npz')
    assert result.keys() == ARRAYS.keys() == npz_names(tmp_path / 'a.npz')
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(result[name], array)
        assert result[name].shape == array.shape
        assert result[name].dtype == array.dtype.newbyteorder('=')
        assert result[name].flags.writeable
    assert read_npz(tmp_path / 'a.npz', ('text', 'absent')).keys() == {'text'}


def member(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def archive(path, **members: bytes):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(f'{name}.npy', data)
    return path


def test_a_small_archive_of_much_is_refused_unread(tmp_path):
    zeros = member(np.zeros(1 << 21))
    path = archive(tmp_path / 'a.npz', a=zeros)
    assert path.stat().st_size < 1 << 15
    assert read_npz(path)['a'].size == 1 << 21
    with pytest.raises(BadFileError, match=r'a\.npz: the array a must be at most 5000000 bytes; got 16777'):
        read_npz(path, most_bytes=5_000_000)
    many = archive(tmp_path / 'b.npz', **{f'a{i}': zeros for i in range(5)})
    with pytest.raises(BadFileError, match='what is read of its arrays must be at most'):
        read_npz(many, most_bytes=len(zeros))
    assert len(read_npz(many, ('a0', 'a1'), most_bytes=len(zeros))) == 2


def test_a_header_that_claims_more_than_its_data(tmp_path):
    data = member(np.arange(3.0)).replace(b'(3,)', b'(999999999,)')
    with pytest.raises(BadFileError, match=r'a\.npz: '):
        read_npz(archive(tmp_path / 'a.npz', a=data))
    short = member(np.arange(3.0)).replace(b'(3,)', b'(9,)')
    with pytest.raises(BadFileError, match=r'the array a must .*72'):
        read_npz(archive(tmp_path / 'b.npz', a=short))


def test_objects_and_damage_are_refused(tmp_path):
    np.savez(tmp_path / 'a.npz', a=np.array([{}], dtype=object))
    with pytest.raises(
        BadFileError, match='must be an array of numbers or text; got object. Nothing was run'
    ):
        read_npz(tmp_path / 'a.npz')
    np.savez(tmp_path / 'b.npz', **ARRAYS)
    data = (tmp_path / 'b.npz').read_bytes()
    at = data.index(ARRAYS['plain'].tobytes()) + 20
    (tmp_path / 'b.npz').write_bytes(data[:at] + b'\x55' + data[at + 1 :])
    with pytest.raises(BadFileError, match='CRC'):
        read_npz(tmp_path / 'b.npz')
    # The directory at the end has no checksum; a name that is damaged there must not make an array disappear.
    at = data.rindex(b'plain.npy')
    (tmp_path / 'c.npz').write_bytes(data[:at] + b'q' + data[at + 1 :])
    with pytest.raises(BadFileError, match='differ'):
        read_npz(tmp_path / 'c.npz', ('columns',))
    with pytest.raises(FileNotFoundError, match='must be there'):
        read_npz(tmp_path / 'none.npz')


def test_text_and_json_are_bounded(tmp_path):
    path = tmp_path / 'a.json'
    path.write_text(json.dumps({'a': [1, 2]}))
    assert read_json(path, 'a list', dict) == {'a': [1, 2]} == read_strict_json(path, 'a list')
    with pytest.raises(BadFileError, match='must be at most 3 bytes; got 13'):
        read_text(path, 'a list', most=3)
    with pytest.raises(BadFileError, match='must hold a JSON list at its top; got dict of 1'):
        read_json(path, 'a table', list)
    path.write_text('[' * 100_000)
    for read in (read_json, read_strict_json):
        with pytest.raises(BadFileError, match='must not be nested so deeply'):
            read(path, 'a list')
    for text, message in (
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "got 'c' twice"),
        ('{"a": NaN}', 'must be finite; got NaN'),
        ('{"a": -Infinity}', 'must be finite; got -Infinity'),
        ('[1]', 'must hold a JSON object'),
        ('{"a": 1,}', 'line 1, column'),
    ):
        path.write_text(text)
        with pytest.raises(BadFileError, match=message):
            read_strict_json(path, 'a list')


@pytest.mark.parametrize('wanted', [-1, 11, 1 << 80])
def test_a_budget_is_kept(wanted):
    with pytest.raises(BadFileError, match=r'f\.x: a thing must be at most 10 in number'):
        check_budget('f.x', 'a thing', wanted, 10, 'in number')
    assert check_budget('f.x', 'a thing', 10, 10) == 10


def test_hdf5_tables_are_held_against_their_bytes(tmp_path):
    path = tmp_path / 'a.h5'
    with h5py.File(path, 'w') as file:
        file['fine'] = np.zeros(1 << 22)
        file.create_dataset('packed', data=np.zeros(1 << 22), compression='gzip', shuffle=True)
        file.create_dataset('checked', data=np.zeros(1 << 22), fletcher32=True, chunks=(1 << 16,))
        file['again'] = h5py.SoftLink('/')
    with h5py.File(path) as file:
        check_hdf5(file, path)
    for name, make in (
        ('unwritten', lambda f: f.create_dataset('unwritten', (1 << 40,), 'f8')),
        ('grown', lambda f: f.create_dataset('grown', (1 << 30,), 'f8', chunks=(64,), fletcher32=True)),
        ('chunk', lambda f: f.create_dataset('chunk', (8,), 'u1', maxshape=(None,), chunks=(1 << 30,))),
        ('outside', lambda f: f.__setitem__('outside', h5py.ExternalLink('b.h5', '/x'))),
        ('inner', lambda f: f.create_group('g').__setitem__('inner', h5py.ExternalLink('b.h5', '/x'))),
        ('raw', lambda f: f.create_dataset('raw', (8,), 'u1', external=[(str(tmp_path / 'raw'), 0, 8)])),
    ):
        with h5py.File(path, 'w') as file:
            make(file)
        with h5py.File(path) as file, pytest.raises(BadFileError, match=rf'a\.h5: .*{name}'):
            check_hdf5(file, path)


@pytest.mark.parametrize('size', [0, 1 << 40])
def test_a_heap_that_leads_nowhere_is_refused_before_hdf5_walks_it(tmp_path, size):
    """HDF5 itself would go round for ever over a free object of no size, inside C."""
    path = tmp_path / 'heap.h5'
    with h5py.File(path, 'w') as file:
        file.attrs['name'] = 'text of variable length'
    check_heaps(path)
    data = bytearray(path.read_bytes())
    at = data.index(b'GCOL') + 16
    # The free object behind the text: its number is 0.
    while data[at : at + 2] != bytes(2):
        at += 16 + -(-int.from_bytes(data[at + 8 : at + 16], 'little') // 8) * 8
    data[at + 8 : at + 16] = size.to_bytes(8, 'little')
    path.write_bytes(data)
    with (
        h5py.File(path, 'r') as file,
        pytest.raises(BadFileError, match=r'heap.h5: the heap at byte \d+ must hold'),
    ):
        check_hdf5(file, path)
