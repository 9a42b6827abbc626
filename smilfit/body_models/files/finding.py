"""Find the body model that a file was made with: in the file, where it was, beside the file, or among the shipped.

A model lies in a file that it belongs to where it is small and its licence lets it be passed on; see `may_be_packed`.
It is then the text of a `*.smil.json`, deflated, and read by the same reader under the same checks.
"""

import json
import logging
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from smilfit.body_models.data import BodyModelData, SparseMatrix
from smilfit.body_models.files import load_body_model_data
from smilfit.body_models.files.smil_json import smil_document
from smilfit.body_models.files.smil_json_reader import smil_json_of_text
from smilfit.body_models.shipped_models import shipped_model_file, shipped_models
from smilfit.files import BadFileError, shorten
from smilfit.registry import did_you_mean
from smilfit.structures.fit_record import ModelReference

logger = logging.getLogger('smilfit')

# A larger model is not copied into every file that was made with it.
MOST_PACKED_BYTES = 4 << 20
_MOST_TEXT_BYTES = 64 << 20
# So many numbers do not fit into that, whatever they are.
_MOST_NUMBERS = 3_000_000
# Licences under which whoever gets a file may pass it on, and 'own' for a model of one's own.
_FREE = re.compile(r'(cc0|cc[ -]by|creative commons|public domain|mit|bsd|apache|own)\b', re.IGNORECASE)

Located = TypeVar('Located')


@dataclass(frozen=True)
class LocatedModel(Generic[Located]):
    """A body model that was found.

    Args:
        body: what it was made into.
        file: its file; None where it came out of the file that names it.
        named: by what it was found.
    """

    body: Located
    file: Path | None
    named: ModelReference

    @cached_property
    def reference(self) -> ModelReference:
        """What names the model in files that are made with it in turn."""
        if self.file is None:
            return self.named
        data = _data_of(self.body)
        result = replace(self.named, content_hash=data.hash_without_landmarks(), packed=pack_model(data))
        if result.given in shipped_models() and self.file == shipped_model_file(result.given):
            return replace(result, absolute='', relative='')
        return replace(result, absolute=str(self.file))


class ModelNotFoundError(FileNotFoundError):
    """The body model that a file was made with is not to be found."""


class OtherModelError(ValueError):
    """What stands in the place of a body model is another one."""


def may_be_packed(data: BodyModelData) -> bool:
    """Check whether a model may be copied into the files that are made with it.

    Such files are handed on. A model may be if its `licence` begins with CC0, CC BY, MIT, BSD, Apache, public domain
    or own. One that states none may not: SMPL's, SMAL's and bought rigs' files state none, either.
    """
    return bool(_FREE.match((data.licence or '').strip()))


def pack_model(data: BodyModelData) -> bytes | None:
    """Pack a model for a file that is made with it; None where it may not be there, or is larger than 4 MiB.

    The same model gives the same bytes.
    """
    if not may_be_packed(data) or _count_numbers(data) > _MOST_NUMBERS:
        return None
    text = json.dumps(
        smil_document(data), allow_nan=False, ensure_ascii=False, separators=(',', ':')
    ).encode()
    packed = zlib.compress(text, 9) if len(text) <= _MOST_TEXT_BYTES else b''
    return packed if 0 < len(packed) <= MOST_PACKED_BYTES else None


def unpack_model(packed: bytes, where: str | Path) -> BodyModelData:
    """Read what `pack_model` gave, as a file of it is read.

    Raises:
        BadFileError: no such bytes, or a model that breaks a rule.
    """
    what = f'{where}: the body model in it must'
    if len(packed) > MOST_PACKED_BYTES:
        raise BadFileError(
            f'{what} have at most {MOST_PACKED_BYTES} bytes; got {len(packed)}. Give --body-model.'
        )
    reader = zlib.decompressobj()
    try:
        text = reader.decompress(packed, _MOST_TEXT_BYTES).decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise BadFileError(f'{what} be whole; got {shorten(error)}. Give --body-model FILE.') from error
    if not reader.eof:
        raise BadFileError(
            f'{what} be whole and no longer than {_MOST_TEXT_BYTES} bytes. Give --body-model FILE.'
        )
    return smil_json_of_text(text, Path(where))


def reference_to(data: BodyModelData, given: str | Path, folder: str | Path | None = None) -> ModelReference:
    """Name a model for a file that is made with it.

    Args:
        data: the model.
        given: its path, or a shipped model's name.
        folder: of the file that is made.
    """
    content_hash = data.hash_without_landmarks()
    path = Path(given).expanduser()
    absolute = str(path.resolve()) if str(given) and _is_file(path) else ''
    result = ModelReference(str(given), content_hash, absolute, packed=pack_model(data))
    return result if folder is None else result.relative_to_folder(folder)


def load_model(source: Path | BodyModelData) -> BodyModelData:
    """Read a model's file; a model that was read stays what it is."""
    return source if isinstance(source, BodyModelData) else load_body_model_data(source)


def find_model(
    reference: ModelReference,
    where: str | Path,
    # mypy knows no default of a type variable.
    make: Callable[[Path | BodyModelData], Located] = load_model,  # type: ignore[assignment]
    folder: str | Path | None = None,
) -> LocatedModel[Located]:
    """Find the body model that a file was made with.

    Looked at are the model in the file itself, the place where it was, the same place seen from the file's folder,
    its path as it was given, and the shipped models. The first whose content has the stated hash is taken.

    Args:
        reference: what the file says of it.
        where: the file, for messages.
        make: makes a body, or its data, of the model's file or content.
        folder: the file's, if it is one.

    Raises:
        ModelNotFoundError: it is nowhere.
        OtherModelError: where it was there is another one; names both hashes and all places.
        ValueError, KeyError, TypeError: the only file that is there cannot be read.
    """
    looked: list[str] = []
    others, broken = False, None
    places: list[Path | None] = [None] if reference.packed is not None else []
    for place in [*places, *_files(reference, folder)]:
        named = 'in the file itself' if place is None else str(place)
        if place is not None and not _is_file(place):
            looked.append(f'{named} (not there)')
            continue
        try:
            body = make(unpack_model(reference.packed or b'', where) if place is None else place)
        except (OSError, ValueError, KeyError, TypeError) as error:
            if reference.content_hash is None:
                # Nothing else could judge what stands elsewhere.
                raise
            broken = broken or error
            looked.append(f'{named} (cannot be read)')
            continue
        if _is_wanted(body, reference):
            return LocatedModel(body, place, reference)
        others = True
        looked.append(f'{named} (hash {_hash_of(body)})')
    if broken is not None and not others:
        raise broken
    raise _not_found(reference, where, looked, others)


def _not_found(reference: ModelReference, where: str | Path, looked: list[str], others: bool) -> Exception:
    named, places = shorten(reference.given, 400), ', '.join(shorten(place, 400) for place in looked)
    if others:
        return OtherModelError(
            f'{where}: the body model must be the one that it was made with (hash '
            f'{reference.content_hash}); got another one. Looked at: {places}. Give the right one by --body-model '
            'FILE.'
        )
    if not reference.given:
        return ModelNotFoundError(f'{where}: names no body model. Give --body-model FILE.')
    near = did_you_mean(Path(reference.given).name, shipped_models()) if '/' not in reference.given else ''
    return ModelNotFoundError(
        f'{where}: the body model {named} must be there; it is not. Looked at: {places}. '
        f'Give it by --body-model FILE. {near}'.rstrip()
    )


def _files(reference: ModelReference, folder: str | Path | None) -> list[Path]:
    files = list(reference.places(folder))
    if reference.given in shipped_models():
        files.append(shipped_model_file(reference.given))
    return list(dict.fromkeys(files))


def _data_of(body: Any) -> BodyModelData:
    return body if isinstance(body, BodyModelData) else body.data


def _hash_of(body: Any) -> str:
    return _data_of(body).hash_without_landmarks()


def _is_wanted(body: Any, reference: ModelReference) -> bool:
    return reference.content_hash is None or _hash_of(body) == reference.content_hash


def _is_file(place: Path) -> bool:
    try:
        return place.is_file()
    except (OSError, ValueError):
        # Too long for a path, or with a byte that none has.
        return False


def _count_numbers(data: BodyModelData) -> int:
    values = [getattr(data, f.name) for f in fields(data)]
    arrays = [v for v in values if isinstance(v, np.ndarray)]
    return sum(a.size for a in arrays) + sum(v.values.size for v in values if isinstance(v, SparseMatrix))
