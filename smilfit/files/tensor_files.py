"""Read what torch.save wrote: no code, no more memory than the file has bytes, nothing that is damaged.

torch itself checks neither checksums nor, in its older versions, that a tensor's declared size is that of its data.
"""

import errno
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from smilfit.files.budget import check_budget
from smilfit.files.errors import BadFileError, shorten
from smilfit.files.reading import reading

_ZIP_STARTS = b'PK\x03\x04'
# What python makes of a pickle's bytes is some sixty times as large.
_MOST_PICKLE_BYTES = 1 << 30
_ADVICE = 'It is cut short, damaged or of another kind; nothing of it was run. Take another one.'
_GLOBAL = re.compile(r'GLOBAL ([\w.]{1,80})')


def read_tensor_file(path: str | Path, what: str = 'a checkpoint', map_location: Any = 'cpu') -> Any:
    """Read a file of tensors, numbers, texts, lists and dicts (`weights_only=True`, no extra safe globals).

    Args:
        path: the file.
        what: what it is, for messages.
        map_location: as torch.load takes it.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: cut short, a wrong checksum, tensors larger than their data, a file that wants to run code.
    """
    path = Path(path)
    with reading(path, what, _ADVICE):
        size = path.stat().st_size
        with path.open('rb') as file:
            zipped = file.read(4) == _ZIP_STARTS
        if size == 0:
            raise BadFileError(f'{path}: {what} must hold tensors; the file is empty. {_ADVICE}')
        if zipped:
            _check_archive(path, what, size)
        # Mapped, a tensor cannot reach beyond the file, and what it claims beyond its end is an error.
        try:
            loaded = torch.load(path, map_location='cpu', weights_only=True, mmap=zipped)
        except pickle.UnpicklingError as error:
            found = _GLOBAL.search(str(error))
            rule = 'must be whole and well-formed; torch cannot read it'
            if found is not None:
                rule = f'must hold tensors, numbers and texts only; got {found[1]}, which could run code'
            raise BadFileError(f'{path}: {what} {rule}. {_ADVICE}') from error
        return _Owned(path, what, size, map_location).copy(loaded)


def check_weight_names(path: str | Path, what: str, weights: Any) -> None:
    """Check that weights are a dict of tensors by name.

    Raises:
        BadFileError: they are something else.
    """
    if not isinstance(weights, Mapping):
        raise BadFileError(
            f'{path}: the weights of {what} must be a dict of tensors by name; got {shorten(weights)}. Is it the '
            'right file?'
        )
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise BadFileError(
                f'{path}: the weights of {what} must be tensors by name; {shorten(name)} is {shorten(value)}. Is it '
                'the right file?'
            )


def _check_archive(path: Path, what: str, size: int) -> None:
    """Hold the sizes of an archive's members against the file's own, and every byte against its checksum."""
    with zipfile.ZipFile(path) as archive:
        total = 0
        for info in archive.infolist():
            total += info.file_size
            if info.compress_type != zipfile.ZIP_STORED:
                raise BadFileError(
                    f'{path}: {what} must be stored unpacked, as torch.save does; {shorten(info.filename)} is '
                    'packed. Save it again by torch.save.'
                )
            if info.filename.endswith('.pkl'):
                check_budget(path, shorten(info.filename), info.file_size, _MOST_PICKLE_BYTES)
        check_budget(path, 'the sum of its members', total, size)
        try:
            damaged = archive.testzip()
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # A place before the file's beginning.
            raise BadFileError(
                f'{path}: {what} must be whole; its table of members is not. {_ADVICE}'
            ) from error
    if damaged is not None:
        raise BadFileError(
            f'{path}: {what} must be whole; the checksum of {shorten(damaged)} is wrong. Copy the file again, or '
            'take another one.'
        )


class _Owned:
    """Copies what was mapped into memory of its own, and refuses what claims to be larger than the file.

    Args:
        path: the file.
        what: what it is, for messages.
        size: the file's size, bytes. Each thing in it takes a byte at least, so it bounds their number too.
        device: where tensors go.
    """

    def __init__(self, path: Path, what: str, size: int, device: Any) -> None:
        self.path, self.what, self.size, self.device = path, what, size, device
        self._count = 0
        self._tensors: dict[int, torch.Tensor] = {}

    def copy(self, value: Any) -> Any:
        """Copy tensors, and containers as they are.

        Raises:
            BadFileError: more entries or larger tensors than the file can hold, or tensors of another layout.
        """
        self._count += 1
        # A few bytes can name one list again and again, inside itself too.
        check_budget(self.path, 'its entries', self._count, self.size, 'in number')
        if isinstance(value, torch.Tensor):
            if id(value) not in self._tensors:
                self._tensors[id(value)] = self._tensor(value)
            return self._tensors[id(value)]
        if isinstance(value, Mapping):
            return {key: self.copy(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.copy(item) for item in value]
        if type(value) is tuple:
            return tuple(self.copy(item) for item in value)
        return value

    def _tensor(self, value: torch.Tensor) -> torch.Tensor:
        if value.layout is not torch.strided or value.is_quantized or value.is_meta:
            raise BadFileError(
                f'{self.path}: {self.what} must hold dense tensors; got one that is sparse, quantized or empty of '
                'data. Save it as a dense one.'
            )
        held = value.untyped_storage().nbytes()
        check_budget(self.path, 'a tensor', value.numel() * value.element_size(), max(held, 0))
        value = value.detach()
        return value.to(self.device, copy=True) if self.device is not None else value.clone()
