"""What a dataset file must hold, as tables, and the check of an open file against them.

`store_layout` describes what the tables mean. Shapes' letters: N samples, C cameras of the file, c of the session, n
images of the session, K keypoints, J joints, S shape coefficients.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from smilfit.body_models import Landmark
from smilfit.body_models.files.finding import MOST_PACKED_BYTES
from smilfit.body_models.files.json_values import JsonValues
from smilfit.body_models.files.smil_json_parts import landmarks
from smilfit.datasets.store.store_layout import (
    CAMERA_ARRAYS,
    FORMAT,
    FORMAT_VERSION,
    PARAM_NAMES,
    DatasetHeader,
)
from smilfit.datasets.store.stored_values import check_session_names
from smilfit.datasets.store.table_checks import (
    REMEDY,
    Attributes,
    Table,
    check_group,
    check_table,
    check_tables,
    refuse,
)
from smilfit.files import reading, shorten
from smilfit.files.budget import MOST_ARRAY_BYTES, check_budget
from smilfit.files.hdf5 import check_hdf5
from smilfit.structures import PARAMETERS, ModelReference

WHAT = 'a dataset'
MOST_RESOLUTION = 8192
MOST_BETAS = 100_000
MOST_LANDMARKS = 5000
# Frame numbers may be times of the clock; a float64 holds them exactly.
MOST_FRAME = 1 << 53

SAMPLE_TABLES = {
    'session': Table('i', ('N',)),
    'frame': Table('i', ('N',)),
    'view_mask': Table('b', ('N', 'C')),
    'affine': Table('f', ('N', 'C', 2, 3)),
    'keypoints2d': Table('f', ('N', 'C', 'K', 2)),
    'confidence2d': Table('f', ('N', 'C', 'K')),
    'keypoints3d': Table('f', ('N', 'K', 3)),
    'confidence3d': Table('f', ('N', 'K')),
}
# Where all animals are, of recordings of several.
CENTRE_TABLES = {
    'centres2d': Table('f', ('N', 'C', 'A', 2)),
    'centres_known': Table('b', ('N', 'C', 'A')),
    'all_animals': Table('b', ('N', 'C')),
}
MOST_ANIMALS = 10_000
# Images: where they lie in their bytes.
BYTES_TABLES = {'image': 'jpeg', 'mask': 'mask'}
PARAM_TABLES = {name: Table('f', ('N', *PARAMETERS[name].shape)) for name in PARAM_NAMES}
CAMERA_TABLES = dict(
    zip(CAMERA_ARRAYS, (('c', 3, 3), ('c', 3, 3), ('c', 3), ('c', 5), ('c', 2)), strict=True)
)


@dataclass(frozen=True, kw_only=True)
class FileFacts(DatasetHeader):
    """What a file states of itself, and what its tables hold: `n_bytes` of 'image's and 'mask's."""

    body_model: ModelReference
    report: dict[str, Any]
    faults: dict[int, str]
    n_samples: int
    n_bytes: dict[str, int]
    has_params: bool

    @property
    def has_masks(self) -> bool:
        """Check whether silhouettes are stored."""
        return 'mask' in self.n_bytes


@dataclass(frozen=True)
class SampleIndex:
    """The small tables of all samples: session (N,), frame (N,), view mask (N, C)."""

    session: np.ndarray
    frame: np.ndarray
    view_mask: np.ndarray


def read_facts(file: h5py.File, path: Path) -> FileFacts:
    """Look a whole file through and read what it states of itself.

    Links, storage and declared sizes are checked of every object; of the tables in `SAMPLE_TABLES` and the others
    the kind and the shape.

    Raises:
        BadFileError: another format, a newer version, unfinished, or anything that breaks a rule.
    """
    check_hdf5(file, path, WHAT)
    attributes = Attributes(file, path)
    _check_format(attributes, path)
    n_samples = attributes.count('n_complete', MOST_ARRAY_BYTES)
    facts = FileFacts(
        body_model_file=attributes.text('body_model_file'),
        body_model_hash=attributes.text('body_model_hash'),
        crop_mode=attributes.text('crop_mode'),
        keypoint_names=attributes.names('keypoint_names'),
        joint_names=attributes.names('joint_names'),
        camera_names=attributes.names('camera_names'),
        n_betas=attributes.count('n_betas', MOST_BETAS),
        target_resolution=attributes.count('target_resolution', MOST_RESOLUTION, 1),
        undistorted=attributes.flag('undistorted'),
        confidence_threshold=attributes.number('confidence_threshold'),
        fingerprint=attributes.text('fingerprint'),
        options=attributes.record('options'),
        report=attributes.record('report'),
        faults=_faults(attributes, n_samples, path),
        n_samples=n_samples,
        n_bytes=_byte_counts(check_group(file, 'images', path), path),
        has_params='params' in file,
        n_centres=_count_centres(file, path),
        landmarks=_landmarks(attributes, path),
        body_model=_body_model(file, attributes, path),
    )
    if not facts.joint_names:
        refuse(path, 'the attribute joint_names', 'name a joint', 'none')
    check_sample_tables(file, facts, path)
    return facts


def _body_model(file: h5py.File, attributes: Attributes, path: Path) -> ModelReference:
    """Read what names the body model; the model itself is looked at by whoever needs it."""
    given, content_hash = attributes.text('body_model_file'), attributes.text('body_model_hash')
    # Older files name a place alone, as seen from the file or from somewhere.
    stated = attributes.record('body_model') if 'body_model' in attributes else {'relative': given}
    stated = {name: stated[name] for name in ('given', 'absolute', 'relative') if name in stated}
    packed = None
    if check_table(file, 'body_model', Table('u', (None,), optional=True), {}, path):
        check_budget(path, '/body_model', file['body_model'].shape[0], MOST_PACKED_BYTES)
        packed = file['body_model'][()].tobytes()
    return ModelReference.from_record({'given': given, **stated, 'content_hash': content_hash}, packed)


def check_sample_tables(file: h5py.File, facts: FileFacts, path: Path) -> None:
    """Check kind and shape of all tables with a row a sample.

    Raises:
        BadFileError: a table that is missing, of another kind or shape.
    """
    counts = {
        'N': facts.n_samples,
        'C': len(facts.camera_names),
        'K': len(facts.keypoint_names),
        'J-1': len(facts.joint_names) - 1,
        'S': facts.n_betas,
    }
    samples = check_group(file, 'samples', path)
    # HDF5 keeps no chunk of nothing: a file without cameras has no table over them.
    tables = {n: t for n, t in SAMPLE_TABLES.items() if facts.camera_names or 'C' not in t.shape}
    check_tables(samples, tables, counts, path)
    if not facts.camera_names and (facts.n_bytes != {'image': 0} or facts.n_centres):
        refuse(path, 'images and centres', 'have cameras', 'some without')
    if facts.n_centres:
        check_tables(samples, CENTRE_TABLES, counts | {'A': facts.n_centres}, path)
    for kind in BYTES_TABLES:
        if kind not in facts.n_bytes or not facts.camera_names:
            continue
        for end in ('start', 'length'):
            check_table(samples, f'{kind}_{end}', Table('i', ('N', 'C')), counts, path)
    if facts.has_params:
        params = check_group(file, 'params', path)
        check_table(params, 'known', Table('b', ('N',)), counts, path)
        for name, table in PARAM_TABLES.items():
            # HDF5 keeps no chunk of nothing: where there is nothing of a kind, there is no table.
            nothing = any(isinstance(s, str) and s != 'N' and counts[s] == 0 for s in table.shape)
            check_table(params, name, Table(table.kind, table.shape, optional=nothing), counts, path)


def session_groups(file: h5py.File, path: Path) -> list[h5py.Group]:
    """Return the groups of the sessions in the order of their numbers, which is not that of their names.

    Raises:
        BadFileError: groups that are not numbered from 0.
    """
    group = check_group(file, 'sessions', path)
    wanted = [f'{i:04d}' for i in range(len(group))]
    if set(group) != set(wanted):
        strange = next(iter(set(group) - set(wanted)))
        refuse(path, 'the groups in /sessions', f'be numbered from 0000 to {len(group) - 1:04d}', strange)
    return [check_group(group, name, path) for name in wanted]


def check_session_tables(group: h5py.Group, n_cameras: int, own: int | None, path: Path) -> None:
    """Check kind and shape of what a session holds once.

    Args:
        group: the session's.
        n_cameras: how many cameras it names.
        own: how many images with cameras of their own it has; None of a rig.
        path: the file.

    Raises:
        BadFileError: a table that is missing, of another kind or shape.
    """
    counts = {'c': n_cameras, 'n': own or 0}
    lead = () if own is None else ('n',)
    check_tables(group, {n: Table('f', (*lead, *shape)) for n, shape in CAMERA_TABLES.items()}, counts, path)
    if own is not None:
        check_table(group, 'intrinsics_known', Table('b', ('n',)), counts, path)


def read_index(file: h5py.File, facts: FileFacts, n_sessions: int, path: Path) -> SampleIndex:
    """Read which session and frame each sample is of and which views it has, and check them.

    Raises:
        BadFileError: a session that is not there, samples that are not in the order of sessions, or a frame number
            that is none.
    """
    samples = file['samples']
    for name in ('session', 'frame', 'view_mask'):
        if name not in samples:
            continue
        table = samples[name]
        check_budget(path, table.name, table.size * table.dtype.itemsize, MOST_ARRAY_BYTES)
    with reading(path, 'samples/session'):
        session = samples['session'][()].astype(np.int64)
    if len(session) and not 0 <= session.min() <= session.max() < n_sessions:
        refuse(
            path,
            'samples/session',
            f'number sessions from 0 to {n_sessions - 1}',
            int(_farthest(session, n_sessions)),
        )
    if (np.diff(session) < 0).any():
        refuse(
            path, 'samples/session', 'be in the order of the sessions', 'a later one before an earlier one'
        )
    with reading(path, 'samples/frame'):
        frame = samples['frame'][()].astype(np.int64)
    if len(frame) and not 0 <= frame.min() <= frame.max() <= MOST_FRAME:
        refuse(path, 'samples/frame', f'be from 0 to {MOST_FRAME}', int(_farthest(frame, MOST_FRAME + 1)))
    with reading(path, 'samples/view_mask'):
        view_mask = samples['view_mask'][()] if facts.camera_names else np.zeros((len(session), 0), np.bool_)
    return SampleIndex(session, frame, view_mask)


def check_names_of_sessions(names: tuple[str, ...], path: Path) -> None:
    """Check that sessions' names stay inside a folder and differ.

    Raises:
        BadFileError: they do not.
    """
    if not names:
        refuse(path, '/sessions', 'hold a session', 'none')
    check_session_names(names, str(path))


def _farthest(values: np.ndarray, end: int) -> int:
    return values.min() if values.min() < 0 else values[values >= end][0]


def _check_format(attributes: Attributes, path: Path) -> None:
    result = attributes.text('format') if 'format' in attributes else None
    if result != FORMAT:
        refuse(path, WHAT, f'state format {FORMAT!r}', result, 'Make one with tools/preprocess.py.')
    version = attributes.count('version', 1 << 31)
    if version > FORMAT_VERSION:
        refuse(path, 'version', f'be at most {FORMAT_VERSION}', version, 'Update smilfit.')
    if not attributes.flag('complete'):
        refuse(path, WHAT, 'be complete', 'an unfinished one', 'Run preprocessing again.')


def _byte_counts(images: h5py.Group, path: Path) -> dict[str, int]:
    counts = {}
    for kind, name in BYTES_TABLES.items():
        if check_table(images, name, Table('u', (None,), optional=kind == 'mask'), {}, path):
            counts[kind] = images[name].shape[0]
    return counts


def _count_centres(file: h5py.File, path: Path) -> int:
    samples = check_group(file, 'samples', path)
    table = Table('f', (None, None, None, 2), optional=True)
    if not check_table(samples, 'centres2d', table, {}, path):
        return 0
    result = samples['centres2d'].shape[2]
    if not 1 <= result <= MOST_ANIMALS:
        refuse(path, '/samples/centres2d', f'be of 1 to {MOST_ANIMALS} animals', result)
    return int(result)


def _landmarks(attributes: Attributes, path: Path) -> dict[str, Landmark]:
    if 'landmarks' not in attributes:
        return {}
    result = attributes.record('landmarks')
    check_budget(path, 'landmarks', len(result), MOST_LANDMARKS, 'landmarks')
    return landmarks(result, JsonValues(path, REMEDY))


def _faults(attributes: Attributes, n_samples: int, path: Path) -> dict[int, str]:
    if 'faults' not in attributes:
        return {}
    faults = attributes.record('faults')
    for number, reason in faults.items():
        if not (number.isascii() and number.isdigit() and len(number) < 19 and int(number) < n_samples):
            refuse(path, 'the attribute faults', f'number samples below {n_samples}', number)
        if not isinstance(reason, str):
            refuse(path, 'the attribute faults', 'say each reason in words', shorten(reason))
    return {int(number): reason for number, reason in faults.items()}
