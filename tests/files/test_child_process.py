import ctypes
import logging
import os
import sys
import threading
import warnings

import h5py
import numpy as np
import pytest
import torch

from smilfit.files import BadFileError, accounted, charge, read_in_child
from smilfit.files.account import BASE_OBJECTS, FACTOR

forks = pytest.mark.skipif(
    sys.platform != 'linux', reason='files are read in processes of their own on Linux alone'
)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'scan.obj'
    path.write_bytes(b'x' * 100)
    return path


def test_arrays_come_back_as_they_are_and_writeable(file):
    def read(count, name):
        order = np.asfortranarray(np.arange(count, dtype=np.float32).reshape(-1, 2))
        return {name: order, 'empty': np.zeros((0, 3)), 'text': np.array(['ab', 'c'])}

    result = read_in_child(file, 'a scan', read, 100_000, name='points')
    np.testing.assert_array_equal(result['points'], np.arange(100_000).reshape(-1, 2))
    result['points'][0] = 5
    assert result['empty'].shape == (0, 3)
    assert list(result['text']) == ['ab', 'c']


@forks
def test_it_runs_elsewhere_and_changes_nothing_here(file):
    kept = []
    assert read_in_child(file, 'a scan', lambda: (kept.append(1), os.getpid())[1]) != os.getpid()
    assert kept == []
    # Inside a child the next file is read in the same one.
    first, second = read_in_child(file, 'a', lambda: (os.getpid(), read_in_child(file, 'b', os.getpid)))
    assert first == second


def test_errors_logs_and_warnings_come_back(file, caplog):
    def read():
        logging.getLogger('smilfit').warning('%d left out', 3)
        warnings.warn('old file', UserWarning, stacklevel=1)
        raise KeyError('vertices')

    with (
        caplog.at_level(logging.WARNING, 'smilfit'),
        warnings.catch_warnings(record=True) as warned,
        pytest.raises(KeyError, match='vertices') as caught,
    ):
        # Where warnings are errors, it is the child's error.
        warnings.simplefilter('always')
        read_in_child(file, 'a scan', read)
    assert [str(w.message) for w in warned] == ['old file']
    assert [r.getMessage() for r in caplog.records] == ['3 left out']
    if sys.platform == 'linux':
        assert "raise KeyError('vertices')" in str(caught.value.__cause__)


@forks
@pytest.mark.parametrize(
    ('read', 'rule'),
    [
        (lambda: np.ones(1 << 27).sum(), r'at most \d+ MiB of memory; got more'),
        (
            lambda: next(i for i in iter(lambda: 0, 1) if i),
            r'at most 0\.3 CPU seconds; got [\d.]+, and was not done',
        ),
        (os.abort, 'the library that reads it ended with signal 6'),
        (lambda: ctypes.string_at(0), 'the library that reads it ended with signal 11'),
        (lambda: os._exit(3), 'the library that reads it ended with exit status 3'),
    ],
    ids=['memory', 'time', 'abort', 'crash', 'exit'],
)
def test_what_would_stop_the_machine_is_a_sentence(file, monkeypatch, read, rule):
    monkeypatch.setenv(FACTOR, '0.01')
    with pytest.raises(BadFileError, match=f'scan.obj: .*a scan must .*{rule}'):
        read_in_child(file, 'a scan', read)


def test_the_account_goes_on_inside_and_after(file):
    with accounted(file, 'a scan') as account:
        charge('nodes', n_objects=BASE_OBJECTS - 10)
        read_in_child(file, 'a scan', charge, 'more nodes', n_objects=10)
        assert account.n_objects == BASE_OBJECTS
        with pytest.raises(BadFileError, match='objects; got 300100 with more nodes'):
            read_in_child(file, 'a scan', charge, 'more nodes', n_objects=100)


def test_it_reads_while_other_threads_hold_what_it_needs(file, tmp_path):
    # A lock of HDF5 that another thread holds at the fork would be held in the child for ever; so would torch's pool.
    with h5py.File(tmp_path / 'a.h5', 'w') as table:
        table['x'] = np.arange(6)
    torch.ones(300, 300) @ torch.ones(300, 300)
    over = threading.Event()

    def busy():
        while not over.is_set():
            with h5py.File(tmp_path / 'a.h5') as one:
                one['x'][:]

    thread = threading.Thread(target=busy)
    thread.start()

    def read():
        with h5py.File(tmp_path / 'a.h5') as table:
            return table['x'][:] + (torch.ones(6, 6) @ torch.ones(6, 300)).sum().item()

    try:
        for _ in range(5):
            np.testing.assert_array_equal(read_in_child(file, 'a scan', read), np.arange(6) + 6 * 6 * 300)
    finally:
        over.set()
        thread.join()
