"""Tables of DeepLabCut, LightningPose and anipose, small tables of a session, and AnimalKey's folders, that lie."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.hostile.small_annotations import (
    IMAGES,
    NAMES,
    table_rows,
    write_images,
    write_table,
    write_video,
)

_ANIPOSE = 'pose-2d'
# What two formats have by one reader is made for the second one in part.
_BOTH = ('relative', 'name_long')


def hostile_tables(folder: Path) -> Iterator[tuple[str, Any]]:
    """Make the cases."""
    yield from _csv_cases(folder)
    yield from _h5_cases(folder)
    yield from _anipose_cases(folder)
    yield from _small_tables(folder)
    yield from _animalkey_cases(folder)


def _csv_cases(folder: Path) -> Iterator[tuple[str, Any]]:
    from tests.hostile.hostile_annotations import Hostile

    def changed(row: int, cell: int, value: str) -> list[list[str]]:
        rows = table_rows()
        rows[row][cell] = value
        return rows

    secret = f'{folder}/outside/{IMAGES[0]}'
    rows: dict[str, tuple[list[list[str]], int | None]] = {
        'relative': (changed(4, 0, f'labeled-data/../../../outside/{IMAGES[0]}'), 1),
        'link': (changed(4, 0, 'labeled-data/vid/link.png'), 1),
        'number_1e400': (changed(4, 1, '1e400'), 1),
        'text': (changed(4, 1, 'x'), 1),
        'long_cell': (changed(4, 0, 'a' * 200_000), None),
        'column_twice': (changed(1, 3, NAMES[0]), None),
        'no_header': (table_rows()[3:], None),
        'levels_cut': ([table_rows()[0][:3], *table_rows()[1:]], None),
        'name_long': (changed(1, 1, 'l_' * 40_000), None),
    }
    for form in ('dlc', 'lightningpose'):
        for what, (table, kept) in rows.items():
            if form == 'lightningpose' and what not in _BOTH:
                continue
            place = folder / 'inside' / f'{form}_{what}'
            images = place / 'labeled-data' / 'vid'
            write_images(images)
            (images / 'link.png').symlink_to(secret)
            yield f'{form}_{what}', Hostile(form, write_table(place / 'CollectedData_me.csv', table), kept)
        for what, encoding in (('latin1', 'latin-1'), ('utf16', 'utf-16')):
            path = folder / 'inside' / f'{form}_{what}' / 'CollectedData_me.csv'
            rows_ = [[cell.replace('nose', 'näse') for cell in row] for row in table_rows()]
            yield f'{form}_{what}', Hostile(form, write_table(path, rows_, encoding), None)
        for what, frame, kept in (
            ('frame_1e12', '9' * 12, 1),
            ('frame_digits', '9' * 6000, 1),
            ('frame_sign', '²', 1),
        ):
            place = folder / 'inside' / f'{form}_{what}'
            place.mkdir(parents=True)
            write_video(place / 'film.avi')
            table = table_rows()
            table[3][0], table[4][0] = '1', frame
            yield f'{form}_{what}', Hostile(form, write_table(place / 'filmDLC_1.csv', table), kept)


def _h5_cases(folder: Path) -> Iterator[tuple[str, Any]]:
    from tests.hostile.hostile_annotations import Hostile

    place = folder / 'inside' / 'dlc_h5'
    place.mkdir(parents=True)
    columns = [('me', name, coord) for name in NAMES for coord in 'xy']

    def write(what: str, axes: bytes, rows: int = 2) -> Path:
        path = place / f'{what}.h5'
        records = np.zeros(rows, [('index', 'S40'), ('values_block_0', 'f8', (len(columns),))])
        with h5py.File(path, 'w') as file:
            group = file.create_group('df_with_missing')
            group.attrs['pandas_type'] = np.bytes_(b'frame_table')
            group.attrs['non_index_axes'] = np.void(axes)
            group.create_dataset('table', data=records)
        return path

    axes = pickle.dumps([(1, columns)], 0)
    files = {
        'pickle': write('pickle', b"cos\nsystem\n(S'true'\ntR."),
        'labels_number': write('labels_number', pickle.dumps([(1, 7)], 0)),
        'labels_deep': write('labels_deep', b'(' * 3000 + b'l' * 3000 + b'.'),
        'endless': write('endless', axes),
        'linked': write('linked', axes),
        'fixed_blocks': write('fixed_blocks', axes),
    }
    with h5py.File(files['endless'], 'r+') as file:
        kind = file['df_with_missing/table'].dtype
        del file['df_with_missing/table']
        file['df_with_missing'].create_dataset('table', (10**9,), kind, chunks=(1000,), compression='gzip')
    with h5py.File(files['linked'], 'r+') as file:
        del file['df_with_missing/table']
        file['df_with_missing/table'] = h5py.ExternalLink(f'{folder}/outside/x.h5', 'table')
    with h5py.File(files['fixed_blocks'], 'r+') as file:
        del file['df_with_missing/table']
        file['df_with_missing'].attrs['nblocks'] = 10**12
    (place / 'text.h5').write_text('no table')
    for what, path in (files | {'text': place / 'text.h5'}).items():
        yield f'dlc_h5_{what}', Hostile('dlc', path, None)


def _anipose_cases(folder: Path) -> Iterator[tuple[str, Any]]:
    from tests.hostile.hostile_annotations import Hostile

    header = [*(f'{name}_{axis}' for name in NAMES for axis in 'xyz'), 'fnum']
    body = [['1.0'] * (len(header) - 1) + [str(i)] for i in range(2)]

    def points(fnum: str) -> dict[str, str]:
        rows = [header, body[0], [*body[1][:-1], fnum]]
        return {'pose-3d/walk.csv': '\n'.join(','.join(row) for row in rows)}

    calibration = 'cam_0 = 7\n' + '[x' + '.x' * 3_000 + ']\n'
    cases: dict[str, dict[str, str]] = {
        'fnum_1e300': points('1e300'),
        'fnum_twice': points('0'),
        'config_deep': {'config.toml': 'a = ' + '[' * 50_000},
        'config_regex': {'config.toml': '[triangulation]\ncam_regex = "((a|b|w|l|k|-|c|m|A)+)+$x"\n'},
        'config_regex_number': {'config.toml': '[triangulation]\ncam_regex = 7\n'},
        'calibration_deep': {'calibration.toml': calibration},
        'table_text': {f'{_ANIPOSE}/walk-camA.csv': 'no table'},
    }
    for what, files in cases.items():
        place = folder / 'inside' / f'anipose_{what}'
        rows = table_rows()
        rows[3][0], rows[4][0] = '0', '1'
        write_table(place / _ANIPOSE / 'walk-camA.csv', rows)
        (place / 'videos-raw').mkdir()
        write_video(place / 'videos-raw' / 'walk-camA.avi')
        for name, text in files.items():
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_text(text)
        yield f'anipose_{what}', Hostile('anipose', place, None)


def _small_tables(folder: Path) -> Iterator[tuple[str, Any]]:
    from tests.hostile.hostile_annotations import Hostile

    files: dict[str, tuple[str, bytes]] = {
        'lookup_latin1': ('lookup', 'model,data\nnäse,nose\n'.encode('latin-1')),
        'lookup_utf16': ('lookup', 'model,data\nnose,nose\n'.encode('utf-16')),
        'lookup_long': ('lookup', b'model,data\n' + b'a' * 300_000 + b',b\n'),
        'lookup_empty': ('lookup', b''),
        'lookup_same': (
            'lookup',
            b'model,data\n' + b''.join(b'm%d,d%d\n' % (i, i % 9000) for i in range(18_000)),
        ),
        'betas_1e400': ('betas', b'label,PC1\nx,1e400\n'),
        'betas_utf16': ('betas', 'label,PC1\nx,1\n'.encode('utf-16')),
    }
    for name, (form, data) in files.items():
        path = folder / 'inside' / f'{name}.csv'
        path.write_bytes(data)
        yield name, Hostile(form, path, None)


def _animalkey_cases(folder: Path) -> Iterator[tuple[str, Any]]:
    from tests.hostile.hostile_annotations import Hostile

    good = pickle.dumps(np.array([[5.0 + i, 6.0, 1.0] for i in range(len(NAMES))]), 2)
    frames = {
        'code': (b"cos\nsystem\n(S'true'\ntR.", None),
        'cut': (good[:40], None),
        'shape': (pickle.dumps(np.zeros((len(NAMES) + 3, 3)), 2), None),
        'boxes_deep': (good, b'[' * 50_000),
        'boxes_infinite': (good, b'{"a": [0, 0, 1e400, 3]}'),
        'boxes_list': (good, b'[1, 2]'),
    }
    for what, (data, boxes) in frames.items():
        place = folder / 'inside' / f'animalkey_{what}'
        write_images(place)
        for name in IMAGES:
            (place / f'mask_{name}').unlink()
        (place / 'a.pkl').write_bytes(good)
        (place / 'b.pkl').write_bytes(data)
        if boxes is not None:
            (place / 'bboxes.json').write_bytes(boxes)
        yield f'animalkey_{what}', Hostile('animalkey', place, 1 if boxes is None else None)
    place = folder / 'inside' / 'animalkey_link'
    write_images(place)
    for name in IMAGES:
        (place / f'mask_{name}').unlink()
        (place / name).with_suffix('.pkl').write_bytes(good)
    (place / 'b.png').unlink()
    (place / 'b.png').symlink_to(folder / 'outside' / IMAGES[0])
    yield 'animalkey_link', Hostile('animalkey', place, 1)
