"""Hostile npz files of body models: arrays of another kind, archives that are damaged or larger than they look."""

import io
import struct
import warnings
import zipfile
from typing import Any

import numpy as np

CUTS, FLIPS = 6, 20
N_VERTICES, JOINTS = 6, ('root', 'neck', 'head')


def small_arrays() -> dict[str, np.ndarray]:
    """Make the same kind of body as the arrays of an npz."""
    rng = np.random.default_rng(0)
    return {
        'v_template': rng.normal(size=(N_VERTICES, 3)),
        'f': np.array([[0, 1, 2], [3, 4, 5]]),
        'weights': np.repeat(np.eye(3), 2, 0),
        'kintree_table': np.array([[-1, 0, 1], [0, 1, 2]]),
        'J': rng.normal(size=(3, 3)),
        'J_regressor': np.zeros((3, N_VERTICES)),
        'J_names': np.array(JOINTS),
        'shapedirs': rng.normal(size=(N_VERTICES, 3, 2)),
        'shape_cov': np.eye(2),
    }


def npz_changes() -> dict[str, dict[str, np.ndarray | None]]:
    """Arrays of another kind, shape or meaning."""
    whole = small_arrays()
    bad = whole['v_template'].copy()
    bad[0, 0] = np.nan
    values: dict[str, tuple[str, Any]] = {
        'face_half': ('f', whole['f'] + 0.5), 'face_far': ('f', whole['f'] + 9),
        'face_negative': ('f', whole['f'] - 1),
        'face_true': ('f', whole['f'] > 1), 'face_text': ('f', whole['f'].astype(str)),
        'face_nan': ('f', whole['f'] + np.nan),
        'face_huge': ('f', whole['f'] + 1e30), 'vertex_nan': ('v_template', bad),
        'vertex_huge': ('v_template', bad * 0 + 1e30),
        'vertex_text': ('v_template', bad.astype(str)), 'vertex_complex': ('v_template', bad.astype(complex)),
        'vertex_flat': ('v_template', np.arange(18.0)), 'vertex_none': ('v_template', np.zeros((0, 3))),
        'vertex_scalar': ('v_template', np.array(1.0)), 'weights_shape': ('weights', np.eye(3)),
        'weights_sum': ('weights', whole['weights'] * 2), 'weights_inf': ('weights', whole['weights'] + np.inf),
        'tree_cycle': ('kintree_table', np.array([[-1, 2, 1], [0, 1, 2]])),
        'tree_flat': ('kintree_table', np.arange(3)),
        'tree_none': ('kintree_table', np.zeros((2, 0), int)), 'tree_scalar': ('kintree_table', np.array(0)),
        'tree_half': ('kintree_table', np.array([[-1, 0.5, 1], [0, 1, 2]])), 'joints_shape': ('J', np.zeros((2, 3))),
        'shape_wide': ('shapedirs', np.zeros((N_VERTICES, 3, 2, 2)) + 1),
        'shape_skew': ('shape_cov', np.array([[1, 5], [0, 1.0]])),
        'dates': ('v_template', np.zeros((N_VERTICES, 3), 'M8[s]')), 'names_numbers': ('J_names', np.arange(3)),
        'plane_far': ('sym_verts', np.array([10**6])), 'fields': ('f', np.zeros((2, 3), [('a', 'i8')])),
        'objects': ('f', np.array([[{}]], dtype=object)), 'missing': ('weights', None),
    }  # fmt: skip
    return {f'npz_{name}': {key: value} for name, (key, value) in values.items()}


def npz_bytes(whole: bytes) -> dict[str, bytes]:
    """Archives that are cut, damaged or far larger than they look."""
    result = {f'npz_cut_{i}': whole[: len(whole) * i // CUTS] for i in range(CUTS)}
    result['npz_bomb'] = _archive(
        {'v_template': _header((1 << 29, 3), '<f8') + b'\0' * (1 << 26)}, zipfile.ZIP_DEFLATED
    )
    result['npz_claims'] = _archive({'v_template': _header((1 << 40, 3), '<f8') + b'\0' * 100})
    result['npz_overflow'] = _archive({'v_template': _header((1 << 62, 1 << 62), '<f8')})
    result['npz_negative'] = _archive({'v_template': _header((-1, -3), '<f8') + b'\0' * 24})
    result['npz_pickle'] = _archive(
        {'v_template': _header((1,), '|O') + b'\x80\x04cos\nsystem\n(S"true"\ntR.'}
    )
    result['npz_deep_header'] = _archive(
        {'v_template': b'\x93NUMPY\x01\x00' + struct.pack('<H', 9000) + b'(' * 9000}
    )
    result['npz_no_array'] = _archive({'v_template': b'nothing'})
    result['npz_lies'] = _lying(whole)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        result['npz_twice'] = _archive({'f': b'x'}, start=whole)
    draw = np.random.default_rng(0)
    for i in range(FLIPS):
        damaged = bytearray(whole)
        damaged[draw.integers(len(whole))] ^= 1 << int(draw.integers(8))
        result[f'flip_{i}'] = bytes(damaged)
    return result


def _lying(whole: bytes) -> bytes:
    """Let the archive's directory claim that its first array has 4 GB."""
    data = bytearray(whole)
    at = data.index(b'PK\x01\x02')
    data[at + 24 : at + 28] = struct.pack('<I', 0xFFFFFFFE)
    return bytes(data)


def _header(shape: tuple[int, ...], kind: str) -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b'\n'
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(text)) + text


def _archive(members: dict[str, bytes], method: int = zipfile.ZIP_STORED, start: bytes = b'') -> bytes:
    buffer = io.BytesIO(start)
    with zipfile.ZipFile(buffer, 'a', method) as archive:
        for name, data in members.items():
            archive.writestr(f'{name}.npy', data)
    return buffer.getvalue()
