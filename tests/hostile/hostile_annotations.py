"""Hostile annotation files of every format, small ones: what they ask for is large, wrong or elsewhere."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.hostile.small_annotations import (
    HEIGHT,
    IMAGES,
    JSON_FORMATS,
    WIDTH,
    JsonFormat,
    coco_content,
    replicant_content,
    stanford_content,
    write_images,
    write_json,
)

Change = Callable[[Any], None]
_IN_EVERY_FORMAT = ('1e400', 'text', 'entry_null', 'relative', 'deep_list')


class Hostile(NamedTuple):
    """One case: how many entries must be kept beside the one that is left out; None where the file is refused."""

    format: str
    path: Path
    kept: int | None
    arguments: dict[str, Any] = {}


def hostile_annotations(folder: Path) -> dict[str, Hostile]:
    """Write all cases.

    Args:
        folder: `inside` and `outside` are made in it; no case may open what is outside.
    """
    from tests.hostile.hostile_images import hostile_images
    from tests.hostile.hostile_mats import hostile_mats
    from tests.hostile.hostile_recordings import hostile_recordings
    from tests.hostile.hostile_sessions import hostile_sessions
    from tests.hostile.hostile_tables import hostile_tables

    write_images(folder / 'outside')
    cases: dict[str, Hostile] = {}
    of_json = (_json_cases, _coco_cases, _other_json_cases)
    of_files = (hostile_images, hostile_recordings, hostile_sessions, hostile_tables, hostile_mats)
    for make in (*of_json, *of_files):
        for name, case in make(folder):
            if name in cases:
                raise ValueError(f'hostile_annotations: cases must differ in name; got {name!r} twice.')
            cases[name] = case
    return cases


def _json_cases(folder: Path) -> Iterator[tuple[str, Hostile]]:
    """Make what is wrong in every format in JSON; all of it in COCO's, which are read by the same functions."""
    for form, rules in JSON_FORMATS.items():
        for what, change in _bad_entries(rules, folder).items():
            if form != 'coco' and what not in _IN_EVERY_FORMAT:
                continue
            place = folder / 'inside' / f'{form}_{what}'
            write_images(place)
            content = rules.content()
            change(content)
            if what == 'link':
                (place / 'link.png').symlink_to(folder / 'outside' / IMAGES[0])
            yield f'{form}_{what}', Hostile(form, write_json(place / 'labels.json', content), 1)
        for what, data in _bad_files(rules).items():
            if form != 'coco' and what not in _IN_EVERY_FORMAT:
                continue
            place = folder / 'inside' / f'{form}_file_{what}'
            write_images(place)
            (place / 'labels.json').write_bytes(data)
            yield f'{form}_file_{what}', Hostile(form, place / 'labels.json', None)


def _bad_entries(rules: JsonFormat, folder: Path) -> dict[str, Change]:
    def number(value: Any) -> Change:
        def change(content: Any) -> None:
            rules.row(rules.entries(content)[1])[0] = value

        return change

    def entry(value: Any) -> Change:
        def change(content: Any) -> None:
            rules.entries(content)[1] = value

        return change

    def image(value: Any) -> Change:
        return lambda content: rules.name_image(content, value)

    return {
        'nan': number(float('nan')),
        '1e400': number('@1e400@'),
        'text': number('12'),
        # As an array of text each cell would be as wide as this.
        'wide_text': number('7' * 300_000),
        'huge_int': number(10**400),
        'entry_null': entry(None),
        'relative': image(f'../../outside/{IMAGES[0]}'),
        'absolute': image(str(folder / 'outside' / IMAGES[0])),
        'link': image('link.png'),
        'zero_byte': image('a\0.png'),
        'long_name': image('a' * 5000),
    }


def _bad_files(rules: JsonFormat) -> dict[str, bytes]:
    text = json.dumps(rules.content())
    return {
        'deep_list': b'[' * 100_000 + b']' * 100_000,
        'cut': text[: len(text) // 2].encode(),
        'utf16': text.encode('utf-16'),
        'latin1': text.replace('.png', 'ä.png').encode('latin-1'),
        'number': b'7',
        'digits': text.replace('{', '{"x": ' + '1' * 5000 + ', ', 1).encode(),
        'key_twice': text.replace('{', '{"id": 1, "id": 2, ', 1).encode(),
    }


def _coco_cases(folder: Path) -> Iterator[tuple[str, Hostile]]:
    """Make masks, sizes and ids that COCO alone has."""

    def entry(key: str, value: Any) -> Change:
        return lambda content: content['annotations'][1].__setitem__(key, value)

    def image(key: str, value: Any) -> Change:
        return lambda content: content['images'][1].__setitem__(key, value)

    def category(key: str, value: Any) -> Change:
        return lambda content: content['categories'][0].__setitem__(key, value)

    size = [HEIGHT, WIDTH]
    half = 1 << 62
    zigzag = [v for i in range(40_000) for v in (i % WIDTH, HEIGHT * (i % 2))]
    entries: dict[str, Change] = {
        'rle_1e5': entry('segmentation', {'size': [100_000, 100_000], 'counts': [0, 10**10]}),
        'rle_wraps': entry(
            'segmentation', {'size': size, 'counts': [half, half, half, half + HEIGHT * WIDTH]}
        ),
        'rle_floats': entry('segmentation', {'size': size, 'counts': [0.5, HEIGHT * WIDTH]}),
        'rle_long_text': entry('segmentation', {'size': size, 'counts': '0' * 500_000}),
        'rle_size_infinite': entry('segmentation', {'size': ['@1e400@', 32], 'counts': [0, HEIGHT * WIDTH]}),
        'polygon_1e300': entry('segmentation', [[0, 0, 1e300, 0, 1e300, -1e300]]),
        'polygon_corners': entry('segmentation', [zigzag * 6]),
        'polygons_many': entry('segmentation', [[0, 0, WIDTH, 0, WIDTH, HEIGHT, 0, HEIGHT]] * 2000),
        'box_1e300': entry('bbox', [0, 0, 1e300, 1e300]),
        'image_id_list': entry('image_id', [1]),
        'width_1e5': lambda content: content['images'][1].update(width=100_000, height=100_000),
        'width_negative': image('width', -3),
    }
    files: dict[str, Change] = {
        'ids_lists': image('id', [1]),
        'images_number': lambda content: content.update(images=7),
        'keypoints_numbers': category('keypoints', [1, 2, 3, 4]),
        'keypoints_lists': category('keypoints', [['a'], ['b']]),
        'keypoints_many': category('keypoints', [f'left_{i}' for i in range(20_000)]),
        'keypoints_long': category('keypoints', ['l_' * 50_000, 'b', 'c', 'd']),
    }
    for what, change in (entries | files).items():
        place = folder / 'inside' / f'coco_{what}'
        write_images(place)
        content = coco_content()
        change(content)
        kept = 1 if what in entries else None
        yield f'coco_{what}', Hostile('coco', write_json(place / 'labels.json', content), kept)


def _other_json_cases(folder: Path) -> Iterator[tuple[str, Hostile]]:
    """Make what BADJA, Animal3D, StanfordExtra and replicAnt have of their own."""
    secret = f'../../outside/mask_{IMAGES[0]}'
    changed: dict[str, tuple[str, str, Any]] = {
        'badja_mask_outside': ('badja', 'segmentation_path', secret),
        'badja_mask_number': ('badja', 'segmentation_path', 7),
        'animal3d_mask_outside': ('animal3d', 'mask_path', secret),
        'animal3d_mask_list': ('animal3d', 'mask_path', [secret]),
        'animal3d_family': ('animal3d', 'supercategory', 10**300),
        'animal3d_shape': ('animal3d', 'shape', ['@1e400@'] * 20),
        'stanfordextra_runs': ('stanfordextra', 'seg', '0' * 500_000),
        'stanfordextra_size': ('stanfordextra', 'img_width', 10**9),
    }
    for name, (form, key, value) in changed.items():
        place, rules = folder / 'inside' / name, JSON_FORMATS[form]
        write_images(place)
        content = rules.content()
        rules.entries(content)[1][key] = value
        yield name, Hostile(form, write_json(place / 'labels.json', content), 1)
    place = folder / 'inside' / 'stanfordextra_split'
    write_images(place)
    labels = write_json(place / 'labels.json', stanford_content())
    with (place / 'split.npy').open('wb') as file:
        np.lib.format.write_array_header_1_0(
            file, {'descr': '<i8', 'fortran_order': False, 'shape': (10**12,)}
        )
    yield 'stanfordextra_split', Hostile('stanfordextra', labels, None, {'split': str(place / 'split.npy')})
    yield from _replicant_cases(folder)


def _replicant_cases(folder: Path) -> Iterator[tuple[str, Hostile]]:
    data, subject = 'iterationData', 'subject Data'
    changes: dict[str, Change] = {
        'matrix': lambda c: c[data]['camera']['View Matrix']['xPlane'].update(x=1e300),
        'iteration': lambda c: c[data].update(iteration=[1]),
        'id': lambda c: c[data][subject][0].update({'9' * 6000: c[data][subject][0].pop('1')}),
        'subject_null': lambda c: c[data].update({subject: [{'1': None}]}),
        'point_infinite': lambda c: c[data][subject][0]['1']['keypoints']['nose']['3DPos'].update(
            x='@1e400@'
        ),
        'box_text': lambda c: c[data][subject][0]['1']['2DBounds'].update(xmin='3'),
        'id_mask_link': lambda c: None,
    }
    for what, change in changes.items():
        place = folder / 'inside' / f'replicant_{what}'
        write_images(place)
        content = replicant_content()
        write_json(place / 'run_00.json', content)
        change(content)
        write_json(place / 'run_01.json', content)
        for i, name in enumerate(IMAGES):
            (place / name).rename(place / f'run_0{i}.png')
        if what in ('id', 'id_mask_link'):
            (place / 'run_01_ID.png').symlink_to(folder / 'outside' / f'mask_{IMAGES[0]}')
        yield f'replicant_{what}', Hostile('replicant', place, 1)
    place = folder / 'inside' / 'replicant_batch'
    write_images(place)
    write_json(place / 'run_00.json', replicant_content())
    write_json(
        place / '_BatchData_run.json',
        {'Image Resolution': {'x': '@1e400@', 'y': 3}, 'Subject Variations': {}},
    )
    yield 'replicant_batch', Hostile('replicant', place, None)


def write_orders(given: dict[str, Hostile], folder: Path) -> dict[str, Path]:
    """Write what `annotation_calls.read_case` is to do, a file a case."""
    folder.mkdir()
    orders = {}
    for name, case in given.items():
        orders[name] = folder / f'{name}.json'
        order = {'format': case.format, 'path': str(case.path), 'arguments': case.arguments}
        orders[name].write_text(json.dumps(order))
    return orders
