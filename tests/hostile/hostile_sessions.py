"""Sessions of several cameras: calibrations, 3D points and labels that no session has."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.hostile.hostile_recordings import write_labels

_CAMERA = """[cam_0]
name = "cam"
size = [32, 24]
matrix = [[50.0, 0.0, 16.0], [0.0, 50.0, 12.0], [0.0, 0.0, 1.0]]
distortions = [0.0, 0.0, 0.0, 0.0, 0.0]
rotation = [0.0, 0.0, 0.0]
translation = [0.0, 0.0, 5.0]
"""


def hostile_sessions(folder: Path) -> Iterator[tuple[str, Any]]:
    """Make the cases."""
    yield from _points_cases(folder)
    yield from _calibration_cases(folder)


def _points_cases(folder: Path) -> Iterator[tuple[str, Any]]:
    from tests.hostile.hostile_annotations import Hostile

    def write(what: str, **made: Any) -> Path:
        path = folder / 'inside' / f'points3d_{what}.h5'
        with h5py.File(path, 'w') as file:
            if made:
                file.create_dataset('tracks', **made)
        return path

    linked = write('linked')
    with h5py.File(linked, 'r+') as file:
        file['tracks'] = h5py.ExternalLink(str(folder / 'outside' / 'x.h5'), 'tracks')
    virtual = write('virtual')
    layout = h5py.VirtualLayout((3, 1, 2, 3), 'f8')
    layout[...] = h5py.VirtualSource(str(folder / 'outside' / 'x.h5'), 'tracks', (3, 1, 2, 3))
    with h5py.File(virtual, 'r+') as file:
        file.create_virtual_dataset('tracks', layout)
    packed = {'chunks': (100_000, 1, 2, 3), 'compression': 'gzip'}
    files = {
        'endless': write('endless', shape=(10**9, 1, 2, 3), dtype='f8', **packed),
        'bytes': write('bytes', data=np.zeros((200_000_000 // 6, 1, 2, 3), 'i1'), **packed),
        'text': write('text', data=np.array([b'a'])),
        'infinite': write('infinite', data=np.full((3, 1, 2, 3), np.inf)),
        'linked': linked,
        'virtual': virtual,
    }
    for what, path in files.items():
        yield f'points3d_{what}', Hostile('points3d', path, None)


def _calibration_cases(folder: Path) -> Iterator[tuple[str, Any]]:
    from tests.hostile.hostile_annotations import Hostile

    files = {
        'deep': b'a = ' + b'[' * 50_000 + b']' * 50_000,
        'nan': _CAMERA.replace('0.0, 0.0, 5.0', 'nan, 0.0, 5.0').encode(),
        'digits': _CAMERA.replace('[32, 24]', f'[{"9" * 4000}, 24]').encode(),
        'turns': _CAMERA.replace('rotation = [0.0', 'rotation = [1e300').encode(),
        'many': b''.join(_CAMERA.replace('cam_0', f'cam_{i}').encode() for i in range(1500)),
        'name': _CAMERA.replace('"cam"', '["cam"]').encode(),
        'utf16': _CAMERA.encode('utf-16'),
        'table': b'[[cam_0]]\nname = "a"\n',
        'empty': b'',
    }
    for what, data in files.items():
        path = folder / 'inside' / f'calibration_{what}.toml'
        path.write_bytes(data)
        yield f'calibration_{what}', Hostile('calibration', path, None)
        if what in ('nan', 'deep'):
            place = folder / 'inside' / f'session_{what}'
            place.mkdir()
            (place / 'calibration.toml').write_bytes(data)
            yield f'session_{what}', Hostile('session', place, None)
    place = folder / 'inside' / 'session_frame_1e9'
    path = write_labels(place / 'cam' / 'labels.slp', ('one',))
    with h5py.File(path, 'r+') as file:
        records = file['frames'][()]
        records['frame_idx'][3] = 10**9
        file['frames'][...] = records
    (place / 'calibration.toml').write_text(_CAMERA)
    yield 'session_frame_1e9', Hostile('session', place, None)
