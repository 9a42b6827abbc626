"""Camera calibrations as anipose writes them: `calibration.toml`."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, time
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor

from smilfit.files import reading, shorten, write_text
from smilfit.files.budget import check_budget
from smilfit.files.text_files import read_toml
from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle
from smilfit.registry import did_you_mean
from smilfit.structures import Cameras

CALIBRATION_FILE = 'calibration.toml'
MOST_CAMERAS = 1000
_LONGEST_NAME = 200
# Turns of a rotation vector beyond this lose the digits of the angle.
_MOST_RAD = 1e3
_MOST_SIDE_PX = 100_000
_KEYS = ('name', 'size', 'matrix', 'distortions', 'rotation', 'translation')
_SHAPES = {'size': (2,), 'matrix': (3, 3), 'rotation': (3,), 'translation': (3,)}


def read_calibration(path: str | Path, unit: str | None = None) -> Cameras:
    """Read the cameras of an anipose calibration, in float64 and in the file's order.

    Every table with a `matrix` is a camera (anipose names them `cam_0`, `cam_1`, …); `[metadata]` may state
    the `unit` of the translations.

    Args:
        path: the toml file.
        unit: unit of the translations, where the caller knows it; it must not contradict the file.

    Raises:
        ValueError: malformed TOML, a missing or ill-shaped key, a fisheye lens, more than five lens
            coefficients, two cameras of one name, no camera at all, two different units.
    """
    path = Path(path)
    with reading(path, 'the calibration'):
        return _cameras(path, read_toml(path, 'the calibration'), unit)


class CameraTable(TypedDict):
    """A camera's numbers as a calibration states them, float64; `distortions` are five."""

    size: Tensor
    matrix: Tensor
    distortions: Tensor
    rotation: Tensor
    translation: Tensor


def stacked_cameras(names: Sequence[str], tables: Sequence[CameraTable], unit: str | None) -> Cameras:
    """Return the cameras of these names and numbers."""
    return Cameras(
        names=tuple(names),
        K=torch.stack([table['matrix'] for table in tables]),
        R=axis_angle_to_rotmat(torch.stack([table['rotation'] for table in tables])),
        t=torch.stack([table['translation'] for table in tables]),
        size=torch.stack([table['size'] for table in tables]),
        dist=torch.stack([table['distortions'] for table in tables]),
        unit=unit,
    )


def _cameras(path: Path, tables: dict[str, object], unit: str | None) -> Cameras:
    metadata = tables.get('metadata', {})
    cameras = {key: table for key, table in tables.items() if key != 'metadata' and isinstance(table, dict)}
    if not cameras:
        raise ValueError(
            f'{path}: the file must hold one table a camera, such as [cam_0]; got none. Is it another file?'
        )
    check_budget(path, 'cameras', len(cameras), MOST_CAMERAS, 'in number')
    read = [_read_camera(f'{path}: [{shorten(key)}]', key, table) for key, table in cameras.items()]
    names = [name for name, _ in read]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f'{path}: camera names must differ; got {shorten(twice[0])!r} more than once.')
    return stacked_cameras(names, [table for _, table in read], _agree_on_unit(path, unit, metadata))


def write_calibration(path: str | Path, cameras: Cameras) -> Path:
    """Write cameras as an anipose calibration; the unit goes into `[metadata]`. Numbers round-trip exactly.

    Raises:
        ValueError: cameras of more than one frame.
    """
    if cameras.K.ndim != 3:
        raise ValueError(
            f'write_calibration: cameras must be those of one session, K of shape (C, 3, 3); '
            f'got {tuple(cameras.K.shape)}. Select one frame.'
        )
    cameras = cameras.to('cpu', torch.float64)
    dist = torch.zeros(len(cameras), 5, dtype=torch.float64) if cameras.dist is None else cameras.dist
    rotations = rotmat_to_axis_angle(cameras.R)
    lines = []
    for i, name in enumerate(cameras.names):
        lines += [
            f'[cam_{i}]',
            f'name = {json.dumps(name, ensure_ascii=False)}',
            f'size = {[round(x) for x in cameras.size[i].tolist()]}',
            f'matrix = {cameras.K[i].tolist()}',
            f'distortions = {dist[i].tolist()}',
            f'rotation = {rotations[i].tolist()}',
            f'translation = {cameras.t[i].tolist()}',
            '',
        ]
    lines.append('[metadata]')
    if cameras.unit is not None:
        lines.append(f'unit = {json.dumps(cameras.unit, ensure_ascii=False)}')
    return write_text(path, '\n'.join(lines) + '\n')


def replace_camera(path: str | Path, out: str | Path, cameras: Cameras, name: str) -> Path:
    """Copy an anipose calibration with other numbers for one camera; all else is as it was, bit for bit.

    What anipose keeps beside cameras, such as the error in `[metadata]`, stays. Comments do not.

    Args:
        path: the calibration.
        out: the copy.
        cameras: where the camera's new numbers are.
        name: of the camera.

    Raises:
        ValueError: `path` is no calibration.
        KeyError: it has no such camera, with the near names.
    """
    path = Path(path)
    read_calibration(path).select((name,))
    one = cameras.select((name,)).to('cpu', torch.float64)
    tables = read_toml(path, 'the calibration')
    key = next(k for k, t in tables.items() if isinstance(t, dict) and _name_of(k, t) == name)
    dist = torch.zeros(1, 5, dtype=torch.float64) if one.dist is None else one.dist
    new = {
        'matrix': one.K[0].tolist(),
        'distortions': dist[0].tolist(),
        'rotation': rotmat_to_axis_angle(one.R)[0].tolist(),
        'translation': one.t[0].tolist(),
    }
    tables[key] = tables[key] | new
    return write_text(out, _toml(tables))


def _name_of(key: str, table: dict[str, object]) -> str | None:
    return str(table.get('name', key)) if 'matrix' in table and key != 'metadata' else None


def _toml(tables: dict[str, object]) -> str:
    """Write tables of plain values, those outside of tables first."""
    loose = [f'{_key(k)} = {_value(v)}' for k, v in tables.items() if not isinstance(v, dict)]
    lines = [*loose, ''] if loose else []
    for key, table in tables.items():
        if isinstance(table, dict):
            lines += [f'[{_key(key)}]', *(f'{_key(k)} = {_value(v)}' for k, v in table.items()), '']
    return '\n'.join(lines)


def _key(key: str) -> str:
    return key if key.replace('_', '').replace('-', '').isalnum() and key.isascii() else json.dumps(key)


def _value(value: object) -> str:
    if isinstance(value, dict):
        return '{ ' + ', '.join(f'{_key(k)} = {_value(v)}' for k, v in value.items()) + ' }'
    if isinstance(value, list):
        return f'[{", ".join(map(_value, value))}]'
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, str):
        # JSON escapes are TOML's, but for a surrogate pair.
        return json.dumps(value, ensure_ascii=False).replace('\x7f', '\\u007F')
    if isinstance(value, int | float):
        # inf and nan are written alike.
        return repr(value)
    # What is left are dates, whose ISO form is TOML's.
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _agree_on_unit(path: Path, unit: str | None, metadata: object) -> str | None:
    stated = metadata.get('unit') if isinstance(metadata, dict) else None
    if stated is not None and not isinstance(stated, str):
        raise ValueError(f'{path}: [metadata] unit must be a string such as "mm"; got {shorten(stated)}.')
    if unit is not None and stated is not None and unit != stated:
        raise ValueError(
            f'{path}: the unit must be one; the file says {shorten(stated)!r}, the caller {unit!r}.'
        )
    return unit if unit is not None else stated


def _read_camera(where: str, key: str, table: dict[str, object]) -> tuple[str, CameraTable]:
    if table.get('fisheye', False):
        raise ValueError(
            f'{where}: the lens must be a pinhole with up to five coefficients; got fisheye = true. '
            'Calibrate with the pinhole model, or undistort videos and labels first.'
        )
    camera = check_camera(where, table)
    return _name(where, table.get('name', key)), camera


def check_camera(where: str, table: Mapping[str, object]) -> CameraTable:
    """Read a camera's `size`, `matrix`, `distortions`, `rotation` and `translation`, float64, five coefficients.

    Args:
        where: who states it, for messages.
        table: the numbers by name.

    Raises:
        ValueError: a missing or ill-shaped one, or numbers that no camera has.
    """
    missing = [name for name in _KEYS if name not in table and name != 'name']
    if missing:
        raise ValueError(
            f'{where}: keys {", ".join(_KEYS[1:])} must be there; got no {missing[0]!r}. '
            f'{did_you_mean(missing[0], table)} Export the calibration again.'
        )
    size, matrix, rotation, translation = (
        _numbers(where, name, table[name], shape) for name, shape in _SHAPES.items()
    )
    if bool((rotation.abs() > _MOST_RAD).any()):
        raise ValueError(
            f'{where}: rotation must be an axis times an angle in rad; got {rotation.tolist()}. Is it in '
            'degrees, or a matrix?'
        )
    if not bool(((size >= 1) & (size <= _MOST_SIDE_PX)).all()):
        raise ValueError(
            f'{where}: size must be width and height, 1 to {_MOST_SIDE_PX} px; got {size.tolist()}. '
            'Correct it.'
        )
    if matrix[2].tolist() != [0.0, 0.0, 1.0] or not bool((matrix.diag() > 0).all()):
        raise ValueError(
            f'{where}: matrix must be [[fx, s, cx], [0, fy, cy], [0, 0, 1]] with positive focal lengths; '
            f'got {table["matrix"]}.'
        )
    given = _numbers(where, 'distortions', table['distortions'], None)
    if len(given) > 5:
        raise ValueError(
            f'{where}: distortions must be up to five numbers (k1, k2, p1, p2, k3); got {len(given)}. '
            'Calibrate with the five-parameter model.'
        )
    distortions = torch.cat((given, given.new_zeros(5 - len(given))))
    return CameraTable(
        size=size, matrix=matrix, distortions=distortions, rotation=rotation, translation=translation
    )


def _name(where: str, name: object) -> str:
    if not isinstance(name, str | int) or not 0 < len(str(name)) <= _LONGEST_NAME:
        raise ValueError(
            f'{where}: name must be text of 1 to {_LONGEST_NAME} characters; got {shorten(name)}. Rename the camera.'
        )
    return str(name)


def _numbers(where: str, name: str, value: object, shape: tuple[int, ...] | None) -> Tensor:
    rule = 'a list of numbers' if shape is None else f'numbers of shape {"x".join(map(str, shape))}'
    try:
        tensor = torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ValueError(f'{where}: {name} must be {rule}; got {_shown(value)}. Correct it.') from None
    fits = tensor.ndim == 1 if shape is None else tuple(tensor.shape) == shape
    if not fits or not bool(tensor.isfinite().all()):
        raise ValueError(f'{where}: {name} must be {rule}, all finite; got {_shown(value)}. Correct it.')
    return tensor


def _shown(value: object) -> str:
    """Show a short list of plain values as it stands."""
    if isinstance(value, list) and len(value) <= 9 and all(isinstance(v, str | int | float) for v in value):
        return f'[{", ".join(shorten(v, 40) for v in value)}]'
    return shorten(value)
