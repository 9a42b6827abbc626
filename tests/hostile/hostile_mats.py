"""MATLAB's files, of versions 5 and 7.3, that lie about sizes, nest without end or unpack to gigabytes."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.hostile.small_annotations import write_images

# Of TigDog's reader, which is that of the zebras, a part is made.
_BOTH = ('structs_endless', 'bomb', 'wrong_class')


def element(kind: int, data: bytes) -> bytes:
    """Write an element of a type."""
    return struct.pack('<II', kind, len(data)) + data + b'\0' * (-len(data) % 8)


def array(form: int, shape: tuple[int, ...], *parts: bytes, name: bytes = b'annotation') -> bytes:
    """Write an array of a class."""
    head = element(6, struct.pack('<II', form, 0)) + element(5, struct.pack(f'<{len(shape)}i', *shape))
    return element(14, head + element(1, name) + b''.join(parts))


def mat5(*elements: bytes) -> bytes:
    """Put elements into a file of version 5."""
    return b'MATLAB 5.0'.ljust(124) + struct.pack('<H', 0x0100) + b'IM' + b''.join(elements)


def packed(data: bytes) -> bytes:
    """Pack elements."""
    packed = zlib.compress(data, 9)
    return struct.pack('<II', 15, len(packed)) + packed


def hostile_mats(folder: Path) -> Iterator[tuple[str, Any]]:
    """Make folders of zebras and of TigDog's."""
    from tests.hostile.hostile_annotations import Hostile

    deep = array(6, (1, 1), element(9, b'\0' * 8))
    for _ in range(200):
        deep = array(1, (1, 1), deep)
    no_fields = element(5, struct.pack('<i', 8)) + element(1, b'')
    files = {
        'structs_endless': mat5(array(2, (2_000_000_000, 1), no_fields)),
        'cells_endless': mat5(array(1, (2_000_000_000, 1))),
        'deep': mat5(deep),
        'bomb': mat5(packed(element(14, b'\0' * 30_000_000))),
        'packed_damaged': mat5(struct.pack('<II', 15, 20) + b'\xff' * 20),
        'element_long': mat5(struct.pack('<II', 14, 1 << 31) + b'\0' * 64),
        'cut': mat5(array(6, (1, 1), element(9, b'\0' * 8)))[:150],
        'empty': b'',
        'wrong_class': mat5(array(4, (1, 2), element(4, b'ab'))),
    }
    for form in ('grevyzebra', 'tigdog'):
        for what, data in files.items():
            if form == 'tigdog' and what not in _BOTH:
                continue
            place = folder / 'inside' / f'{form}_{what}'
            write_images(place)
            if form == 'grevyzebra':
                (place / 'a_ferrari-tail-face.mat').write_bytes(data)
                yield f'{form}_{what}', Hostile(form, place, 0)
                continue
            (place / 'ranges' / 'horse').mkdir(parents=True)
            (place / 'ranges' / 'horse' / 'ranges.mat').write_bytes(data)
            yield f'{form}_{what}', Hostile(form, place, None)
    for what in ('references', 'loop', 'endless', 'linked'):
        path = folder / 'inside' / f'grevyzebra73_{what}' / 'a_ferrari-tail-face.mat'
        path.parent.mkdir(parents=True)
        _write_mat73(path, what, folder)
        yield f'grevyzebra73_{what}', Hostile('grevyzebra', path.parent, 0)


def _write_mat73(path: Path, what: str, folder: Path) -> None:
    with h5py.File(path, 'w', userblock_size=512) as file:
        heap = file.create_group('#refs#')
        last = heap.create_dataset('r0', data=np.zeros((1, 1)))
        if what == 'references':
            # Every cell names the one below twice: 2^19 of them by the depth that is allowed.
            for i in range(1, 20):
                last = heap.create_dataset(
                    f'r{i}', data=np.array([[last.ref, last.ref]], dtype=h5py.ref_dtype)
                )
            many = np.array([[last.ref] * 8], dtype=h5py.ref_dtype)
            file.create_dataset('annotation', data=many)
        elif what == 'loop':
            table = file.create_dataset('annotation', (1, 1), h5py.ref_dtype)
            table[0, 0] = table.ref
        elif what == 'endless':
            file.create_dataset('annotation', (10**6, 10**6), 'f8', chunks=(100, 100), compression='gzip')
        else:
            file['annotation'] = h5py.ExternalLink(f'{folder}/outside/x.h5', 'a')
