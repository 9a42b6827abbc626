"""A glTF file: its document and buffers, and its accessors as arrays: plain, interleaved, sparse, shares of one."""

import base64
import binascii
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from smilfit.files import BadFileError, accounted, charge, check_budget, reading, shorten
from smilfit.files.budget import MOST_ARRAY_BYTES
from smilfit.files.text_files import charge_json

_MAGIC, _JSON, _BIN = b'glTF', 0x4E4F534A, 0x004E4942
_MOST_DOCUMENT_BYTES = 1 << 27
# Nodes, accessors, joints ...: no list of a rig is longer.
_MOST_ENTRIES = 1 << 18
_WHAT = 'a glTF file'
_COMPRESSED = {
    'KHR_draco_mesh_compression': 'Draco mesh compression',
    'EXT_meshopt_compression': 'meshopt compression',
    'KHR_meshopt_compression': 'meshopt compression',
}
# What git puts in the place of a large file until it is fetched.
_POINTER = b'version https://git-lfs'
_POINTED = 'It is a pointer of Git LFS: run `git lfs pull` in its repository, or download the file itself.'
# What changes nothing that is read here, or is understood.
_UNDERSTOOD = (
    'KHR_mesh_quantization', 'KHR_texture_transform', 'KHR_texture_basisu', 'EXT_texture_webp', 'KHR_lights_punctual',
    'KHR_xmp_json_ld', 'KHR_materials_', 'KHR_animation_pointer', 'VRM', 'VRMC_', 'MSFT_', 'EXT_materials_',
)  # fmt: skip
_KINDS = {5120: 'i1', 5121: 'u1', 5122: 'i2', 5123: 'u2', 5125: 'u4', 5126: 'f4'}
_WIDTHS = {'SCALAR': 1, 'VEC2': 2, 'VEC3': 3, 'VEC4': 4, 'MAT2': 4, 'MAT3': 9, 'MAT4': 16}


# An object of a document, whose values nobody has checked yet.
Entry = Mapping[str, object]


@dataclass
class GltfFile:
    """A document whose lists are lists of objects, and a way to its buffers."""

    path: Path
    document: Entry
    binary: bytes | None = None
    _buffers: dict[int, bytes] = field(default_factory=dict)
    _entries: dict[str, list[Entry]] = field(default_factory=dict)

    def fail(self, rule: str, got: object, advice: str = 'Export the file anew.') -> BadFileError:
        """Make the error for a broken rule."""
        return BadFileError(f'{self.path}: {rule}; got {shorten(got)}. {advice}')

    def entries(self, name: str) -> list[Entry]:
        """Return one of the document's lists; empty where it has none."""
        if name not in self._entries:
            self._entries[name] = self.objects(self.document, name, 'the document')
        return self._entries[name]

    def objects(self, parent: Entry, name: str, where: str) -> list[Entry]:
        """Return a list of objects that an object holds."""
        result = parent.get(name, [])
        if not isinstance(result, list) or not all(isinstance(entry, dict) for entry in result):
            raise self.fail(f'{name} of {where} must be a list of objects', result)
        check_budget(self.path, f'the number of {name}', len(result), _MOST_ENTRIES, 'entries')
        return result

    def entry(self, name: str, index: object, where: str) -> Entry:
        """Return one entry of a list by its number, which some other entry names."""
        return self.entries(name)[self.index(name, index, where)]

    def index(self, name: str, index: object, where: str) -> int:
        """Check a number that names an entry of a list."""
        count = len(self.entries(name))
        if type(index) is not int or not 0 <= index < count:
            raise self.fail(f'{where} must name one of {count} {name}', index)
        return index

    def number(self, entry: Entry, name: str, default: int | None, where: str) -> int:
        """Return a whole number, 0 or more, of an entry."""
        result = entry.get(name, default)
        if type(result) is not int or not 0 <= result < 1 << 53:
            raise self.fail(f'{name} of {where} must be a whole number from 0 on', result)
        return result

    def view(self, index: object, where: str) -> tuple[memoryview, int | None]:
        """Return the bytes of a buffer view, and how far apart its elements lie (None: one behind the other)."""
        number = self.index('bufferViews', index, where)
        view, what = self.entries('bufferViews')[number], f'bufferViews[{number}]'
        extensions = view.get('extensions')
        for extension in extensions if isinstance(extensions, dict) else ():
            self.check_not_packed(extension)
        data = self._buffer(self.index('buffers', view.get('buffer'), f'{what}.buffer'))
        start = self.number(view, 'byteOffset', 0, what)
        length = self.number(view, 'byteLength', None, what)
        if start + length > len(data):
            rule = f'{what} must lie inside its buffer of {len(data)} bytes'
            raise self.fail(
                rule, f'bytes {start} to {start + length}', 'Was the file cut short? Export it anew.'
            )
        stride = self.number(view, 'byteStride', 0, what) or None
        return memoryview(data)[start : start + length], stride

    def resource(self, uri: object, what: str) -> bytes:
        """Read a `data:` text or a file beside this one.

        Raises:
            BadFileError: a path out of the folder, another kind of address, or more than a buffer may take.
        """
        if not isinstance(uri, str):
            raise self.fail(f'uri of {what} must be text', uri)
        if uri[:5].lower() == 'data:':
            head, comma, text = uri.partition(',')
            if not comma or not head.lower().endswith(';base64'):
                raise self.fail(f'uri of {what} must be base64 data', head)
            charge(what, n_bytes=len(text))
            try:
                return base64.b64decode(text, validate=True)
            except binascii.Error as error:
                raise self.fail(f'uri of {what} must be base64 data', error) from error
        name = unquote(uri)
        folder = self.path.resolve().parent
        if '://' in name or '\0' in name:
            raise self.fail(
                f'{what} must lie beside the file', name, 'Nothing was fetched. Export as one .glb.'
            )
        place = (folder / name.replace('\\', '/')).resolve()
        if not place.is_relative_to(folder):
            advice = 'Nothing was read. Put it beside the file, or export as one .glb.'
            raise self.fail(f'{what} must lie in the folder of the file', name, advice)
        if not place.is_file():
            raise self.fail(f'{what} must be there', name, 'Copy it beside the file, or export as one .glb.')
        size = place.stat().st_size
        check_budget(place, what, size, MOST_ARRAY_BYTES)
        with accounted(place, what):
            charge(f'{what}, {shorten(name, 80)}', n_bytes=size)
        return place.read_bytes()

    def check_extensions(self) -> list[str]:
        """Refuse what the file needs and nobody here understands; give the names of what is left out.

        Raises:
            BadFileError: compressed meshes, or an extension without which the file cannot be read.
        """
        required = self._names('extensionsRequired')
        for name in required:
            self.check_not_packed(name)
            if not name.startswith(_UNDERSTOOD):
                advice = 'Export without it.'
                raise self.fail('extensionsRequired must name extensions that smilfit reads', name, advice)
        known = (*_UNDERSTOOD, *_COMPRESSED)
        return sorted(n for n in self._names('extensionsUsed') if not n.startswith(known))

    def check_not_packed(self, name: str) -> None:
        """Refuse an extension that packs meshes, in words."""
        if name not in _COMPRESSED:
            return
        advice = (
            "Export again without compression (Blender: export options, untick 'Compression'), or run "
            '`npx @gltf-transform/cli copy IN.glb OUT.glb`, which unpacks it.'
        )
        raise self.fail(f'meshes must not be packed by {_COMPRESSED[name]}', f'the extension {name}', advice)

    def _names(self, key: str) -> list[str]:
        result = self.document.get(key, [])
        if not isinstance(result, list) or not all(isinstance(name, str) for name in result):
            raise self.fail(f'{key} must be a list of names', result)
        return result

    def _buffer(self, index: int) -> bytes:
        if index not in self._buffers:
            entry, what = self.entries('buffers')[index], f'buffers[{index}]'
            length = self.number(entry, 'byteLength', None, what)
            check_budget(self.path, what, length, MOST_ARRAY_BYTES)
            if 'uri' in entry:
                data = self.resource(entry['uri'], what)
            elif index == 0 and self.binary is not None:
                data = self.binary
            else:
                raise self.fail(f'{what} must hold data', 'none', 'Was the file cut short? Copy it again.')
            if len(data) < length:
                advice = _POINTED if data.startswith(_POINTER) else 'Was the file cut short? Copy it again.'
                raise self.fail(f'{what} must hold {length} bytes', len(data), advice)
            self._buffers[index] = data
        return self._buffers[index]


def open_gltf(path: str | Path) -> GltfFile:
    """Open a `.glb` or `.gltf` file; accessors are read later.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no glTF 2.0, cut short, packed, or one that asks for what must not be given.
    """
    path = Path(path)
    with reading(path, _WHAT), accounted(path, _WHAT):
        size = path.stat().st_size
        check_budget(path, _WHAT, size, MOST_ARRAY_BYTES)
        charge('the file', n_bytes=2 * size)
        data = path.read_bytes()
        text, binary = _chunks(data, path) if data[:4] == _MAGIC else (data, None)
        check_budget(path, 'the JSON of ' + _WHAT, len(text), _MOST_DOCUMENT_BYTES)
        charge_json(text)
        try:
            document = json.loads(text.decode('utf-8-sig'))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            advice = _POINTED if data.startswith(_POINTER) else 'Is it the right file, and whole?'
            raise BadFileError(
                f'{path}: {_WHAT} must be a glTF binary or JSON; got neither ({shorten(error)}). {advice}'
            ) from error
        if not isinstance(document, dict):
            raise BadFileError(
                f'{path}: {_WHAT} must hold a JSON object; got {shorten(document)}. Is it glTF?'
            )
        result = GltfFile(path, document, binary)
        asset = document.get('asset')
        version = asset.get('version') if isinstance(asset, dict) else None
        if not isinstance(version, str) or not version.startswith('2.'):
            raise result.fail('asset.version must be 2.0', version, 'Export as glTF 2.0.')
        return result


def _chunks(data: bytes, path: Path) -> tuple[bytes, bytes | None]:
    """Take a binary glTF apart: its JSON, and its buffer where it has one."""
    if len(data) < 20:
        raise BadFileError(f'{path}: a .glb must have a header of 20 bytes; got {len(data)}. Copy it again.')
    version, total = struct.unpack_from('<II', data, 4)
    if version != 2:
        raise BadFileError(f'{path}: a .glb must be of version 2; got {version}. Export as glTF 2.0.')
    if total > len(data):
        raise BadFileError(
            f'{path}: a .glb must have the {total} bytes that it states; got {len(data)}. It was cut short: copy it '
            'again.'
        )
    result: dict[int, bytes] = {}
    place = 12
    while place + 8 <= total:
        length, kind = struct.unpack_from('<II', data, place)
        if place + 8 + length > total:
            raise BadFileError(
                f'{path}: a chunk of a .glb must lie inside the file; got {length} bytes at {place}. Copy it again.'
            )
        result.setdefault(kind, data[place + 8 : place + 8 + length])
        place += 8 + length
    if _JSON not in result:
        raise BadFileError(f'{path}: a .glb must hold JSON; got none. Export the file anew.')
    return result[_JSON], result.get(_BIN)


class AccessorReader:
    """Reads a file's accessors as arrays (count, width), float64 or int64."""

    def __init__(self, file: GltfFile) -> None:
        self.file = file

    def floats(self, index: object, types: str | tuple[str, ...], where: str) -> np.ndarray:
        """Read numbers; whole ones that are marked as normalised become shares in [-1, 1] or [0, 1].

        Raises:
            BadFileError: another type, or numbers that are not finite.
        """
        values, entry = self._read(index, types, where)
        return self._finite(values, entry.get('normalized') is True, where)

    def shares(self, index: object, types: str | tuple[str, ...], where: str) -> np.ndarray:
        """Read shares of one: whole numbers stand for them whether they are marked or not."""
        values, _ = self._read(index, types, where)
        return self._finite(values, True, where)

    def whole(self, index: object, types: str | tuple[str, ...], where: str, below: int) -> np.ndarray:
        """Read indices.

        Raises:
            BadFileError: another type, or an index that is not below the limit.
        """
        values, _ = self._read(index, types, where)
        if values.dtype.kind == 'f':
            raise self.file.fail(f'{where} must be whole numbers', 'floats')
        result = values.astype(np.int64)
        if result.size and (result.min() < 0 or result.max() >= below):
            got = f'{result.min()} to {result.max()}'
            raise self.file.fail(f'{where} must be numbers below {below}', got)
        return result

    def count(self, index: object, where: str) -> int:
        """Return how many elements an accessor has, without reading it."""
        number = self.file.index('accessors', index, where)
        entry = self.file.entries('accessors')[number]
        return self.file.number(entry, 'count', None, f'accessors[{number}]')

    def check_stored(self, primitive: Entry, index: object) -> None:
        """Refuse a primitive whose data lie in a packed form alone."""
        extensions = primitive.get('extensions')
        accessor = self.file.entry('accessors', index, 'POSITION')
        if isinstance(extensions, dict) and 'bufferView' not in accessor:
            for name in extensions:
                self.file.check_not_packed(name)

    def _finite(self, values: np.ndarray, shares: bool, where: str) -> np.ndarray:
        kind, result = values.dtype, values.astype(np.float64)
        if kind.kind in 'iu' and shares:
            result = np.maximum(result / np.iinfo(kind).max, -1.0)
        if not np.isfinite(result).all():
            count = int((~np.isfinite(result)).sum())
            raise self.file.fail(
                f'{where} must be finite', f'{count} NaN or inf', 'Mend the mesh and export anew.'
            )
        return result

    def _read(self, index: object, types: str | tuple[str, ...], where: str) -> tuple[np.ndarray, Entry]:
        number = self.file.index('accessors', index, where)
        entry, what = self.file.entries('accessors')[number], f'accessors[{number}]'
        types = (types,) if isinstance(types, str) else types
        stated = entry.get('type')
        if not isinstance(stated, str) or stated not in types:
            raise self.file.fail(f'{where} must be {" or ".join(types)}', stated)
        kind, width = self._kind(entry, what), _WIDTHS[stated]
        count = self.file.number(entry, 'count', None, what)
        wanted = count * width * 8
        check_budget(self.file.path, what, wanted, MOST_ARRAY_BYTES)
        # Of one file in all: an accessor may be named by many, and each reading takes its room.
        charge(where, n_bytes=wanted)
        if 'bufferView' in entry:
            start = self.file.number(entry, 'byteOffset', 0, what)
            values = self._elements(entry['bufferView'], start, kind, count, width, what)
        else:
            values = np.zeros((count, width), kind)
        if 'sparse' in entry:
            values = self._with_sparse(values, entry['sparse'], kind, what)
        return values, entry

    def _kind(self, entry: Entry, what: str) -> np.dtype:
        code = entry.get('componentType')
        if type(code) is not int or code not in _KINDS:
            raise self.file.fail(f'componentType of {what} must be one of {list(_KINDS)}', code)
        return np.dtype(_KINDS[code]).newbyteorder('<')

    def _elements(
        self, view: object, start: int, kind: np.dtype, count: int, width: int, what: str
    ) -> np.ndarray:
        data, stride = self.file.view(view, f'{what}.bufferView')
        size = width * kind.itemsize
        stride = stride or size
        if count and (stride < size or start + (count - 1) * stride + size > len(data)):
            rule = f'{what} must lie inside its buffer view of {len(data)} bytes'
            got = f'{count} elements of {size} bytes, {stride} apart, from {start} on'
            raise self.file.fail(rule, got, 'Was the file cut short? Export it anew.')
        raw = np.frombuffer(data, np.uint8)
        if not count:
            return np.zeros((0, width), kind)
        rows = np.lib.stride_tricks.as_strided(raw[start:], (count, size), (stride, 1), writeable=False)
        return np.ascontiguousarray(rows).view(kind).reshape(count, width).astype(kind.newbyteorder('='))

    def _with_sparse(self, values: np.ndarray, sparse: object, kind: np.dtype, what: str) -> np.ndarray:
        if not isinstance(sparse, dict) or not all(
            isinstance(sparse.get(k), dict) for k in ('indices', 'values')
        ):
            raise self.file.fail(f'sparse of {what} must hold indices and values', sparse)
        count, width = self.file.number(sparse, 'count', None, f'{what}.sparse'), values.shape[1]
        check_budget(self.file.path, f'{what}.sparse', count, len(values), 'elements')
        numbers, new = sparse['indices'], sparse['values']
        start = self.file.number(numbers, 'byteOffset', 0, f'{what}.sparse.indices')
        index_kind = self._kind(numbers, f'{what}.sparse.indices')
        if index_kind.kind != 'u':
            rule = (
                f'componentType of {what}.sparse.indices must be 5121, 5123 or 5125 (whole numbers from 0 on)'
            )
            raise self.file.fail(rule, numbers.get('componentType'))
        rows = self._elements(
            numbers.get('bufferView'), start, index_kind, count, 1, f'{what}.sparse.indices'
        )
        rows = rows[:, 0].astype(np.int64)
        if count and (rows.min() < 0 or rows.max() >= len(values)):
            raise self.file.fail(f'{what}.sparse.indices must be below {len(values)}', int(rows.max()))
        start = self.file.number(new, 'byteOffset', 0, f'{what}.sparse.values')
        values = values.copy()
        values[rows] = self._elements(
            new.get('bufferView'), start, kind, count, width, f'{what}.sparse.values'
        )
        return values
