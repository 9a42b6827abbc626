"""Tables, labels and settings of a few kilobytes that would fill the memory or never end."""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from tests.hostile.bombs import Bomb
from tests.hostile.hostile_mats import array, element, mat5, packed

_EMPTY = struct.pack('<II', 14, 0)


def _fields(names: list[bytes]) -> bytes:
    return element(5, struct.pack('<i', 8)) + element(1, b''.join(n.ljust(8, b'\0') for n in names))


def _dimensions(count: int) -> bytes:
    head = element(6, struct.pack('<II', 6, 0)) + element(5, struct.pack('<i', 2**31 - 1) * count)
    return mat5(element(14, head + element(1, b'pred') + element(9, bytes(8))))


def _doubled(times: int) -> bytes:
    made = _EMPTY
    for _ in range(times):
        made = array(1, (2, 1), made, made)
    return mat5(packed(made))


MATS: dict[str, Callable[[], bytes]] = {
    'a struct array of 300,000': lambda: mat5(
        packed(array(2, (300_000, 1), _fields([b'a']), _EMPTY * 300_000))
    ),
    '30,000,000 structs without fields': lambda: mat5(
        packed(array(2, (30_000_000, 1), _fields([]), bytes(30_000_000)))
    ),
    '300,000 dimensions of 2**31 - 1': lambda: _dimensions(300_000),
    'a cell of 2e7 empties': lambda: mat5(packed(array(1, (20_000_000, 1), _EMPTY * 20_000_000))),
    'a cell of 250,000 empties': lambda: mat5(packed(array(1, (250_000, 1), _EMPTY * 250_000))),
    '100,000 variables': lambda: mat5(*[array(6, (1, 1), element(9, bytes(8)))] * 100_000),
    '100 packed parts of 10 MB': lambda: mat5(*[packed(bytes(10_000_000))] * 100),
    '400,000,000 truth values': lambda: mat5(
        packed(array(9, (400_000_000, 1), element(2, bytes(400_000_000))))
    ),
    'a text of 400 MB': lambda: mat5(packed(array(4, (400_000_000, 1), element(16, bytes(400_000_000))))),
    '5,000,000 names of fields': lambda: mat5(packed(array(2, (1, 1), _fields([b'a'] * 5_000_000)))),
    'cells in cells, doubled 18 times': lambda: _doubled(18),
}


def filled(place: h5py.Group, name: str, shape: tuple[int, ...], kind: str, rows: int) -> h5py.Dataset:
    """Make a table of zeros in packed pieces of so many rows, without having them."""
    table = place.create_dataset(name, shape, kind, chunks=(rows, *shape[1:]), compression='gzip')
    data = zlib.compress(bytes(rows * int(np.prod(shape[1:], dtype=int)) * table.dtype.itemsize), 9)
    for row in range(0, shape[0], rows):
        table.id.write_direct_chunk((row, *[0] * (len(shape) - 1)), data)
    return table


def _references(file: h5py.File) -> None:
    table = filled(file.create_group('#refs#'), 't', (60_000_000, 1), 'f8', 6_000_000)
    file.create_dataset('pred', data=np.array([[table.ref] * 4000], dtype=h5py.ref_dtype))


def _characters(file: h5py.File) -> None:
    filled(file, 'pred', (100_000_000, 1), 'u2', 10_000_000).attrs['MATLAB_class'] = np.bytes_('char')


def _many_references(file: h5py.File) -> None:
    table = file.create_dataset(
        'pred', (100_000_000, 1), h5py.ref_dtype, chunks=(10_000_000, 1), compression='gzip'
    )
    for row in range(0, 100_000_000, 10_000_000):
        table.id.write_direct_chunk((row, 0), zlib.compress(bytes(80_000_000), 9))


def _row_labels(file: h5py.File, count: int = 100_000_000) -> None:
    group = file.create_group('df_with_missing')
    group.attrs['pandas_type'] = np.bytes_('frame')
    group.attrs['nblocks'] = 1
    filled(group, 'block0_values', (count, 1), 'f4', 10_000_000)
    for key, length in (('block0_items', 1), ('axis1', count)):
        group.attrs[f'{key}_variety'] = np.bytes_('multi')
        group.attrs[f'{key}_nlevels'] = 1
        group.create_dataset(f'{key}_level0', data=np.array([b'a']))
        filled(group, f'{key}_label0', (length, 1), 'i1', min(length, 10_000_000))


def _frames_of_points(file: h5py.File) -> None:
    filled(file, 'tracks', (20_000_000, 1, 4, 3), 'f8', 100_000)


def _slp(frames: int = 0, instances: int = 0, texts: int = 0) -> Callable[[h5py.File], None]:
    def write(file: h5py.File) -> None:
        kinds = {
            'frames': [('frame_id', 'u8'), ('video', 'u4'), ('frame_idx', 'u8')]
            + [(f'instance_id_{end}', 'u8') for end in ('start', 'end')],
            'instances': [
                ('instance_id', 'i8'),
                ('instance_type', 'u1'),
                ('frame_id', 'u8'),
                ('skeleton', 'u4'),
            ]
            + [('track', 'i4'), ('from_predicted', 'i8'), ('score', 'f4'), ('point_id_start', 'u8')]
            + [('point_id_end', 'u8'), ('tracking_score', 'f4')],
        }
        for name, count in (('frames', frames), ('instances', instances)):
            table = file.create_dataset(
                name, (count,), np.dtype(kinds[name]), chunks=(100_000,) if count else None, compression='gzip'
                if count else None, maxshape=(None,) if count else None,
            )  # fmt: skip
            for row in range(0, count, 100_000):
                table.id.write_direct_chunk((row,), zlib.compress(bytes(100_000 * table.dtype.itemsize), 9))
        point = np.dtype([('x', 'f8'), ('y', 'f8'), ('visible', '?'), ('complete', '?')])
        file.create_dataset('points', (0,), point)
        file.create_dataset('pred_points', (0,), np.dtype([*point.descr, ('score', 'f8')]))
        skeleton = {
            'nodes': [{'id': 0}],
            'links': [],
            'graph': {'name': 's'},
            'directed': True,
            'multigraph': True,
        }
        about = {'version': '2.0.0', 'skeletons': [skeleton], 'nodes': [{'name': 'n', 'weight': 1.0}]}
        metadata = file.create_group('metadata')
        metadata.attrs['json'] = np.bytes_(
            json.dumps(about | {'videos': [], 'tracks': [], 'suggestions': []})
        )
        metadata.attrs['format_id'] = 1.2
        video = json.dumps({'filename': 'a.mp4', 'backend': {'filename': 'a.mp4', 'shape': [1, 9, 9, 1]}})
        file.create_dataset('videos_json', data=np.array([video.encode()]))
        tracks = file.create_dataset(
            'tracks_json', (max(texts, 1),), 'S16', chunks=(max(texts, 1),), compression='gzip'
        )
        tracks[:] = b'[0, "a"]'

    return write


HDF5: dict[str, tuple[str, str, Callable[[h5py.File], None]]] = {
    '4,000 references to one packed 480 MB table': ('points3d', '.mat', _references),
    'a text of 1e8 characters': ('points3d', '.mat', _characters),
    '1e8 packed references': ('points3d', '.mat', _many_references),
    'a data frame of 1e8 packed row labels': ('dlc', '.h5', _row_labels),
    '2e7 packed frames of points': ('points3d', '.h5', _frames_of_points),
    '3e6 packed empty frames': ('sleap', '.slp', _slp(frames=3_000_000)),
    '3e6 packed instances': ('sleap', '.slp', _slp(instances=3_000_000)),
    '2e6 packed names of tracks': ('sleap', '.slp', _slp(texts=2_000_000)),
}
_MOST = (1 << 22) - 100
TOMLS: dict[str, Callable[[], str]] = {
    'a key of 40,000 dots': lambda: '.'.join(['a'] * 40_000) + ' = 1',
    'a table of 40,000 dots': lambda: '[' + '.'.join(['a'] * 40_000) + ']',
    '100,000 tables': lambda: ''.join(f'[t{i:x}]\n' for i in range(100_000)),
    'a list of 2,000,000': lambda: 'a = [' + '1,' * (_MOST // 2 - 9) + ']',
    'lists in lists': lambda: 'a = ' + '[' * (_MOST // 2 - 9) + ']' * (_MOST // 2 - 9),
    'a number of 4,000,000 digits': lambda: 'a = ' + '1' * (_MOST - 9),
    'tables 31 deep': lambda: ''.join(f'[k{i:x}{".a" * 31}]\n' for i in range(50_000)),
}
JSONS: dict[str, Callable[[], str]] = {
    '10,000,000 empty lists': lambda: '{"images": [' + '[],' * 10_000_000 + '[]]}',
    '10,000,000 empty objects': lambda: '{"annotations": [' + '{},' * 10_000_000 + '{}]}',
    'lists in lists': lambda: '[' * 1_000_000 + ']' * 1_000_000,
    'a number of 10,000,000 digits': lambda: '{"images": ' + '1' * 10_000_000 + '}',
    'an endless mask': lambda: json.dumps(
        {
            'images': [{'id': 1, 'file_name': 'a.png', 'width': 8, 'height': 8}],
            'categories': [{'id': 1, 'name': 'a', 'keypoints': ['n']}],
            'annotations': [
                {
                    'id': 1, 'image_id': 1, 'category_id': 1, 'keypoints': [1, 1, 2], 'bbox': [0, 0, 8, 8],
                    'segmentation': {'size': [1 << 20, 1 << 20], 'counts': [1 << 40]},
                }
            ],
        }
    ),
}  # fmt: skip


def bombs(folder: Path) -> dict[str, Bomb]:
    """Write the files, and give the command lines that read them."""
    result = {}
    shared = ('--body-model', 'quadruped', '--unit', 'mm')
    for i, (title, make) in enumerate(MATS.items()):
        file = folder / f'mat_{i}.mat'
        file.write_bytes(make())
        result[f'.mat: {title}'] = Bomb(('preprocess', 'points3d', str(file), '{out}.h5', *shared), file)
    for i, (title, (kind, ending, write)) in enumerate(HDF5.items()):
        file = folder / f'table_{i}{ending}'
        with h5py.File(file, 'w', userblock_size=512 if ending == '.mat' else 0) as made:
            write(made)
        result[f'{kind} {ending}: {title}'] = Bomb(('preprocess', kind, str(file), '{out}.h5', *shared), file)
    for i, (title, text) in enumerate(TOMLS.items()):
        file = folder / f'settings_{i}.toml'
        file.write_text(text())
        line = ('model', 'measure', 'quadruped', '--measurements', str(file), '--out', '{out}.csv')
        result[f'.toml: {title}'] = Bomb(line, file)
        project = folder / f'project_{i}'
        project.mkdir()
        (project / 'config.toml').write_text(text())
        (project / 'calibration.toml').write_text(text())
        line = ('preprocess', 'anipose', str(project), '{out}.h5', *shared)
        result[f'anipose .toml: {title}'] = Bomb(line, project)
    for i, (title, text) in enumerate(JSONS.items()):
        file = folder / f'coco_{i}.json'
        file.write_text(text())
        result[f'COCO: {title}'] = Bomb(('preprocess', 'coco', str(file), '{out}.h5', *shared), file)
    return result
