"""Results that are whole or made again: one transaction for whatever writes a folder.

A folder of results has parts (the parameters, the video, the meshes ...). A part's files are made in a new folder of
their own, flushed, and renamed to their places; then the marker `done.json` names the part, what it was made of, and
every file with its size and checksum. While a part is replaced the marker says so beforehand. So wherever a process
is stopped, a part is either what the marker says or not believed.
"""

import hashlib
import json
import logging
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from smilfit.files.atomic import flush_file, flush_folder, write_text, writing
from smilfit.files.errors import BadFileError
from smilfit.files.names import inside
from smilfit.files.real_folders import is_link, put_file, real_folder, remove_file
from smilfit.files.text_files import read_json

logger = logging.getLogger('smilfit')

MARKER = 'done.json'
FORMAT = 'smilfit-outputs'
VERSION = 1
_MAKING = '.making-'
_MOST_MARKER_BYTES = 1 << 26


class Record(TypedDict):
    """`MadeOf` as it is when read back."""

    inputs: dict[str, Any]
    options: dict[str, Any]


class _Part(Record):
    """What the marker says of a part: its state, and its files by name with size and checksum."""

    state: str
    files: dict[str, tuple[int, str]]


@dataclass(frozen=True)
class MadeOf:
    """What a part depends on: hashes of its inputs, and the options that it was made with; both are JSON-able."""

    inputs: Mapping[str, Any]
    options: Mapping[str, Any]

    def record(self) -> Record:
        """Return both as they are when read back."""
        return json.loads(json.dumps({'inputs': self.inputs, 'options': self.options}, default=str))


class OutputFolder:
    """The parts of one folder of results. One process at a time: see `OutputLock`.

    Links below the folder are not followed; the folder itself may be one.

    Args:
        folder: where the results lie; made when something is written.
        marker: the marker's name, where several outputs share a folder.
    """

    def __init__(self, folder: str | Path, marker: str = MARKER) -> None:
        self.folder = Path(folder)
        self.marker = self.folder / marker

    def reason_to_make(self, part: str, made_of: MadeOf) -> str | None:
        """Return why a part has to be made; None where it is there, whole and made of the same."""
        record = self._records().get(part)
        if record is None:
            return 'not made yet'
        if record['state'] != 'done':
            return 'it was not finished'
        wanted = made_of.record()
        if record['inputs'] != wanted['inputs']:
            return 'it was made of other inputs'
        if record['options'] != wanted['options']:
            changed = sorted(
                key
                for key in {*record['options'], *wanted['options']}
                if record['options'].get(key) != wanted['options'].get(key)
            )
            return f'it was made with other options ({", ".join(changed)})'
        return self._damage(record)

    def holds(self, part: str, made_of: MadeOf) -> bool:
        """Check whether a part is there, whole and made of the same; what is not believed is reported in the log."""
        reason = self.reason_to_make(part, made_of)
        if reason not in (None, 'not made yet'):
            logger.info('%s: %s is made again: %s.', self.folder, part, reason)
        return reason is None

    def files(self, part: str) -> tuple[str, ...]:
        """Name the files of a part that is done."""
        record = self._records().get(part)
        return tuple(record['files']) if record is not None and record['state'] == 'done' else ()

    def made_of(self, part: str) -> Record | None:
        """Return what a part that was made, or begun, depends on; None where nothing is known."""
        record = self._records().get(part)
        return None if record is None else {'inputs': record['inputs'], 'options': record['options']}

    def checksum(self, part: str) -> str:
        """Return one hash for the content of a finished part, as an input of what is made of it."""
        record = self._records().get(part)
        text = json.dumps({} if record is None else record['files'], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @contextmanager
    def make(self, part: str, made_of: MadeOf) -> Iterator[Path]:
        """Return an empty folder to write a part's files into, and put them in their places at the end.

        After an error nothing has changed.

        Raises:
            DiskFullError: no room.
            LinkedOutputError: a folder for the files is a link.
        """
        with writing(self.folder / part):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._clear(part)
            # A name that nobody can have laid a link under before.
            staging = Path(tempfile.mkdtemp(prefix=_staging(part), dir=self.folder))
            try:
                yield staging
                result = sorted(p for p in staging.rglob('*') if p.is_file())
                self.publish(part, made_of, {p.relative_to(staging).as_posix(): p for p in result})
            finally:
                shutil.rmtree(staging, ignore_errors=True)

    def part(self, name: str, made_of: MadeOf, wanted: bool, write: Callable[[Path], object]) -> None:
        """Have a part that is wanted made, if it is not there already; one that nobody asks for goes if it is stale.

        Args:
            name: the part.
            made_of: what it depends on.
            wanted: whether it is asked for.
            write: called with an empty folder for its files.
        """
        if not wanted:
            self.drop_stale(name, made_of.inputs)
        elif not self.holds(name, made_of):
            with self.make(name, made_of) as staging:
                write(staging)

    def publish(self, part: str, made_of: MadeOf, staged: Mapping[str, Path]) -> None:
        """Put finished files in their places and say so in the marker.

        Args:
            part: the part.
            made_of: what it depends on.
            staged: name in this folder -> the file that gets it, on the same file system.

        Raises:
            LinkedOutputError: a folder for the files is a link; nothing has changed.
        """
        for path in staged.values():
            flush_file(path)
        files = {name: _described(path) for name, path in staged.items()}
        records = self._records()
        record = records.get(part)
        before = {} if record is None else record['files']
        for name in before | files:
            real_folder(self.folder, Path(name).parent)
        # From here on neither the old files nor the new ones are believed until the last line.
        self._write({**records, part: {**made_of.record(), 'state': 'replacing', 'files': before | files}})
        self._remove(before.keys() - files.keys())
        for name, path in staged.items():
            put_file(path, self.folder, name)
        for folder in {(self.folder / name).parent for name in files} | {self.folder}:
            flush_folder(folder)
        self._write({**records, part: {**made_of.record(), 'state': 'done', 'files': files}})

    def drop(self, part: str) -> None:
        """Delete a part and its files."""
        records = self._records()
        record = records.pop(part, None)
        if record is None:
            return
        self._write({**records, part: {**record, 'state': 'dropping'}})
        self._remove(record['files'])
        self._write(records)

    def drop_stale(self, part: str, inputs: Mapping[str, object]) -> None:
        """Delete a part that nobody asks for now, if it is not of these inputs: it would lie beside other results."""
        self._clear(part)
        record = self._records().get(part)
        if record is None:
            return
        wanted = MadeOf(inputs, {}).record()['inputs']
        if record['state'] != 'done' or record['inputs'] != wanted:
            logger.info('%s: %s is of another run and is removed.', self.folder, part)
            self.drop(part)

    def _records(self) -> dict[str, _Part]:
        """Read the marker; one that is damaged says nothing, and all is made again."""
        if not self.marker.is_file():
            return {}
        try:
            result = read_json(self.marker, 'the marker of finished results', dict, _MOST_MARKER_BYTES)
            records = result['parts'] if (result['format'], result['version']) == (FORMAT, VERSION) else {}
            for record in records.values():
                for name, (size, digest) in record['files'].items():
                    inside(self.folder, name, str(self.marker))
                    _ = int(size), str(digest)
                _ = record['state'], record['inputs'].keys(), record['options'].keys()
        except (BadFileError, KeyError, TypeError, ValueError, AttributeError) as error:
            logger.warning(
                '%s: is damaged (%s); the results are made again.', self.marker, type(error).__name__
            )
            return {}
        return records

    def _write(self, records: Mapping[str, _Part]) -> None:
        document = {'format': FORMAT, 'version': VERSION, 'parts': records}
        write_text(self.marker, json.dumps(document, indent=1))

    def _damage(self, record: _Part) -> str | None:
        for name, (size, digest) in record['files'].items():
            path = self.folder / name
            if not path.is_file():
                return f'{name} is missing'
            if path.stat().st_size != size or _described(path)[1] != digest:
                return f'{name} is damaged or was changed'
        return None

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            remove_file(self.folder, name)

    def _clear(self, part: str) -> None:
        """Delete what a killed process left of a part; a link under such a name is left alone."""
        for path in self.folder.glob(f'{_staging(part)}*'):
            result = path.lstat()
            if stat.S_ISDIR(result.st_mode) and not is_link(result):
                # It does not follow links inside.
                shutil.rmtree(path, ignore_errors=True)


def _staging(part: str) -> str:
    return f'{_MAKING}{hashlib.sha256(part.encode()).hexdigest()[:12]}-'


def _described(path: Path) -> tuple[int, str]:
    """Return a file's size in bytes and its sha256."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return path.stat().st_size, digest.hexdigest()
