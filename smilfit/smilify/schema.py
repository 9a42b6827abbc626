"""What SMILify's files must hold, as tables, and the check of an open file against them.

A multi-view file: `multiview_images/image_jpeg_view_{v}`, `multiview_keypoints/*`, `parameters/*`, `auxiliary/*`,
`metadata`. Keypoints are (y / H, x / W) of the stored image; slots of views are dense and `camera_indices` says
which camera a slot is; a missing 3D point is exactly (0, 0, 0). Shapes' letters: N samples, V slots of views, J
joints, S shape coefficients.

A file of single images: `images/image_jpeg` (or `rgb_jpeg`), `keypoints/*` as (y / H, x / W), `parameters/*`,
`auxiliary/*`. Its camera tables hold placeholders: of the camera, and of where the image was cut, nothing is known.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float, Int

from smilfit.datasets.store.store_schema import MOST_BETAS, MOST_FRAME, MOST_RESOLUTION
from smilfit.datasets.store.stored_values import check_cameras, check_finite, check_session_name
from smilfit.datasets.store.table_checks import (
    Attributes,
    Table,
    check_group,
    check_table,
    check_tables,
    refuse,
)
from smilfit.files import reading
from smilfit.files.budget import MOST_ARRAY_BYTES, check_budget
from smilfit.files.hdf5 import check_hdf5

WHAT = 'a SMILify dataset'
KEYPOINTS, PARAMETERS = 'multiview_keypoints', 'parameters'
CAMERAS = {'K': 'camera_intrinsics', 'R': 'camera_extrinsics_R', 't': 'camera_extrinsics_t'}

KEYPOINT_TABLES = {
    'keypoints_2d': Table('f', ('N', 'V', 'J', 2)),
    'keypoint_visibility': Table('f', ('N', 'V', 'J')),
    'keypoints_3d': Table('f', ('N', 'J', 3)),
    'camera_intrinsics': Table('f', ('N', 'V', 3, 3)),
    'camera_extrinsics_R': Table('f', ('N', 'V', 3, 3)),
    'camera_extrinsics_t': Table('f', ('N', 'V', 3)),
    'camera_indices': Table('i', ('N', 'V')),
    'image_sizes': Table('i', ('N', 'V', 2), optional=True),
}
PARAMETER_TABLES = {
    'global_rot': Table('f', ('N', 3), optional=True),
    'joint_rot': Table('f', ('N', 'J', 3), optional=True),
    'betas': Table('f', ('N', 'S'), optional=True),
    'trans': Table('f', ('N', 3), optional=True),
}
POSED = 'has_ground_truth_pose'
FLAGS = ('has_ground_truth_betas', POSED, 'has_3d_data')
CANONICAL = {
    'canonical_to_world_R': Table('f', ('N', 3, 3), optional=True),
    'canonical_to_world_t': Table('f', ('N', 3), optional=True),
}


def is_smilify(file: h5py.File, path: str | Path = '') -> bool:
    """Check whether an open HDF5 file is one of SMILify's datasets, multi-view or single-view."""
    return is_multi_view(file, path) or is_single_view(file, path)


def is_multi_view(file: h5py.File, path: str | Path = '') -> bool:
    """Check whether an open HDF5 file is a SMILify multi-view dataset."""
    with reading(path or file.filename, 'metadata'):
        stated = file['metadata'].attrs.get('is_multiview', False) if 'metadata' in file else False
    return isinstance(stated, (bool, np.bool_, int, np.integer)) and bool(stated) and KEYPOINTS in file


def is_single_view(file: h5py.File, path: str | Path = '') -> bool:
    """Check whether an open HDF5 file is a SMILify dataset of single images."""
    with reading(path or file.filename, 'images'):
        images = file.get('images')
        named = isinstance(images, h5py.Group) and ('image_jpeg' in images or 'rgb_jpeg' in images)
        return named and 'metadata' in file and 'keypoints' in file


@dataclass(frozen=True)
class SmilifyFacts:
    """What a SMILify file states of itself; slots (N, V) are camera numbers, -1 where there is no view.

    `world_scale` and `crop_mode` are None and '' where it states none.
    """

    camera_names: tuple[str, ...]
    target_resolution: int
    crop_mode: str
    world_scale: float | None
    scale_matched: bool
    n_betas: int
    n_joints: int
    slots: Int[np.ndarray, 'N V']
    frames: Int[np.ndarray, 'N']
    sessions: tuple[str, ...]


def read_smilify_facts(file: h5py.File, path: Path) -> SmilifyFacts:
    """Look a whole file through, check its tables and its cameras, and read what it states of itself.

    Raises:
        BadFileError: anything that breaks a rule; the message names file and table.
    """
    check_hdf5(file, path, WHAT)
    meta = Attributes(check_group(file, 'metadata', path), path)
    keypoints, auxiliary = check_group(file, KEYPOINTS, path), check_group(file, 'auxiliary', path)
    # This table says how many samples, slots and joints there are; all others must agree with it.
    check_table(keypoints, 'keypoints_2d', Table('f', (None, None, None, 2)), {}, path)
    counts = dict(zip('NVJ', keypoints['keypoints_2d'].shape)) | {'S': _n_betas(file, meta, path)}
    check_tables(keypoints, KEYPOINT_TABLES, counts, path)
    images = check_group(file, 'multiview_images', path)
    check_table(images, 'view_mask', Table('b', ('N', 'V')), counts, path)
    for slot in range(counts['V']):
        check_table(images, f'image_jpeg_view_{slot}', Table('v', ('N',)), counts, path)
    if PARAMETERS in file:
        check_tables(check_group(file, PARAMETERS, path), PARAMETER_TABLES, counts, path)
    check_tables(auxiliary, {name: Table('b', ('N',), optional=True) for name in FLAGS}, counts, path)
    check_tables(auxiliary, CANONICAL, counts, path)
    check_table(auxiliary, 'camera_names', Table('t', ('N',), optional=True), counts, path)
    check_table(auxiliary, 'frame_idx', Table('i', ('N',)), counts, path)
    check_table(auxiliary, 'session_name', Table('t', ('N',)), counts, path)
    names = meta.names('canonical_camera_order')
    slots = _slots(file, len(names), path)
    _check_cameras(keypoints, slots, path)
    names, slots = _named_slots(auxiliary, names, slots, path)
    return SmilifyFacts(
        camera_names=names,
        target_resolution=meta.count('target_resolution', MOST_RESOLUTION, 1),
        crop_mode=meta.text('crop_mode') if 'crop_mode' in meta else '',
        world_scale=meta.positive('world_scale') if 'world_scale' in meta else None,
        scale_matched='match_scale_target_extent' in meta,
        n_betas=counts['S'],
        n_joints=counts['J'],
        slots=slots,
        frames=read_frames(auxiliary, path),
        sessions=read_texts(auxiliary, 'session_name', path),
    )


def _n_betas(file: h5py.File, meta: Attributes, path: Path) -> int:
    if f'{PARAMETERS}/betas' not in file:
        return meta.count('n_betas', MOST_BETAS)
    check_table(file[PARAMETERS], 'betas', Table('f', (None, None)), {}, path)
    return file[f'{PARAMETERS}/betas'].shape[1]


def _slots(file: h5py.File, n_cameras: int, path: Path) -> np.ndarray:
    """Read which camera each slot is; -1 where there is no view."""
    slots = whole_table(file[KEYPOINTS], 'camera_indices', path).astype(np.int64)
    slots[~whole_table(file['multiview_images'], 'view_mask', path)] = -1
    if slots.size and slots.max() >= n_cameras:
        refuse(
            path, f'{KEYPOINTS}/camera_indices', f'number cameras from 0 to {n_cameras - 1}', int(slots.max())
        )
    ordered = np.sort(slots, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        refuse(path, f'{KEYPOINTS}/camera_indices', 'name a camera once a sample', 'one twice')
    return slots


def _check_cameras(keypoints: h5py.Group, slots: np.ndarray, path: Path) -> None:
    """Check the cameras of all views that there are.

    Raises:
        BadFileError: identity matrices in place of cameras, or numbers that no camera has.
    """
    used = slots >= 0
    cameras = {
        name: whole_table(keypoints, table, path)[used].astype(np.float64) for name, table in CAMERAS.items()
    }
    check_finite(cameras['K'], f'{KEYPOINTS}/{CAMERAS["K"]}', path)
    placeholders = int(np.isclose(cameras['K'], np.eye(3)).all((1, 2)).sum())
    if placeholders:
        refuse(
            path,
            'cameras',
            'be calibrated',
            f'{placeholders} of {len(cameras["K"])} views have an identity matrix in place of a camera',
            'Make the file from calibrated sessions.',
        )
    check_cameras(cameras, {name: f'{KEYPOINTS}/{table}' for name, table in CAMERAS.items()}, path)


def _named_slots(
    auxiliary: h5py.Group, order: tuple[str, ...], slots: np.ndarray, path: Path
) -> tuple[tuple[str, ...], np.ndarray]:
    """Name cameras as each sample lists them, slot by slot: the merger's own order is of slots, not of cameras.

    Raises:
        BadFileError: samples that list other cameras than the file's order does.
    """
    if 'camera_names' not in auxiliary:
        return order, slots
    listed = [text.split(',') if text else [] for text in read_texts(auxiliary, 'camera_names', path)]
    # Preprocessors fill slots without gaps, or give each camera its own.
    rows = [(i, np.flatnonzero(slots[i] >= 0), names) for i, names in enumerate(listed)]
    if any(len(used) and used[-1] >= len(names) for _, used, names in rows):
        return order, slots
    generic = all(name == f'slot_{v}' for v, name in enumerate(order))
    known = tuple(sorted({names[v] for _, used, names in rows for v in used})) if generic else order
    numbers = {name: c for c, name in enumerate(known)}
    named = np.full_like(slots, -1)
    for i, used, names in rows:
        here = [numbers.get(names[v], -1) for v in used]
        if len(set(here)) < len(here) or (not generic and here != slots[i, used].tolist()):
            stated = [order[c] for c in slots[i, used]]
            refuse(path, f'auxiliary/camera_names of sample {i}', f'name its cameras {stated}', names)
        named[i, used] = here
    return known, named


def read_frames(auxiliary: h5py.Group, path: Path) -> Int[np.ndarray, 'N']:
    """Read frame numbers.

    Raises:
        BadFileError: a number that no video has.
    """
    frames = whole_table(auxiliary, 'frame_idx', path).astype(np.int64)
    if len(frames) and not 0 <= frames.min() <= frames.max() <= MOST_FRAME:
        refuse(path, 'auxiliary/frame_idx', f'be from 0 to {MOST_FRAME}', int(frames.min()))
    return frames


def read_texts(group: h5py.Group, table: str, path: Path) -> tuple[str, ...]:
    """Read a table of texts; names of sessions must serve as those of folders.

    Raises:
        BadFileError: bytes that are no text, or a name that leaves its folder.
    """
    texts = []
    with reading(path, f'{group.name.strip("/")}/{table}'):
        for value in whole_table(group, table, path):
            texts.append(value.decode() if isinstance(value, bytes) else str(value))
    for name in set(texts) if table == 'session_name' else ():
        check_session_name(name, str(path))
    return tuple(texts)


def whole_table(group: h5py.Group, name: str, path: Path) -> np.ndarray:
    """Read a table of a size that can be.

    Raises:
        BadFileError: it is larger, or cannot be read.
    """
    table = group[name]
    check_budget(path, table.name, table.size * table.dtype.itemsize, MOST_ARRAY_BYTES)
    with reading(path, table.name.strip('/')):
        return table[()]


IMAGE_TABLES = ('image_jpeg', 'rgb_jpeg')
LABEL_TABLES = {
    'keypoints_2d': Table('f', ('N', 'J', 2)),
    'keypoint_visibility': Table('f', ('N', 'J')),
}
TEXTS = ('session_name', 'camera_name', 'original_path')


@dataclass(frozen=True)
class SingleViewTables:
    """N single images: labels (x, y) in stored px as the file counts them, who they are of, by what camera."""

    path: Path
    side: int
    crop_mode: str
    image_table: str
    keypoints: Float[np.ndarray, 'N J 2']
    visibility: Float[np.ndarray, 'N J']
    sessions: tuple[str, ...]
    cameras: tuple[str, ...]
    labels: tuple[str, ...]
    frames: Int[np.ndarray, 'N']

    @property
    def n_joints(self) -> int:
        """J."""
        return self.keypoints.shape[1]


def read_single_views(file: h5py.File, path: Path) -> SingleViewTables:
    """Look a whole file through and read all but its images.

    Raises:
        BadFileError: anything that breaks a rule; the message names file and table.
    """
    check_hdf5(file, path, WHAT)
    meta = Attributes(check_group(file, 'metadata', path), path)
    keypoints, images = check_group(file, 'keypoints', path), check_group(file, 'images', path)
    auxiliary = check_group(file, 'auxiliary', path)
    check_table(keypoints, 'keypoints_2d', Table('f', (None, None, 2)), {}, path)
    counts = dict(zip('NJ', keypoints['keypoints_2d'].shape))
    check_tables(keypoints, LABEL_TABLES, counts, path)
    result = [name for name in IMAGE_TABLES if name in images]
    if not result:
        refuse(path, 'images', f'hold one of {IMAGE_TABLES}', sorted(images))
    check_table(images, result[0], Table('v', ('N',)), counts, path)
    check_tables(auxiliary, {name: Table('t', ('N',), optional=True) for name in TEXTS}, counts, path)
    numbered = check_table(auxiliary, 'frame_idx', Table('i', ('N',), optional=True), counts, path)
    n = counts['N']
    visibility = whole_table(keypoints, 'keypoint_visibility', path).astype(np.float64)
    check_finite(visibility, 'keypoints/keypoint_visibility', path)
    visibility = np.clip(visibility, 0.0, 1.0)
    xy = whole_table(keypoints, 'keypoints_2d', path).astype(np.float64)
    check_finite(xy[visibility > 0], 'keypoints/keypoints_2d', path)
    side = meta.count('target_resolution', MOST_RESOLUTION, 1)
    texts = {name: read_texts(auxiliary, name, path) for name in TEXTS if name in auxiliary}
    return SingleViewTables(
        path=path,
        side=side,
        crop_mode=meta.text('crop_mode') if 'crop_mode' in meta else '',
        image_table=f'images/{result[0]}',
        keypoints=np.where(visibility[..., None] > 0, xy[..., ::-1] * side, 0.0),
        visibility=visibility,
        sessions=texts.get('session_name', (path.stem,) * n),
        cameras=texts.get('camera_name', ('',) * n),
        labels=texts.get('original_path', ('',) * n),
        frames=read_frames(auxiliary, path) if numbered else np.arange(n),
    )
