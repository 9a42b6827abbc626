"""Hostile dataset files: a small valid one with one thing broken in each."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.hostile.hdf5_changes import (
    DEEP,
    Change,
    all_huge,
    changed,
    group_at,
    huge_chunk,
    link,
    many_groups,
    plain,
    raw_outside,
    replace_table,
    set_attribute,
    set_image,
    set_session_attribute,
    set_values,
    table_at,
    unwritten,
    virtual,
    without,
    without_attribute,
)
from tests.hostile.small_files import SAMPLES, SIDE, jpeg_that_claims, png_that_claims, write_small_store

CUTS, FLIPS = 10, 40
ATTRIBUTES = (
    'format', 'version', 'complete', 'n_complete', 'fingerprint', 'body_model_file', 'body_model_hash',
    'keypoint_names', 'joint_names', 'n_betas', 'camera_names', 'crop_mode', 'target_resolution', 'undistorted',
    'confidence_threshold', 'options', 'report',
)  # fmt: skip
TABLES = (
    'samples/session', 'samples/frame', 'samples/view_mask', 'samples/affine', 'samples/keypoints2d',
    'samples/confidence2d', 'samples/keypoints3d', 'samples/confidence3d', 'samples/image_start',
    'samples/image_length', 'samples/mask_start', 'images/jpeg', 'params/known', 'params/betas', 'params/scale',
    'sessions/0000/K', 'sessions/0000/R', 'sessions/0000/t', 'sessions/0000/dist', 'sessions/0000/size',
)  # fmt: skip
SESSION_NAMES = ('../../X', '/abs', '', '.', '..', 'a/../../b', 'a\\b', 'C:x', 'a\nb', 'x' * 5000, 'a//b')


def hostile_stores(folder: Path) -> dict[str, Path]:
    """Write them all, and `whole.h5`, which is none.

    What begins with `flip` may be read as the whole one is; what begins with `harmless` is.

    Returns:
        Name of the case -> file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = write_small_store(folder / 'whole.h5')
    result = {}
    changes = attribute_changes() | table_changes() | link_changes() | name_changes() | value_changes()
    for name, change in (changes | image_changes()).items():
        result[name] = changed(whole, folder / f'{name}.h5', change)
    return result | _damaged(whole, folder)


def attribute_changes() -> dict[str, Change]:
    """Attributes that are missing, of another type, or say what cannot be."""
    changes = {f'attribute_{name}_missing': without_attribute(name) for name in ATTRIBUTES}
    # The reader of a float takes any number.
    odd = {name: np.arange(3.0) for name in ATTRIBUTES}
    changes |= {f'attribute_{name}_array': set_attribute(name, value) for name, value in odd.items()}
    values: dict[str, tuple[str, Any]] = {
        'version_99': ('version', 99), 'version_negative': ('version', -1), 'complete_text': ('complete', 'yes'),
        'complete_false': ('complete', False), 'n_complete_huge': ('n_complete', 10**12),
        'n_complete_negative': ('n_complete', -1), 'n_complete_less': ('n_complete', SAMPLES - 1),
        'n_complete_float': ('n_complete', 6.0), 'n_betas_huge': ('n_betas', 10**12),
        'n_betas_negative': ('n_betas', -1),
        'resolution_zero': ('target_resolution', 0), 'resolution_huge': ('target_resolution', 10**9),
        'resolution_other': ('target_resolution', 2 * SIDE), 'names_empty': ('keypoint_names', h5py.Empty('f')),
        'names_no_json': ('keypoint_names', '["root"'), 'names_a_dict': ('keypoint_names', '{"root": 1}'),
        'names_numbers': ('joint_names', '[1, 2, 3, 4]'), 'names_deep': ('joint_names', DEEP),
        'names_fewer': ('keypoint_names', '["root"]'), 'cameras_twice': ('camera_names', '["left", "left"]'),
        'cameras_none': ('camera_names', '[]'), 'report_deep': ('report', DEEP), 'report_list': ('report', '[]'),
        'options_deep': ('options', DEEP), 'faults_list': ('faults', '[1]'), 'faults_key': ('faults', '{"-1": "x"}'),
        'faults_far': ('faults', '{"99": "x"}'), 'faults_number': ('faults', '{"1": 2}'),
        'hash_bytes': ('body_model_hash', np.bytes_(b'\xff\xfe\xff')),
    }  # fmt: skip
    return changes | {f'attribute_{name}': set_attribute(*pair) for name, pair in values.items()}


def table_changes() -> dict[str, Change]:
    """Tables that are missing, of another kind or shape, or claim what is not there."""
    changes = {f'table_{plain(name)}_missing': without(name) for name in TABLES}
    for name in TABLES:
        changes[f'table_{plain(name)}_text'] = replace_table(name, lambda old: np.full(old.shape, b'x'))
        changes[f'table_{plain(name)}_complex'] = replace_table(name, lambda old: old.astype(np.complex128))
        changes[f'table_{plain(name)}_flat'] = replace_table(
            name, lambda old: old.ravel()[: max(1, old.size - 1)]
        )
    return changes | {
        'table_keypoints_int': replace_table('samples/keypoints2d', lambda old: old.astype(np.int64)),
        'table_keypoints_big_endian': replace_table('samples/keypoints2d', lambda old: old.astype('>f8')),
        'table_keypoints_half': replace_table('samples/keypoints2d', lambda old: old.astype(np.float16)),
        'table_keypoints_fields': replace_table(
            'samples/keypoints2d', lambda old: np.zeros(old.shape, [('a', 'f8')])
        ),
        'table_keypoints_scalar': replace_table('samples/keypoints2d', lambda old: np.float64(1)),
        'table_keypoints_null': replace_table('samples/keypoints2d', lambda old: h5py.Empty('f8')),
        'table_keypoints_group': group_at('samples/keypoints2d'),
        'table_one_row_more': replace_table('samples/frame', lambda old: np.append(old, 9)),
        'table_samples_table': table_at('samples'),
        'table_sessions_table': table_at('sessions'),
        'table_session_unwritten': unwritten('samples/session', (10**9,), np.int64, 10**9),
        'table_keypoints_unwritten': unwritten('samples/keypoints2d', (10**8, 2, 5, 2), np.float64, SAMPLES),
        'table_all_huge': all_huge,
        'table_chunk_huge': huge_chunk,
        'table_sizes_overflow': unwritten('samples/frame', (1 << 32, 1 << 31), np.int64, SAMPLES),
    }


def link_changes() -> dict[str, Change]:
    """Data that lie elsewhere."""
    return {
        'link_table_outside': link('samples/frame', h5py.ExternalLink('whole.h5', '/samples/frame')),
        'link_group_outside': link('sessions', h5py.ExternalLink('whole.h5', '/sessions')),
        'link_metadata_outside': link('metadata', h5py.ExternalLink('/etc/passwd', '/')),
        'link_to_nothing': link('samples/frame', h5py.SoftLink('/nowhere')),
        'link_to_itself': link('samples/frame', h5py.SoftLink('/samples/frame')),
        'link_upwards': link('sessions/0000/K', h5py.SoftLink('/sessions')),
        'link_virtual': virtual,
        'link_raw_bytes_outside': raw_outside,
        'link_session_number': lambda file: file.move('sessions/0001', 'sessions/0007'),
        'link_session_more': lambda file: file['sessions'].create_group('mine').attrs.update(name='x'),
        'harmless_deep_groups': many_groups,
    }


def name_changes() -> dict[str, Change]:
    """Names of sessions and cameras that lead out of a folder, or are there twice."""
    changes = {f'name_{i}': set_session_attribute('name', name) for i, name in enumerate(SESSION_NAMES)}
    return changes | {
        'name_twice': set_session_attribute('name', 'two'),
        'name_number': set_session_attribute('name', 5),
        'name_camera_unknown': set_session_attribute('camera_names', '["left", "other"]'),
        'name_camera_twice': set_session_attribute('camera_names', '["left", "left"]'),
        'name_cameras_one': set_session_attribute('camera_names', '["left"]'),
        'name_cameras_deep': set_session_attribute('camera_names', DEEP),
        'name_fps_inf': set_session_attribute('fps', np.inf),
        'name_unit_missing': lambda file: file['sessions/0000'].attrs.__delitem__('unit'),
    }


def value_changes() -> dict[str, Change]:
    """Numbers that no camera, image or animal has."""
    values: dict[str, tuple[str, Any, Any]] = {
        'K_nan': ('sessions/0000/K', (0, 0, 0), np.nan), 'K_singular': ('sessions/0000/K', 0, np.ones((3, 3))),
        'K_zero': ('sessions/0000/K', 0, 0.0), 'K_negative': ('sessions/0000/K', (0, 0, 0), -300.0),
        'K_last_row': ('sessions/0000/K', (0, 2, 2), 2.0), 'R_scaled': ('sessions/0000/R', 0, 2 * np.eye(3)),
        'R_mirror': ('sessions/0000/R', 0, np.diag([1.0, 1, -1])), 'R_inf': ('sessions/0000/R', (0, 0, 0), np.inf),
        't_huge': ('sessions/0000/t', 0, 1e30), 't_inf': ('sessions/0000/t', 0, -np.inf),
        'dist_nan': ('sessions/0000/dist', 0, np.nan), 'size_zero': ('sessions/0000/size', 0, 0.0),
        'size_huge': ('sessions/0000/size', 0, 1e12), 'betas_inf': ('sessions/0000/betas', 0, np.inf),
        'session_far': ('samples/session', 5, 2), 'session_negative': ('samples/session', 0, -1),
        'session_unsorted': ('samples/session', 0, 1), 'session_min': ('samples/session', 0, -(2**63)),
        'frame_negative': ('samples/frame', 0, -5), 'frame_max': ('samples/frame', 0, 2**63 - 1),
        'start_negative': ('samples/image_start', (0, 0), -1), 'start_far': ('samples/image_start', (0, 0), 10**9),
        'start_max': ('samples/image_start', (0, 0), 2**63 - 1),
        'length_negative': ('samples/image_length', (0, 0), -1),
        'length_far': ('samples/image_length', (0, 0), 10**12), 'length_zero': ('samples/image_length', (0, 0), 0),
        'length_longer': ('samples/image_length', (5, 1), 60_000), 'mask_start_far': ('samples/mask_start', 2, 10**9),
        'mask_length_max': ('samples/mask_length', 2, 2**63 - 1), 'affine_nan': ('samples/affine', 1, np.nan),
        'affine_singular': ('samples/affine', 1, 0.0), 'confidence_nan': ('samples/confidence2d', 3, np.nan),
        'confidence_two': ('samples/confidence2d', 3, 2.0), 'confidence_negative': ('samples/confidence3d', 3, -1.0),
        'keypoints_nan': ('samples/keypoints2d', 2, np.nan), 'keypoints_huge': ('samples/keypoints2d', 2, 1e30),
        'keypoints3d_inf': ('samples/keypoints3d', 2, np.inf), 'params_nan': ('params/body_pose', 2, np.nan),
        'scale_zero': ('params/scale', 2, 0.0), 'scale_negative': ('params/scale', 2, -1.0),
    }  # fmt: skip
    return {f'value_{name}': set_values(*change) for name, change in values.items()}


def image_changes() -> dict[str, Change]:
    """Bytes that are no image, or one of a size that fills the memory."""
    whole = jpeg_that_claims(SIDE, SIDE)
    images = {
        'png_huge': png_that_claims(60_000, 60_000), 'png_max': png_that_claims(2**31 - 1, 2**31 - 1),
        'jpeg_huge': jpeg_that_claims(65_500, 65_500), 'jpeg_other_size': jpeg_that_claims(64, 64),
        'jpeg_cut': whole[: len(whole) // 2], 'jpeg_zero': jpeg_that_claims(0, 0), 'text': b'GIF89a' + b'x' * 300,
        'bmp_huge': b'BM' + b'\x7f' * 300, 'tiff': b'II*\0' + b'\xff' * 300, 'one_byte': b'\xff',
        'png_no_data': png_that_claims(SIDE, SIDE)[:40],
    }  # fmt: skip
    return {f'picture_{name}': set_image(data) for name, data in images.items()}


def _damaged(whole: Path, folder: Path) -> dict[str, Path]:
    data, result = whole.read_bytes(), {}
    for i in range(CUTS):
        result[f'cut_{i}'] = folder / f'cut_{i}.h5'
        result[f'cut_{i}'].write_bytes(data[: len(data) * i // CUTS])
    draw = np.random.default_rng(0)
    for i in range(FLIPS):
        damaged = bytearray(data)
        damaged[draw.integers(len(data))] ^= 1 << int(draw.integers(8))
        result[f'flip_{i}'] = folder / f'flip_{i}.h5'
        result[f'flip_{i}'].write_bytes(damaged)
    return result
