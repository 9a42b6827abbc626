"""What real writers write reads to the same values as with Python's own reader, in all protocols."""

import pickle
import pickletools
from collections import OrderedDict

import numpy as np
import pytest
import scipy.sparse

from smilfit.body_models.files.model_arrays import (
    StandIn,
    UnsafePickleError,
    as_array,
    read_pickle,
    read_pickle_bytes,
    whole_numbers,
)
from smilfit.files.pickles.opcodes import READERS, REFUSED, opcodes_of
from tests.hostile import pickle_writer as write
from tests.hostile.pickle_seeds import chumpy_model, other_values, python2_array, seeds, smil_arrays

WHERE = 'a.pkl'


def assert_same(ours, theirs):
    """Compare values; sparse matrices by what they stand for."""
    if scipy.sparse.issparse(theirs):
        assert np.array_equal(as_array(ours), theirs.toarray())
    elif isinstance(theirs, np.ndarray):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert np.array_equal(ours, theirs)
        assert ours.flags.owndata
        assert ours.flags.writeable
    elif isinstance(theirs, dict):
        assert type(ours) is dict
        assert list(ours) == list(theirs)
        for key in theirs:
            assert_same(ours[key], theirs[key])
    elif isinstance(theirs, (list, tuple)):
        assert type(ours) is type(theirs)
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs):
            assert_same(one, other)
    else:
        assert type(ours) is type(theirs)
        assert ours == theirs


def test_opcodes_are_those_of_pickletools():
    named = {op.name: op.code.encode('latin1')[0] for op in pickletools.opcodes}
    ours = {name: code for code, (name, _) in READERS.items()}
    assert ours.items() <= named.items()
    # All are known: what is not read is refused by name.
    assert {name: code for code, name in REFUSED.items()} == {n: c for n, c in named.items() if n not in ours}
    without = {op.name for op in pickletools.opcodes if op.arg is None}
    assert {name for name, read in READERS.values() if read is None} == without & set(ours)


@pytest.mark.parametrize('data', seeds()[:-1])
def test_opcodes_and_arguments_are_those_of_genops(data):
    for (name, argument, place), (op, wanted, at) in zip(
        opcodes_of(data), pickletools.genops(data), strict=True
    ):
        assert (name, place) == (op.name, at)
        if name == 'GLOBAL':
            argument = ' '.join(argument)
        assert (bytes(argument) if isinstance(argument, memoryview) else argument) == wanted, name


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize('value', [smil_arrays(), *other_values()])
def test_values_are_those_of_pythons_reader(value, protocol):
    assert_same(read_pickle_bytes(pickle.dumps(value, protocol), WHERE), value)


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize(
    'code', ['?', 'i1', '<i2', '>i4', 'i8', 'u1', '>u2', 'u4', 'u8', 'f2', '>f4', 'f8', 'S3', '>U2']
)
def test_arrays_of_every_kind(code, protocol):
    numbers = np.arange(24).reshape(2, 3, 4)
    for array in (
        numbers.astype(code),
        np.asfortranarray(numbers.astype(code)),
        numbers.astype(code).transpose(1, 0, 2),
        numbers.astype(code)[:, ::2],
        np.zeros((0, 3), code),
        numbers.astype(code)[1, 1, 1],
        np.array(numbers[1, 1, 1], code),
    ):
        back = read_pickle_bytes(pickle.dumps(array, protocol), WHERE)
        assert back.dtype == array.dtype
        assert np.array_equal(back, array)


@pytest.mark.real
# Python's reader imports what the files name; ours does not.
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize(
    'file', ['models/SMILy_STICK.pkl', 'models/SMILy_Mouse_static_joints.pkl', 'rigs/pig/PIG_full.pkl']
)
def test_real_models_read_as_with_pythons_reader(real_data, file):
    path = real_data / file
    with path.open('rb') as opened:
        assert_same(read_pickle(path), pickle.load(opened, encoding='latin1'))


@pytest.mark.real
def test_the_real_prior_keeps_its_attributes(real_data):
    raw = read_pickle(real_data / 'models' / 'unity_pose_prior_with_cov_35parts.pkl')
    assert raw['pic'].origin == 'chumpy.ch.Ch'
    assert raw['pic'].state['_dirty_vars'] == {'x'}
    assert as_array(raw['pic']).shape == (105, 105)


def test_what_python_2_writes_in_protocol_0():
    assert as_array(read_pickle_bytes(python2_array(), WHERE)['a']).tolist() == [1.0, -2.5]


def test_old_texts_of_one_byte_a_character_and_old_truth_values():
    content = (
        b"(dU\x01aT\x02\0\0\0\xe4bsS'it\\'s\\x00\\\\n'I01\nI7\nI00\nL5L\nF1.5\nVA\\u00e4\\U0001f42d\nNs0000s."
    )
    data = b'(lp0\nU\x01a\x61' + b"S'it\\'s \\x00\\\\n'\naI01\naI7\naL5L\naF1.5\naV\\u00e4\\ud83d\\udc2d\na."
    assert read_pickle_bytes(data, WHERE) == ['a', "it's \0\\n", True, 7, 5, 1.5, 'ä\U0001f42d']
    with pytest.raises(ValueError, match=r'a\.pkl: must'):
        read_pickle_bytes(content, WHERE)


def test_an_ordered_dict_of_python_2_and_dropped_keys(tmp_path):
    pairs = write.listed(*(write.listed(write.text(k), write.integer(i)) for i, k in enumerate('ab')))
    ordered = write.called(write.named('collections', 'OrderedDict'), pairs)
    assert read_pickle_bytes(ordered + b'.', WHERE) == {'a': 0, 'b': 1}
    path = tmp_path / WHERE
    for kind in (dict, OrderedDict):
        path.write_bytes(pickle.dumps(kind(a=np.array([{}], dtype=object), b=1)))
        assert read_pickle(path, drop=('a',)) == {'b': 1}
        with pytest.raises(UnsafePickleError, match='array of Python objects'):
            read_pickle(path)


def test_what_is_shared_stays_shared_and_stand_ins_do_nothing():
    array = np.zeros(3)
    first, second = read_pickle_bytes(pickle.dumps([array, array]), WHERE)
    assert first is second
    stand_in = read_pickle_bytes(write.stand_in('chumpy.ch', 'Ch', {'x': write.NONE}) + b'.', WHERE)
    assert type(stand_in) is StandIn
    assert (stand_in.origin, stand_in.arguments, stand_in.state) == ('chumpy.ch.Ch', (), {'x': None})


def test_lists_of_a_hundred_thousand_rows():
    rows = np.arange(300_000.0).reshape(-1, 3)
    assert np.array_equal(as_array(read_pickle_bytes(pickle.dumps(rows.tolist()), WHERE)), rows)


def test_many_labels_that_share_long_names():
    labels = [('DLC_resnet50_' + 'x' * 200, f'part{i}', coord) for i in range(1000) for coord in 'xyz']
    assert read_pickle_bytes(pickle.dumps(labels, 0), WHERE) == labels


def test_zeros_after_the_end_are_padding():
    assert read_pickle_bytes(pickle.dumps([1]) + bytes(8), WHERE) == [1]


def test_a_choice_of_a_chumpy_array():
    shapedirs = read_pickle_bytes(chumpy_model(), WHERE)['shapedirs']
    assert np.array_equal(as_array(shapedirs), np.arange(24.0).reshape(4, 3, 2))


@pytest.mark.parametrize(('kind', 'make'), [('csc', 'csc_array'), ('csr', 'csr_array'), ('coo', 'coo_array')])
def test_sparse_matrices_add_what_stands_twice(kind, make):
    rows, columns = np.array([0, 1, 1]), np.array([2, 0, 0])
    matrix = scipy.sparse.coo_array((np.array([1.0, 2.0, 3.0]), (rows, columns)), shape=(2, 3))
    back = read_pickle_bytes(pickle.dumps(getattr(scipy.sparse, make)(matrix)), WHERE)
    assert back.origin.endswith(make)
    assert as_array(back).tolist() == [[0, 0, 1], [5, 0, 0]]


def test_whole_numbers():
    assert whole_numbers([1.0, -2.0], 'k').dtype == np.int64
    assert whole_numbers(np.array([2**63 - 1], np.uint64), 'k').tolist() == [2**63 - 1]
    assert whole_numbers(np.array([-(2.0**62)]), 'k').tolist() == [-(2**62)]
    for wrong in (
        [0.5],
        [np.nan],
        [np.inf],
        [2.0**63],
        [2**63],
        [2**70],
        ['1'],
        None,
        {},
        [1j],
        [[1], [1, 2]],
    ):
        with pytest.raises(ValueError, match='k: must'):
            whole_numbers(wrong, 'k')
