"""Read measurements from a file of a user's: TOML or JSON, one table a measurement.

    [front_leg]
    kind = "limb"
    from = "shoulder_l"
    to = "paw_l"

`docs/measurements.md` lists the kinds and their keys.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smilfit.body_models import BodyModelData
from smilfit.body_models.keypoint_rows import keypoint_definitions
from smilfit.files import BadFileError, shorten
from smilfit.files.strict_json import read_strict_json
from smilfit.files.toml_files import read_toml
from smilfit.measurements.definitions import (
    Angle,
    BodyVolume,
    Chain,
    Distance,
    Geodesic,
    Girth,
    Measurement,
    SurfaceArea,
)
from smilfit.measurements.geometry import KEYPOINT, VERTEX, Place
from smilfit.registry import UnknownNameError, did_you_mean, reject_unknown

WHAT = 'a file of measurements'
MOST_BYTES = 1 << 22
PERIMETERS = ('hull', 'section')
# By kind: keys that must be there, and those that may.
_KEYS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    'distance': (('points',), ()),
    'chain': (('points',), ()),
    'limb': (('from', 'to'), ()),
    'angle': (('points',), ()),
    'geodesic': (('points',), ()),
    'girth': (('bone',), ('at', 'perimeter')),
    'surface': ((), ('joints',)),
    'volume': ((), ()),
}
_COUNTS = {'distance': (2, 2), 'geodesic': (2, 2), 'angle': (3, 4), 'chain': (2, 1000)}


def read_measurements(path: str | Path, data: BodyModelData) -> tuple[Measurement, ...]:
    """Read the measurements of a file for a model.

    Args:
        path: TOML (`.toml`) or JSON (`.json`).
        data: the model, whose joints and keypoints are named.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: another ending, or a value that is none of its key's.
        UnknownNameError: an unknown kind, key, joint or keypoint, with the near ones.
    """
    path = Path(path)
    if path.suffix == '.json':
        tables = read_strict_json(path, WHAT, MOST_BYTES)
    elif path.suffix == '.toml':
        tables = read_toml(path, WHAT, MOST_BYTES)
    else:
        raise BadFileError(f'{path}: {WHAT} must end in .toml or .json; got {path.suffix!r}. Rename it.')
    if not tables:
        raise BadFileError(f'{path}: {WHAT} must hold one; it is empty. Add a table [name] with its kind.')
    return tuple(_measurement(name, table, data, path) for name, table in tables.items())


def _measurement(name: str, table: Any, data: BodyModelData, path: Path) -> Measurement:
    where = f'{path}: {shorten(name)}'
    if not isinstance(table, dict):
        raise BadFileError(
            f'{where} must be a table with its kind; got {shorten(table)}. Write [{shorten(name)}].'
        )
    kind = table.get('kind')
    if not isinstance(kind, str) or kind not in _KEYS:
        raise UnknownNameError(f'{where}: no kind {shorten(kind)!r}. {did_you_mean(str(kind), _KEYS)}')
    required, optional = _KEYS[kind]
    reject_unknown(where, 'key', (key for key in table if key != 'kind'), (*required, *optional))
    for key in required:
        if key not in table:
            raise BadFileError(
                f'{where}: a {kind} must have {key!r}; got {", ".join(table)}. Add it: docs/measurements.md.'
            )
    if kind in _COUNTS:
        low, high = _COUNTS[kind]
        points = _places(table['points'], where, low, high, data)
        pair = (points[0], points[1])
        if kind == 'distance':
            return Distance(name, pair)
        if kind == 'geodesic':
            return Geodesic(name, pair)
        return Chain(name, points) if kind == 'chain' else Angle(name, points)
    if kind == 'limb':
        ends = [_joint(table[key], f'{where}.{key}', data) for key in ('from', 'to')]
        return Chain(name, joints_between(data, ends[0], ends[1], where))
    if kind == 'girth':
        return _girth(name, table, data, where)
    if kind == 'surface':
        joints = table.get('joints', [])
        if not isinstance(joints, list):
            raise BadFileError(f'{where}.joints must be a list; got {shorten(joints)}. Name joints in it.')
        return SurfaceArea(name, tuple(_joint(joint, f'{where}.joints', data) for joint in joints))
    return BodyVolume(name)


def _girth(name: str, table: Mapping[str, Any], data: BodyModelData, where: str) -> Girth:
    at, perimeter = table.get('at', 0.5), table.get('perimeter', 'hull')
    if isinstance(at, bool) or not isinstance(at, (int, float)) or not 0 <= at <= 1:
        raise BadFileError(
            f"{where}.at must be a share of the bone's way, from 0 to 1; got {shorten(at)}. 0.5 is its middle."
        )
    if perimeter not in PERIMETERS:
        raise BadFileError(
            f'{where}.perimeter must be "hull" (a tape around it) or "section" (its own border); got '
            f'{shorten(perimeter)}. Choose one.'
        )
    bone = _places(table['bone'], f'{where}.bone', 2, 2, data)
    return Girth(name, (bone[0], bone[1]), float(at), perimeter == 'hull')


def _places(value: Any, where: str, low: int, high: int, data: BodyModelData) -> tuple[Place, ...]:
    if not isinstance(value, list) or not low <= len(value) <= high:
        count = f'{low}' if low == high else f'{low} to {high}'
        raise BadFileError(
            f'{where} must be a list of {count} places; got {shorten(value)}. Name them in it.'
        )
    return tuple(_place(item, where, data) for item in value)


def _place(value: Any, where: str, data: BodyModelData) -> Place:
    if isinstance(value, list) and value:
        return tuple(_name(item, where, data) for item in value)
    return _name(value, where, data)


def _name(value: Any, where: str, data: BodyModelData) -> str:
    if isinstance(value, str) and value.startswith(VERTEX):
        number = value.removeprefix(VERTEX)
        if not number.isdecimal() or int(number) >= data.n_vertices:
            raise BadFileError(
                f'{where}: a vertex must be {VERTEX}0 to {VERTEX}{data.n_vertices - 1}; got {shorten(value)!r}. '
                'Vertices are numbered as in the model file.'
            )
        return value
    known = keypoint_definitions(data)
    if not isinstance(value, str) or value.removeprefix(KEYPOINT) not in known:
        raise UnknownNameError(
            f'{where}: {data.name} has no joint or keypoint {shorten(value)!r}. {did_you_mean(str(value), known)}'
        )
    return value


def _joint(value: Any, where: str, data: BodyModelData) -> str:
    if not isinstance(value, str) or value not in data.joint_names:
        raise UnknownNameError(
            f'{where}: {data.name} has no joint {shorten(value)!r}. {did_you_mean(str(value), data.joint_names)}'
        )
    return value


def joints_between(data: BodyModelData, first: str, last: str, where: str) -> tuple[str, ...]:
    """List the joints on the way through the tree from one to another, both included.

    Raises:
        BadFileError: twice the same joint.
    """
    if first == last:
        raise BadFileError(
            f'{where}: the ends of a limb must differ; got {first!r} twice. Name its other end.'
        )
    up = [_to_root(data, joint) for joint in (first, last)]
    common = next(joint for joint in up[0] if joint in up[1])
    ahead = up[0][: up[0].index(common) + 1]
    return tuple(ahead + up[1][: up[1].index(common)][::-1])


def _to_root(data: BodyModelData, joint: str) -> list[str]:
    found, j = [], data.joint_names.index(joint)
    while j >= 0:
        found.append(data.joint_names[j])
        j = int(data.parents[j])
    return found
