"""Write a dataset file: streaming, block by block, under another name until it is whole."""

import json
import logging
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike

from smilfit.body_models.files.smil_json import landmarks_out
from smilfit.datasets.store.store_layout import (
    BLOCK,
    BYTES_CHUNK,
    FORMAT,
    LIBVER,
    PARAM_NAMES,
    PARTIAL_SUFFIX,
    EncodedSample,
    StoreHeader,
)
from smilfit.datasets.store.store_schema import BYTES_TABLES, CENTRE_TABLES, PARAM_TABLES, SAMPLE_TABLES
from smilfit.datasets.store.store_state import check_partial, finish_store
from smilfit.datasets.store.stored_session import write_session
from smilfit.datasets.store.table_checks import Table
from smilfit.files import is_alone, shorten, writing


class GuardedFile:
    """A file for h5py's `fileobj` driver.

    Args:
        path: the file.
        new: make it; it must not be there.
    """

    def __init__(self, path: Path, new: bool = False) -> None:
        self.path = path
        self.error: OSError | None = None
        self._handle = os.open(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if new else 0) | _FLAGS, 0o644)
        self._place = 0

    def hdf5(self, new: bool = False) -> h5py.File:
        """Open it as HDF5."""
        return h5py.File(self, 'w' if new else 'r+', libver=LIBVER)

    def check(self) -> None:
        """Raise the error of a write that failed."""
        if self.error is not None:
            raise self.error

    def sync(self) -> None:
        """Have the system put everything on the disk.

        Raises:
            OSError: a write failed, before or now.
        """
        self.check()
        os.fsync(self._handle)

    def close(self) -> None:
        """Close the file; HDF5 must have done so before."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._place}.get(whence)
        self._place = offset + (os.fstat(self._handle).st_size if begin is None else begin)
        return self._place

    def tell(self) -> int:
        """Return where it is."""
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Read as much as fits into a buffer (HDF5's is Cython's own)."""
        os.lseek(self._handle, self._place, os.SEEK_SET)
        data = os.read(self._handle, len(buffer))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def read(self, size: int) -> bytes:
        """Read so many bytes; h5py asks whether there is such a method."""
        buffer = bytearray(size)
        return bytes(buffer[: self.readinto(memoryview(buffer))])

    def write(self, data: Any) -> int:
        """Write all, or keep the error; what follows an error is let go."""
        view = memoryview(data).cast('B')
        try:
            os.lseek(self._handle, self._place, os.SEEK_SET)
            done = 0
            while self.error is None and done < len(view):
                done += os.write(self._handle, view[done:])
        except OSError as error:
            self.error = error
        self._place += len(view)
        return len(view)

    def truncate(self, size: int) -> int:
        """Cut or extend, or keep the error."""
        try:
            if self.error is None:
                os.ftruncate(self._handle, size)
        except OSError as error:
            self.error = error
        return size

    def flush(self) -> None:
        """Do nothing: writes are not buffered."""


_KINDS = {'i': np.int64, 'b': np.bool_, 'f': np.float64}
# A link under its name is not followed.
_FLAGS = getattr(os, 'O_BINARY', 0) | getattr(os, 'O_NOFOLLOW', 0)


logger = logging.getLogger('smilfit')


class StoreWriter:
    """Append samples to `<path>.partial`; `finish` gives the file its name.

    Memory holds one block of samples. If the writer is stopped, by an error or by force, the blocks that were
    whole stay, and a writer with the same header goes on behind them: `n_complete` samples need not be given
    again.

    Args:
        path: the file to be.
        header: what is stored once.
        restart: throw a partial file away instead of going on with it.
        n_expected: how many samples will come, so that a full disk's error states how much is wanted.

    Raises:
        ValueError: a partial file of other inputs or options. (A damaged one is reported and begun anew.)
        DiskFullError: no room; so do `append`, `flush` and `finish`.
    """

    def __init__(
        self, path: str | Path, header: StoreHeader, restart: bool = False, n_expected: int | None = None
    ) -> None:
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + PARTIAL_SUFFIX)
        self.header, self.n_expected = header, n_expected
        self._buffer: list[EncodedSample] = []
        self._n_written = 0
        if restart:
            self.partial.unlink(missing_ok=True)
        with self._writing():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self._reopen():
                self._begin()

    @property
    def n_complete(self) -> int:
        """How many samples are safely in the file."""
        return int(self._file.attrs['n_complete'])

    @property
    def faults(self) -> dict[int, str]:
        """Why samples that are safely in the file have no view, by sample number."""
        return {int(i): reason for i, reason in json.loads(self._file.attrs.get('faults', '{}')).items()}

    def append(self, sample: EncodedSample) -> None:
        """Take a sample; every `BLOCK` of them are written and flushed."""
        self._buffer.append(sample)
        if len(self._buffer) == BLOCK:
            self._write_block()

    def flush(self) -> None:
        """Write what is left of the samples, so that `faults` has all."""
        self._write_block()

    def finish(self, report: Mapping[str, object]) -> Path:
        """Write the rest and the report, and give the file its name.

        The report also lies beside it as JSON, and last a marker with the checksums of both.
        """
        self.flush()
        with self._writing():
            self._file.attrs['report'] = json.dumps(report, indent=1)
            self._file.attrs['complete'] = True
            self._file.close()
            self._raw.sync()
            self._raw.close()
            finish_store(self.path, self.partial, self.header, report)
        return self.path

    def close(self) -> None:
        """Close an unfinished file; its whole blocks stay for the next writer."""
        self._file.close()
        self._raw.close()

    def __enter__(self) -> 'StoreWriter':
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _writing(self) -> AbstractContextManager[None]:
        return writing(self.path, self._wanted_bytes())

    def _wanted_bytes(self) -> int | None:
        """Return how large the file will be, by what is there of it."""
        if not (self.n_expected and self._n_written and self.partial.is_file()):
            return None
        return self.partial.stat().st_size * self.n_expected // self._n_written

    def _reopen(self) -> bool:
        """Go on with a partial file; False where there is none, or a damaged one, which is removed."""
        if not self.partial.exists():
            return False
        if not is_alone(self.partial):
            # It is written in place: what has it under another name would change.
            logger.warning('%s: is a link, or has a second name; it is begun anew.', self.partial)
            self.partial.unlink()
            return False
        try:
            fingerprint, n = check_partial(self.partial)
        except (ValueError, OSError) as error:
            logger.warning('%s: is damaged (%s); it is begun anew.', self.partial, shorten(error))
            self.partial.unlink()
            return False
        if fingerprint != self.header.fingerprint:
            raise ValueError(
                f'{self.partial}: a partial file must come from the same sessions and options to be continued; '
                f'it does not. Begin anew with --restart, or choose another name.'
            )
        self._raw = GuardedFile(self.partial)
        self._file = self._raw.hdf5()
        self._truncate(self._file)
        self._n_written = n
        logger.info('%s: going on behind %d samples.', self.partial, n)
        return True

    def _begin(self) -> None:
        """Begin a file; it gets the name of a partial one when it holds all that is stored once."""
        begun = self.partial.with_name(f'{self.partial.name}.new')
        begun.unlink(missing_ok=True)
        self._raw = GuardedFile(begun, new=True)
        self._file = self._raw.hdf5(new=True)
        try:
            self._create()
            self._flush()
            self._raw.sync()
            begun.replace(self.partial)
        except BaseException:
            self.close()
            begun.unlink(missing_ok=True)
            raise

    def _flush(self) -> None:
        """Have all that was written reach the file.

        Raises:
            OSError: a write failed; the file is as it was before the first that did.
        """
        self._file.flush()
        self._raw.check()

    def _truncate(self, file: h5py.File) -> None:
        """Drop what a stopped writer began behind the last whole block, and check that block."""
        n = int(file.attrs['n_complete'])
        if 'faults' in file.attrs:
            faults = json.loads(file.attrs['faults'])
            file.attrs['faults'] = json.dumps({i: reason for i, reason in faults.items() if int(i) < n})
        for group in ('samples', 'params'):
            for dataset in file[group].values() if group in file else ():
                dataset.resize(n, axis=0)
                if n:
                    dataset[n - 1]
        for kind, name in BYTES_TABLES.items():
            if f'samples/{kind}_start' in file:
                end = file[f'samples/{kind}_start'][:] + file[f'samples/{kind}_length'][:]
                file[f'images/{name}'].resize(int(end.max(initial=0)), axis=0)

    def _create(self) -> None:
        header, file = self.header, self._file
        for name in ('body_model_file', 'body_model_hash', 'n_betas', 'crop_mode', 'target_resolution'):
            file.attrs[name] = getattr(header, name)
        for name in ('undistorted', 'confidence_threshold', 'fingerprint'):
            file.attrs[name] = getattr(header, name)
        for name in ('keypoint_names', 'joint_names', 'camera_names', 'options'):
            value = getattr(header, name)
            file.attrs[name] = json.dumps(value if isinstance(value, Mapping) else list(value))
        if header.body_model is not None:
            file.attrs['body_model'] = json.dumps(header.body_model.record())
            if header.body_model.packed is not None:
                packed = np.frombuffer(header.body_model.packed, np.uint8)
                file.create_dataset('body_model', data=packed, chunks=packed.shape, fletcher32=True)
        if header.landmarks:
            file.attrs['landmarks'] = json.dumps(landmarks_out(header.landmarks))
        file.attrs.update(format=FORMAT, version=header.version, complete=False, n_complete=0, report='{}')
        for i, session in enumerate(header.sessions):
            write_session(file.create_group(f'sessions/{i:04d}'), session)
        self._create_samples()

    def _create_samples(self) -> None:
        header = self.header
        counts = {'C': len(header.camera_names), 'K': len(header.keypoint_names), 'S': header.n_betas}
        counts |= {'J-1': len(header.joint_names) - 1, 'A': header.n_centres}
        samples, images = self._file.create_group('samples'), self._file.create_group('images')
        tables = SAMPLE_TABLES | (CENTRE_TABLES if header.n_centres else {})
        for kind, name in BYTES_TABLES.items():
            if kind == 'image' or header.with_masks:
                tables |= {f'{kind}_{end}': Table('i', ('N', 'C')) for end in ('start', 'length')}
                images.create_dataset(
                    name, (0,), np.uint8, maxshape=(None,), chunks=(BYTES_CHUNK,), fletcher32=True
                )
        _create_tables(samples, tables, counts)
        if header.with_params:
            known = {'known': Table('b', ('N',))}
            _create_tables(self._file.create_group('params'), PARAM_TABLES | known, counts)

    def _write_block(self) -> None:
        block, self._buffer = self._buffer, []
        if block:
            with self._writing():
                self._write_samples(block)
            self._n_written = self.n_complete

    def _write_samples(self, block: list[EncodedSample]) -> None:
        samples = self._file['samples']
        for name in (n for n in SAMPLE_TABLES if n in samples):
            _extend(samples[name], [getattr(s, name) for s in block])
        if self.header.n_centres:
            centres = [s.centres for s in block if s.centres is not None]
            _extend(samples['centres2d'], [c.xy for c in centres])
            _extend(samples['centres_known'], [c.known for c in centres])
            _extend(samples['all_animals'], [c.complete for c in centres])
        self._write_bytes('image', 'jpeg', [s.images for s in block])
        if self.header.with_masks:
            self._write_bytes('mask', 'mask', [s.masks for s in block])
        if self.header.with_params:
            self._write_params(block)
        faults = {self.n_complete + i: s.fault for i, s in enumerate(block) if s.fault}
        if faults:
            self._file.attrs['faults'] = json.dumps(self.faults | faults)
        # The count comes last and alone: what lies behind it belongs to no whole block.
        self._flush()
        self._file.attrs.modify('n_complete', self.n_complete + len(block))
        self._flush()

    def _write_bytes(self, kind: str, name: str, images: list[Mapping[int, np.ndarray]]) -> None:
        if not self.header.camera_names:
            return
        store = self._file['images'][name]
        shape = (len(images), len(self.header.camera_names))
        start, length = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        end, parts = len(store), []
        for i, by_camera in enumerate(images):
            for camera, data in sorted(by_camera.items()):
                start[i, camera], length[i, camera] = end, len(data)
                end += len(data)
                parts.append(data)
        if parts:
            _extend(store, np.concatenate(parts))
        _extend(self._file['samples'][f'{kind}_start'], start)
        _extend(self._file['samples'][f'{kind}_length'], length)

    def _write_params(self, block: list[EncodedSample]) -> None:
        group = self._file['params']
        _extend(group['known'], [s.params is not None for s in block])
        for name in group.keys() & set(PARAM_NAMES):
            empty = np.zeros(group[name].shape[1:])
            _extend(group[name], [empty if s.params is None else s.params[name] for s in block])


def _create_tables(group: h5py.Group, tables: Mapping[str, Table], counts: Mapping[str, int]) -> None:
    """Make tables that grow by a row a sample; HDF5 keeps no chunk of nothing: a count of 0 leaves a table out."""
    for name, table in tables.items():
        shape = tuple(counts[n] if isinstance(n, str) else n for n in table.shape[1:] if n is not None)
        if 0 not in shape:
            kind = np.float32 if name.startswith('confidence') else _KINDS[table.kind]
            chunks = (BLOCK, *shape)
            group.create_dataset(
                name, (0, *shape), kind, maxshape=(None, *shape), chunks=chunks, fletcher32=True
            )


def _extend(dataset: h5py.Dataset, rows: ArrayLike) -> None:
    values, before = np.asarray(rows, dtype=dataset.dtype), len(dataset)
    dataset.resize(before + len(values), axis=0)
    dataset[before:] = values
