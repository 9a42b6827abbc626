import h5py
import numpy as np
import pytest
import scipy.io

from smilfit.io.mat_files import read_mat
from tests.io.annotations.mat_writers import write_mat73

TABLE = np.arange(6.0).reshape(2, 3)


def _cell(*items):
    cell = np.empty((len(items), 1), dtype=object)
    cell[:, 0] = items
    return cell


def test_both_versions_give_the_same_plain_things(tmp_path):
    flags = np.array([[True, False]])
    scipy.io.savemat(
        tmp_path / 'five.mat',
        {
            'table': TABLE,
            'name': 'zebra',
            'one': {'p': TABLE, 'v': flags},
            'many': _cell(TABLE, 'x', {'a': TABLE}),
        },
    )
    write_mat73(
        tmp_path / 'seven.mat',
        {
            'table': TABLE,
            'name': 'zebra',
            'one': {'p': TABLE, 'v': flags},
            'many': [TABLE, 'x', {'a': TABLE}],
        },
    )
    small = scipy.io.loadmat(tmp_path / 'five.mat')
    scipy.io.savemat(
        tmp_path / 'packed.mat', {n: small[n] for n in small if n[0] != '_'}, do_compression=True
    )
    for name in ('five', 'packed', 'seven'):
        result = read_mat(tmp_path / f'{name}.mat')
        np.testing.assert_array_equal(result['table'], TABLE)
        assert result['name'] == 'zebra'
        np.testing.assert_array_equal(result['one']['p'], TABLE)
        np.testing.assert_array_equal(result['one']['v'], flags)
        first, second, third = result['many']
        np.testing.assert_array_equal(first, TABLE)
        assert second == 'x'
        np.testing.assert_array_equal(third['a'], TABLE)


def test_struct_arrays_are_lists_of_structs(tmp_path):
    many = np.array([(1.0, 'a'), (2.0, 'b')], dtype=[('n', object), ('t', object)])
    scipy.io.savemat(tmp_path / 'five.mat', {'many': many})
    path = write_mat73(tmp_path / 'seven.mat', {'table': TABLE})
    with h5py.File(path, 'a') as file:
        group = file.create_group('many')
        group.attrs['MATLAB_class'] = np.bytes_(b'struct')
        for field, values in (('n', [1.0, 2.0]), ('t', ['a', 'b'])):
            references = []
            for value in values:
                text = isinstance(value, str)
                node = file['#refs#'].create_dataset(
                    f'{field}{value}',
                    data=np.array([[ord(value)]], np.uint16) if text else np.array([[value]]),
                )
                node.attrs['MATLAB_class'] = np.bytes_(b'char' if text else b'double')
                references.append([node.ref])
            group.create_dataset(field, data=np.array(references, dtype=h5py.ref_dtype))
    for name in ('five', 'seven'):
        first, second = read_mat(tmp_path / f'{name}.mat')['many']
        assert (first['n'].item(), first['t']) == (1.0, 'a')
        assert (second['n'].item(), second['t']) == (2.0, 'b')


def test_what_is_no_mat_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='must exist'):
        read_mat(tmp_path / 'none.mat')
    (tmp_path / 'a.mat').write_bytes(b'no matlab here' * 20)
    with pytest.raises(ValueError, match=r'must be a \.mat file'):
        read_mat(tmp_path / 'a.mat')


@pytest.mark.parametrize('kind', ['f8', 'f4', 'i1', 'u1', 'i2', 'u2', 'i4', 'u4', 'i8', 'u8'])
def test_numbers_of_every_type_and_shape(tmp_path, kind):
    for shape in ((1, 1), (3, 2), (0, 4), (2, 3, 4)):
        values = np.arange(np.prod(shape)).reshape(shape).astype(kind)
        scipy.io.savemat(tmp_path / 'a.mat', {'values': values})
        result = read_mat(tmp_path / 'a.mat')['values']
        assert result.dtype == values.dtype
        np.testing.assert_array_equal(result, values)


def test_other_kinds_are_left_out(tmp_path):
    from scipy.sparse import csc_array

    scipy.io.savemat(
        tmp_path / 'a.mat', {'sparse': csc_array(np.eye(3)), 'complex': np.array([1j]), 'kept': TABLE}
    )
    assert list(read_mat(tmp_path / 'a.mat')) == ['kept']


@pytest.mark.parametrize('packed', [False, True])
def test_a_damaged_file_is_an_error_or_other_numbers_but_never_a_crash(tmp_path, packed):
    rng = np.random.default_rng(0)
    path = tmp_path / 'a.mat'
    one = {'kp': TABLE, 'names': _cell('a', 'b'), 'seen': np.array([[True]])}
    scipy.io.savemat(path, {'one': one, 'many': _cell(TABLE, one)}, do_compression=packed)
    whole = path.read_bytes()
    for _ in range(300):
        data = bytearray(whole[: rng.integers(len(whole) // 2, len(whole) + 1)])
        data[rng.integers(len(data))] = rng.integers(256)
        path.write_bytes(data)
        try:
            read_mat(path)
        except ValueError as error:
            assert str(error).startswith(f'{path}: the file must be a .mat file')  # noqa: PT017
