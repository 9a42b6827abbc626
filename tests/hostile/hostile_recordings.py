"""Labels of SLEAP that lie: about sizes, rows, frames, names and where their data are."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import sleap_io

from tests.hostile.hostile_images import png
from tests.hostile.small_annotations import NAMES, write_video


def hostile_recordings(folder: Path) -> Iterator[tuple[str, Any]]:
    """Make the cases."""
    yield from _slp_cases(folder)
    yield from _slp_entries(folder)
    yield from _analysis_cases(folder)
    yield from _package_cases(folder)


def write_labels(path: Path, tracks: tuple[str, ...] = ('one', 'two'), embed: bool = False) -> Path:
    """Write labels of four frames, an instance a track in each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    film = write_video(path.with_name('film.avi'))
    skeleton = sleap_io.Skeleton(list(NAMES))
    video = (
        sleap_io.Video.from_filename(str(film)) if embed else sleap_io.Video(str(film), open_backend=False)
    )
    known = [sleap_io.Track(name) for name in tracks]
    xy = np.stack((np.linspace(5, 25, len(NAMES)), np.linspace(5, 20, len(NAMES))), 1)
    frames = [
        sleap_io.LabeledFrame(
            video=video,
            frame_idx=i,
            instances=[sleap_io.Instance.from_numpy(xy, skeleton=skeleton, track=track) for track in known],
        )
        for i in range(4)
    ]
    labels = sleap_io.Labels(frames, videos=[video], skeletons=[skeleton], tracks=known)
    sleap_io.save_slp(labels, str(path), embed='user' if embed else False, verbose=False)
    return path


def _slp_cases(folder: Path) -> Iterator[tuple[str, Any]]:
    from tests.hostile.hostile_annotations import Hostile

    def column(table: str, name: str, value: int, rows: slice = slice(3, 4)) -> Callable[[h5py.File], None]:
        def change(file: h5py.File) -> None:
            records = file[table][()]
            records[name][rows] = value
            file[table][...] = records

        return change

    def linked(file: h5py.File) -> None:
        del file['points']
        file['points'] = h5py.ExternalLink(str(folder / 'outside' / 'labels.slp'), 'points')

    def endless(file: h5py.File) -> None:
        del file['points']
        file.create_dataset('points', (10**12,), 'f8', chunks=(1024,))

    each = {'instance': 'each'}
    whole: dict[str, Callable[[h5py.File], None]] = {
        'rows_again': column('frames', 'instance_id_end', 1 << 60, slice(0, 4)),
        'points_again': column('instances', 'point_id_start', 1 << 60, slice(0, 4)),
        'video_id': column('frames', 'video', 7),
        'linked': linked,
        'endless': endless,
        'no_frames': lambda file: file.__delitem__('frames'),
        'metadata_cut': lambda file: file['metadata'].attrs.__setitem__('json', np.bytes_(b'{"a":')),
        'metadata_deep': lambda file: file['metadata'].attrs.__setitem__('json', np.bytes_(b'[' * 30_000)),
        'videos_number': _json_of('videos_json', b'7'),
        'video_shape': _json_of(
            'videos_json', b'{"backend": {"filename": "film.avi", "shape": ["a", "b", "c", 1]}}'
        ),
    }
    for what, change in whole.items():
        path = write_labels(folder / 'inside' / f'slp_{what}' / 'labels.slp')
        with h5py.File(path, 'r+') as file:
            change(file)
        yield f'slp_{what}', Hostile('sleap', path, None, each)


def _json_of(name: str, text: bytes) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = np.array([text])

    return change


def _slp_entries(folder: Path) -> Iterator[tuple[str, Any]]:
    from tests.hostile.hostile_annotations import Hostile

    for what, frame in (('frame_1e9', 10**9), ('frame_1e18', 10**18), ('frame_negative', -5)):
        path = write_labels(folder / 'inside' / f'slp_{what}' / 'labels.slp', ('one',))
        with h5py.File(path, 'r+') as file:
            records = file['frames'][()]
            # As signed bytes, whatever the column's own type.
            records['frame_idx'][3] = np.int64(frame).astype(records['frame_idx'].dtype)
            file['frames'][...] = records
        yield f'slp_{what}', Hostile('sleap', path, 3)
        yield f'labels_{what}', Hostile('labels', path, None)
    outside = '/../../../../outside/ESC_track'
    path = write_labels(
        folder / 'inside' / 'harmless_tracks' / 'labels.slp', (outside, 'mouse/1', '..', 'mouse/1')
    )
    yield 'harmless_tracks', Hostile('sleap', path, 16, {'instance': 'each'})
    secret = f'{{"backend": {{"filename": "x", "filenames": ["{folder}/outside/a.png"], "shape": [4, 24, 32, 3]}}}}'
    path = write_labels(folder / 'inside' / 'slp_pictures_outside' / 'labels.slp', ('one',))
    with h5py.File(path, 'r+') as file:
        _json_of('videos_json', secret.encode())(file)
    yield 'slp_pictures_outside', Hostile('sleap', path, 0)
    for what, data in (('empty', b''), ('text', b'no labels'), ('cut', path.read_bytes()[:3000])):
        damaged = folder / 'inside' / f'slp_{what}.slp'
        damaged.write_bytes(data)
        yield f'slp_{what}', Hostile('sleap', damaged, None)


def _analysis_cases(folder: Path) -> Iterator[tuple[str, Any]]:
    from tests.hostile.hostile_annotations import Hostile

    def write(what: str, **tables: Any) -> Path:
        path = folder / 'inside' / f'analysis_{what}.h5'
        count = len(NAMES)
        plain = {
            'tracks': np.full((1, 2, count, 3), 9.0),
            'node_names': np.array([name.encode() for name in NAMES]),
            'track_names': np.array([b'one']),
            'point_scores': np.ones((1, count, 3)),
            'instance_scores': np.ones((1, 3)),
            'tracking_scores': np.ones((1, 3)),
            'video_path': np.bytes_(b'film.avi'),
        } | tables
        with h5py.File(path, 'w') as file:
            for name, value in plain.items():
                if isinstance(value, tuple):
                    file.create_dataset(name, value, 'f4', chunks=True, compression='gzip')
                elif value is not None:
                    file[name] = value
        return path

    files = {
        'endless': write('endless', tracks=(1, 2, len(NAMES), 10**9)),
        'names_numbers': write('names_numbers', node_names=np.arange(3)),
        'tracks_text': write('tracks_text', tracks=np.array([b'a'])),
        'tracks_flat': write('tracks_flat', tracks=np.ones(4)),
        'linked': write('linked', tracks=None),
    }
    with h5py.File(files['linked'], 'r+') as file:
        file['tracks'] = h5py.ExternalLink(str(folder / 'outside' / 'x.h5'), 'tracks')
    for what, path in files.items():
        yield f'analysis_{what}', Hostile('sleap', path, None)
        if what in ('endless', 'linked', 'tracks_flat'):
            yield f'labels_analysis_{what}', Hostile('labels', path, None)
    address = np.bytes_(b'http://127.0.0.1:9/film.mp4')
    yield 'analysis_address', Hostile('sleap', write('address', video_path=address), 0)


def _package_cases(folder: Path) -> Iterator[tuple[str, Any]]:
    from tests.hostile.hostile_annotations import Hostile

    def replaced(data: bytes) -> Callable[[h5py.File], None]:
        def change(file: h5py.File) -> None:
            table = file['video0/video']
            rows = [np.frombuffer(data, np.int8), *(np.asarray(table[i]) for i in range(1, 4))]
            known = dict(table.attrs)
            del file['video0/video']
            kind = h5py.vlen_dtype(np.int8)
            made = file.create_dataset('video0/video', (4,), kind)
            for i, row in enumerate(rows):
                made[i] = row
            made.attrs.update(known)

        return change

    def shape(file: h5py.File) -> None:
        file['video0/video'].attrs.update(height=10**6, width=10**6)

    def numbers(file: h5py.File) -> None:
        file['video0/frame_numbers'][...] = -1

    cases: dict[str, tuple[Callable[[h5py.File], None], int]] = {
        'endless': (replaced(png(30_000, 30_000)), 0),
        'no_picture': (replaced(b'no picture'), 0),
        'shape': (shape, 0),
        'numbers': (numbers, 0),
    }
    for what, (change, kept) in cases.items():
        path = write_labels(folder / 'inside' / f'package_{what}' / 'film.pkg.slp', ('one',), embed=True)
        with h5py.File(path, 'r+') as file:
            change(file)
        yield f'package_{what}', Hostile('sleap', path, kept)
