"""Read rigs that other labs keep as arrays under names of their own: pickles (by the allow-list reader) and npz.

`array_keys.json` lists what each array may be called, the likeliest name first; names are compared without regard to
case. Files of SMAL, SMIL and SMPL are body models already and need no import.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np

from smilfit.body_models.data import SparseMatrix
from smilfit.body_models.files.model_arrays import as_array, read_pickle, whole_numbers
from smilfit.files import BadFileError, reading, shorten
from smilfit.files.numpy_files import npz_names, read_npz
from smilfit.rigs.read_rig import Rig, unique_joint_names
from smilfit.rigs.trees import check_no_loop

WHAT = 'a rig of arrays'
KEYS_FILE = Path(__file__).parent / 'array_keys.json'
NEEDED = ('vertices', 'faces', 'parents', 'weights')
# Joints that are stated and joints by the regressor may differ so much, a share of the size.
SAME_JOINTS = 0.01
_MOST_SHOWN = 30


@cache
def array_keys() -> dict[str, tuple[str, ...]]:
    """Return what each array may be called."""
    return {what: tuple(names) for what, names in json.loads(KEYS_FILE.read_text(encoding='utf-8')).items()}


def read_arrays(path: str | Path) -> Rig:
    """Read a `.pkl` or `.npz` that holds a dict of arrays.

    Vertices, faces, parents and skinning weights must be there, and rest joints or a regressor of them. Weights and
    regressor may stand either way round, and faces may count from 1.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: something is missing (the message lists what was found and what is needed), or does not fit.
    """
    path = Path(path)
    with reading(path, WHAT):
        raw = _arrays_of(path)
        result, used = _named(raw)
        missing = [what for what in NEEDED if what not in result]
        if 'joints' not in result and 'joint_regressor' not in result:
            missing.append('joints')
        if missing:
            raise BadFileError(_what_is_missing(path, raw, used, missing))
        return _rig(path, raw, result, used)


def _arrays_of(path: Path) -> Mapping[str, object]:
    if path.suffix.lower() == '.npz':
        known = {name.lower() for names in array_keys().values() for name in names}
        names = npz_names(path, WHAT)
        wanted = [name for name in names if name.lower() in known]
        return dict.fromkeys(names) | read_npz(path, wanted, WHAT)
    raw = read_pickle(path)
    if not isinstance(raw, dict):
        raise BadFileError(f'{path}: {WHAT} must be a dict; got {shorten(raw)}. Save the arrays by name.')
    return {str(key): value for key, value in raw.items()}


def _named(raw: Mapping[str, object]) -> tuple[dict[str, str], set[str]]:
    """Find which key is which array; one key serves once."""
    by_case: dict[str, str] = {}
    for key in raw:
        by_case.setdefault(key.lower(), key)
    result: dict[str, str] = {}
    for what, names in array_keys().items():
        for name in names:
            known = name if name in raw else by_case.get(name.lower())
            if known is not None and raw[known] is not None and known not in result.values():
                result[what] = known
                break
    return result, set(result.values())


def _what_is_missing(path: Path, raw: Mapping[str, object], used: set[str], missing: list[str]) -> str:
    valid = ', '.join(shorten(key, 40) for key in sorted(raw)[:_MOST_SHOWN]) or 'nothing'
    names = '; '.join(
        f'{"joints or joint_regressor" if what == "joints" else what} (such as '
        f'{", ".join((*array_keys()[what][:3], *(array_keys()["joint_regressor"][:1] if what == "joints" else ())))})'
        for what in missing
    )
    return (
        f'{path}: {WHAT} must hold vertices, faces, parents, weights and joints or a regressor of them; got {valid}, '
        f'of which {len(used)} are known. Missing: {names}. Save them under one of these names.'
    )


def _rig(path: Path, raw: Mapping[str, object], keys: Mapping[str, str], used: set[str]) -> Rig:
    def numbers(what: str) -> np.ndarray:
        array = as_array(raw[keys[what]], f'{path}: {keys[what]}')
        if array.dtype.kind not in 'iuf':
            raise BadFileError(
                f'{path}: {keys[what]} must be numbers; got {array.dtype}. Save it as numbers.'
            )
        return array

    notes = [f'{what.replace("_", " ")}: as {key} has it' for what, key in keys.items() if what != key]
    vertices = _shaped(path, keys['vertices'], numbers('vertices').astype(float), (None, 3))
    parents = _parents(path, keys['parents'], raw[keys['parents']])
    count, n_joints = len(vertices), len(parents)
    faces = whole_numbers(numbers('faces'), f'{path}: {keys["faces"]}')
    if faces.ndim == 2 and faces.shape[1] == 4:
        faces = np.concatenate((faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]))
        notes.append('faces of four corners are two triangles each')
    faces = _shaped(path, keys['faces'], faces, (None, 3))
    if faces.size and faces.min() == 1 and faces.max() == count:
        faces = faces - 1
        notes.append('faces counted from 1')
    if faces.size and not 0 <= faces.min() <= faces.max() < count:
        raise BadFileError(
            f'{path}: {keys["faces"]} must name vertices 0 to {count - 1}; got {faces.min()} to {faces.max()}. Are '
            'they of this mesh?'
        )
    weights = _either_way(path, keys['weights'], numbers('weights').astype(float), count, n_joints)
    regressor = None
    if 'joint_regressor' in keys:
        key = keys['joint_regressor']
        regressor = _either_way(path, key, numbers('joint_regressor').astype(float), n_joints, count)
    joints = None
    if 'joints' in keys:
        joints = _shaped(path, keys['joints'], numbers('joints').astype(float), (n_joints, 3))
    regressor, joints = _agreed(vertices, regressor, joints, notes)
    names = unique_joint_names(_names(path, raw, keys, n_joints), notes)
    rest = np.tile(np.eye(4), (n_joints, 1, 1))
    rest[:, :3, 3] = joints
    left = sorted(set(raw) - used)
    if left:
        notes.append(f'not read: {", ".join(shorten(key, 40) for key in left[:_MOST_SHOWN])}')
    return Rig(
        name=path.stem,
        vertices=vertices,
        faces=faces,
        joint_names=names,
        parents=parents,
        rest=rest,
        weights=SparseMatrix.from_dense(weights),
        morphs=_morphs(path, keys, numbers, count),
        joint_regressor=None if regressor is None else SparseMatrix.from_dense(regressor),
        notes=tuple(notes),
    )


def _agreed(
    vertices: np.ndarray, regressor: np.ndarray | None, joints: np.ndarray | None, notes: list[str]
) -> tuple[np.ndarray | None, np.ndarray]:
    """Keep the regressor where it gives the joints that are stated, or none are."""
    if regressor is None:
        assert joints is not None
        return None, joints
    regressed = regressor @ vertices
    if joints is None:
        return regressor, regressed
    off = float(np.linalg.norm(regressed - joints, axis=1).max() / np.ptp(vertices, axis=0).max())
    if off <= SAME_JOINTS:
        return regressor, regressed
    notes.append(f'the regressor places joints {off:.1%} of the size off the stated ones, and is left out')
    return None, joints


def _shaped(path: Path, key: str, array: np.ndarray, shape: tuple[int | None, int]) -> np.ndarray:
    if array.ndim != 2 or any(want not in (None, have) for want, have in zip(shape, array.shape)):
        wanted = ', '.join('N' if n is None else str(n) for n in shape)
        raise BadFileError(
            f'{path}: {key} must have the shape ({wanted}); got {array.shape}. Is it of this rig?'
        )
    if not np.isfinite(array).all():
        raise BadFileError(f'{path}: {key} must be finite; some numbers are not. Mend the file.')
    return array


def _either_way(path: Path, key: str, array: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Take a matrix either way round."""
    return _shaped(
        path, key, array.T if array.shape == (columns, rows) != (rows, columns) else array, (rows, columns)
    )


def _parents(path: Path, key: str, table: object) -> np.ndarray:
    """Read parents, or the first row of a tree's table; what is no joint before or itself is a root."""
    array = as_array(table, f'{path}: {key}')
    array = array[0] if array.ndim == 2 and len(array) == 2 else array
    if array.ndim != 1 or not len(array):
        raise BadFileError(
            f'{path}: {key} must be a row of J numbers, or two; got {array.shape}. Save it so.'
        )
    if array.dtype.kind == 'u':
        array = np.minimum(array, len(array))
    parents = whole_numbers(array, f'{path}: {key}')
    outside = (parents < 0) | (parents >= len(parents)) | (parents == np.arange(len(parents)))
    parents = np.where(outside, -1, parents)
    check_no_loop(parents, f'{path}: {key}')
    return parents


def _names(path: Path, raw: Mapping[str, object], keys: Mapping[str, str], count: int) -> tuple[str, ...]:
    given = raw[keys['joint_names']] if 'joint_names' in keys else None
    if given is None:
        return tuple(f'joint_{j}' for j in range(count))
    names = [
        name.decode() if isinstance(name, bytes) else str(name) for name in np.asarray(given).ravel().tolist()
    ]
    if len(names) != count:
        raise BadFileError(
            f'{path}: {keys["joint_names"]} must name {count} joints; got {len(names)}. Are they of this rig?'
        )
    return tuple(names)


def _morphs(
    path: Path, keys: Mapping[str, str], numbers: Callable[[str], np.ndarray], count: int
) -> dict[str, np.ndarray]:
    if 'shape_directions' not in keys:
        return {}
    array, key = numbers('shape_directions').astype(float), keys['shape_directions']
    if array.ndim == 2 and 3 * count in array.shape:
        # One direction a row or a column, vertices one after the other.
        array = (array if array.shape[0] == 3 * count else array.T).reshape(count, 3, -1)
    if array.ndim == 3 and array.shape[1:] == (count, 3):
        array = np.moveaxis(array, 0, -1)
    if array.ndim != 3 or array.shape[:2] != (count, 3):
        raise BadFileError(
            f'{path}: {key} must have the shape ({count}, 3, S); got {array.shape}. Save it so.'
        )
    return {f'shape_{i}': array[..., i] for i in range(array.shape[2])}
