import os

import numpy as np
import pytest

from smilfit.files import BadFileError, accounted, charge
from smilfit.files.account import BASE_BYTES, BASE_OBJECTS, BYTES_PER_BYTE, FACTOR, OBJECTS_PER_BYTE


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'scan.obj'
    path.write_bytes(b'x' * 8192)
    return path


def test_sum_of_many_small_things_is_bounded(file):
    piece = BASE_BYTES // 8
    with accounted(file, 'a scan') as account:
        for _ in range(8):
            account.charge('a buffer', n_bytes=piece)
        with pytest.raises(
            BadFileError, match=r'scan.obj: reading a scan must take at most 512 MiB .* a buffer'
        ):
            account.charge('a buffer', n_bytes=piece)


def test_objects_and_negative_sizes_are_refused(file):
    with accounted(file, 'a scan'):
        charge('nodes', n_objects=BASE_OBJECTS)
        with pytest.raises(BadFileError, match=f'at most {BASE_OBJECTS + 2048:,} objects; got .* with nodes'):
            charge('nodes', n_objects=int(8192 * OBJECTS_PER_BYTE) + 1)
        with pytest.raises(BadFileError, match='nodes must not be of negative size; got -1'):
            charge('nodes', n_bytes=-1)


def test_time_of_a_loop_that_charges_is_bounded(file, monkeypatch):
    monkeypatch.setenv(FACTOR, '0.01')
    with (
        accounted(file, 'a scan') as account,
        pytest.raises(BadFileError, match=r'at most 0\.3\d* CPU seconds; got .*with a step'),
    ):
        while account.seconds < 10:
            charge('a step')


def test_files_that_are_referenced_share_one_account_and_count_once(file, tmp_path):
    beside = tmp_path / 'buffer.bin'
    beside.write_bytes(b'y' * 4096)
    with accounted(file, 'a scan') as account:
        before = account.most_bytes
        for _ in range(3):
            with accounted(beside, 'a buffer') as inner:
                assert inner is account
        assert account.most_bytes == before + BYTES_PER_BYTE * 4096
        with accounted(tmp_path / 'missing', 'a buffer'):
            assert account.most_bytes == before + BYTES_PER_BYTE * 4096
    charge('outside of any file', n_bytes=1 << 60)


@pytest.mark.skipif(os.name != 'posix', reason='blocks of a file are known on POSIX alone')
def test_holes_of_a_sparse_file_allow_nothing(file, tmp_path):
    sparse = tmp_path / 'hole.bin'
    with sparse.open('wb') as hole:
        hole.truncate(1 << 34)
    with accounted(sparse, 'a buffer') as account:
        assert account.most_bytes < BASE_BYTES + BYTES_PER_BYTE * 65536


def test_a_factor_in_the_environment_allows_more(file, monkeypatch):
    monkeypatch.setenv(FACTOR, '4')
    with accounted(file, 'a scan') as account:
        assert account.most_bytes == 4 * (BASE_BYTES + BYTES_PER_BYTE * 8192)
    monkeypatch.setenv(FACTOR, 'much')
    with (
        pytest.raises(ValueError, match="SMILFIT_READING_BUDGET: must be a number above 0 .* got 'much'"),
        accounted(file, ''),
    ):
        pass
    assert np.isfinite(account.most_seconds)
