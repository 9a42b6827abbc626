"""Rows of a joint lookup that say where a keypoint lies: at a joint or on the skin, with an offset.

Cells, numbers separated by spaces:

```
joint        a joint's name
vertices     1643, or several: 1643 1644, each with its weight where they differ: 1643:0.7 1644:0.3
triangle     a face's number, or its three vertices
barycentric  weights of the triangle's corners: 0.2 0.3 0.5; the middle where empty
bone         the joint whose frame the offset is in: the anchor joint, or the one that moves the skin point most
offset       x y z: where the keypoint is expected, seen from the anchor
offset_sd    how far it may be from there, in any direction; 0 where empty
```

A row whose `model` is a joint and whose cells are empty, as in tables of two columns, is that joint with an offset
that is not known (`JOINT_SD`, `TIP_SD`): people label what they see, and joints lie inside, but for tips. `offset_sd`
0 says that labels are the joint itself.

Lengths are in the model's unit; behind the last number may stand mm, cm, m or um, or L for shares of the body's
length: `5mm`, `0 0 0.02L`.
"""

import math
import string
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from smilfit.body_models.checks import check_body_model
from smilfit.body_models.data import BodyModelData, Landmark
from smilfit.files import shorten
from smilfit.io.lookup import LookupRow, read_lookup_rows
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.structures.body import MILLIMETRES

ANCHORS = ('joint', 'vertices', 'triangle')
BODY_LENGTH = 'L'
# How far a label may be from the joint that it is named after, in each direction, where nothing is said of it; and
# from one where a chain ends, such as the nose or a tail's tip, which is seen itself.
JOINT_SD, TIP_SD = '0.05L', '0.01L'
MOST_VERTICES = 1000
# Weights that people round add up to 1 within this.
_SUM_TOLERANCE = 0.011


def read_landmarks(path: str | Path, body: BodyModelData, joint_sd: str | None = None) -> dict[str, Landmark]:
    """Read the landmarks that a joint lookup describes, by name, in file order.

    A joint that is said to be exact is none.

    Args:
        path: the lookup.
        body: the model whose joints and vertices the rows name.
        joint_sd: `offset_sd` of joints of which the lookup says nothing; if None, `JOINT_SD`, and `TIP_SD` where a
            chain ends.

    Raises:
        ValueError: a cell that breaks a rule; the message names file and line.
        KeyError: a joint that the model has not, with the near ones.
    """
    rows = [row for row in read_lookup_rows(path) if row.landmark or row.model in body.joint_names]
    result = {row.model: landmark_of(row, body, joint_sd) for row in rows}
    return {n: mark for n, mark in result.items() if n not in body.joint_names or mark.sd or any(mark.offset)}


def body_with_lookup(body: BodyModelData, path: str | Path, joint_sd: str | None = None) -> BodyModelData:
    """Return a model the landmarks that a joint lookup describes.

    Raises:
        ValueError: a cell that breaks a rule.
        KeyError: a joint that the model has not, with the near ones.
    """
    result = read_landmarks(path, body, joint_sd)
    return (
        check_body_model(replace(body, landmarks={**body.landmarks, **result}), str(path)) if result else body
    )


def body_with_clicked_joints(body: BodyModelData, names: Iterable[str], where: str) -> BodyModelData:
    """Return a model the landmarks that a lookup describes whose rows are these joints: people click near a joint."""
    rows = (LookupRow(where, name, name) for name in names if name in body.joint_names)
    result = {row.model: landmark_of(row, body) for row in rows}
    return check_body_model(replace(body, landmarks={**body.landmarks, **result}), where) if result else body


def landmark_of(row: LookupRow, body: BodyModelData, joint_sd: str | None = None) -> Landmark:
    """Turn the filled cells of a row into a landmark.

    Raises:
        ValueError: a cell that breaks a rule.
        KeyError: a joint that the model has not, with the near ones.
    """
    if row.model in body.joint_names:
        given = [name for name in row.landmark if name not in ('joint', 'offset', 'offset_sd')]
        if given or row.landmark.get('joint', row.model) != row.model:
            _refuse(
                row,
                'model',
                'be a name of its own where the row describes another point than that joint',
                row.model,
                f'Write another name, such as {row.data}_skin, under model.',
            )
        inner = body.joint_names.index(row.model) in body.parents
        spread = joint_sd or (JOINT_SD if inner else TIP_SD)
        row = replace(row, landmark={'offset_sd': spread, **row.landmark, 'joint': row.model})
    given = [name for name in ANCHORS if name in row.landmark]
    if len(given) != 1:
        _refuse(
            row,
            'one of joint, vertices and triangle',
            'be filled',
            ' and '.join(given) or 'none',
            'Choose one.',
        )
    if 'barycentric' in row.landmark and given != ['triangle']:
        _refuse(
            row,
            'barycentric',
            'stand beside a triangle',
            given[0],
            'Weights of vertices are 1643:0.7 1644:0.3.',
        )
    anchor: str | dict[int, float]
    if given == ['joint']:
        anchor = bone = _joint(row, 'joint', body)
    else:
        anchor = _vertices(row, body) if given == ['vertices'] else _triangle(row, body)
        bone = moved_by(anchor, body)
    if 'bone' in row.landmark:
        bone = _joint(row, 'bone', body)
    x, y, z = _lengths(row, 'offset', 3, body)
    (sd,) = _lengths(row, 'offset_sd', 1, body)
    if sd < 0:
        _refuse(row, 'offset_sd', 'be 0 or more', sd, 'Correct the cell.')
    return Landmark(anchor, bone, (x, y, z), sd)


def cells_of(landmark: Landmark) -> dict[str, str]:
    """Write a landmark as the cells of a row; `landmark_of` reads the same landmark, lengths in model units."""
    if isinstance(landmark.anchor, str):
        cells = {'joint': landmark.anchor}
    else:
        weighted = landmark.anchor.items()
        alone = len(landmark.anchor) == 1
        cells = {'vertices': ' '.join(str(v) if alone else f'{v}:{float(w)!r}' for v, w in weighted)}
    cells['bone'] = landmark.bone
    if any(landmark.offset):
        cells['offset'] = ' '.join(repr(float(x)) for x in landmark.offset)
    if landmark.sd:
        cells['offset_sd'] = repr(float(landmark.sd))
    return cells


def moved_by(vertices: dict[int, float], body: BodyModelData) -> str:
    """Name the joint that moves a point of the skin most: that of the largest skinning weight."""
    share = np.zeros(body.n_joints)
    for vertex, weight in vertices.items():
        of_vertex = body.weights.rows == vertex
        np.add.at(share, body.weights.cols[of_vertex], weight * body.weights.values[of_vertex])
    return body.joint_names[int(share.argmax())]


def _joint(row: LookupRow, column: str, body: BodyModelData) -> str:
    name = row.landmark[column]
    if name not in body.joint_names:
        raise UnknownNameError(
            f'{row.place}: {column} must be a joint of {body.name}; got {shorten(name)!r}. '
            f'{did_you_mean(name, body.joint_names)}'
        )
    return name


def _vertices(row: LookupRow, body: BodyModelData) -> dict[int, float]:
    words = row.landmark['vertices'].split()
    if len(words) > MOST_VERTICES:
        _refuse(row, 'vertices', f'be at most {MOST_VERTICES}', len(words), 'Take a few.')
    weighted = [word.partition(':') for word in words]
    if len({colon for _, colon, _ in weighted}) > 1:
        _refuse(
            row,
            'vertices',
            'all have a weight, or none',
            row.landmark['vertices'],
            'Write 1643:0.7 1644:0.3.',
        )
    numbers = [_index(row, 'vertices', number, body.n_vertices) for number, _, _ in weighted]
    if len(set(numbers)) < len(numbers):
        _refuse(
            row,
            'vertices',
            'differ',
            row.landmark['vertices'],
            'Add up the weights of one that stands twice.',
        )
    if not weighted[0][1]:
        return {number: 1.0 / len(numbers) for number in numbers}
    weights = [_number(row, 'vertices', weight) for _, _, weight in weighted]
    return dict(zip(numbers, _shares(row, 'vertices', weights)))


def _triangle(row: LookupRow, body: BodyModelData) -> dict[int, float]:
    words = row.landmark['triangle'].split()
    if len(words) == 1:
        corners = [int(v) for v in body.faces[_index(row, 'triangle', words[0], len(body.faces))]]
    elif len(words) == 3:
        corners = [_index(row, 'triangle', word, body.n_vertices) for word in words]
    else:
        _refuse(row, 'triangle', 'be a face or three vertices', len(words), 'Write one number, or three.')
    if len(set(corners)) < 3:
        _refuse(row, 'triangle', 'have three corners', corners, 'Choose another.')
    words = row.landmark.get('barycentric', '1 1 1').split()
    if len(words) != 3:
        _refuse(row, 'barycentric', 'be three weights', len(words), 'Write 0.2 0.3 0.5.')
    if 'barycentric' not in row.landmark:
        return dict.fromkeys(corners, 1 / 3)
    shares = _shares(row, 'barycentric', [_number(row, 'barycentric', word) for word in words])
    return {corner: share for corner, share in zip(corners, shares) if share}


def _shares(row: LookupRow, column: str, weights: Sequence[float]) -> list[float]:
    """Check that weights are shares of 1; what rounding took is given back."""
    total = math.fsum(weights)
    if min(weights) < 0 or abs(total - 1) > _SUM_TOLERANCE:
        _refuse(row, column, 'have weights of 0 or more that add up to 1', list(weights), 'Correct the cell.')
    return [weight / total for weight in weights]


def _lengths(row: LookupRow, column: str, count: int, body: BodyModelData) -> list[float]:
    """Read so many lengths, model unit; zeros where the cell is empty."""
    if column not in row.landmark:
        return [0.0] * count
    cell = row.landmark[column]
    numbers = cell.rstrip(string.ascii_letters)
    words = numbers.split()
    if len(words) != count:
        rule = 'be three lengths' if count == 3 else 'be a length'
        _refuse(
            row,
            column,
            rule,
            cell,
            f'Write {"0 0 0.02" if count == 3 else "0.02"}, or with mm or L behind it.',
        )
    factor = _model_units(row, column, cell[len(numbers) :], body)
    return [factor * _number(row, column, word) for word in words]


def _model_units(row: LookupRow, column: str, unit: str, body: BodyModelData) -> float:
    if unit == '' or unit == body.unit:
        return 1.0
    if unit == BODY_LENGTH:
        return body.rest_size
    if unit not in MILLIMETRES:
        known = f'be one of {", ".join(MILLIMETRES)} and {BODY_LENGTH}, or none for model units'
        _refuse(row, f'the unit of {column}', known, unit, 'Correct the cell.')
    if body.unit not in MILLIMETRES:
        _refuse(
            row,
            f'{column} in {unit}',
            f'have a model of known unit, {body.name} states none that is a length',
            row.landmark[column],
            f'Give a share of the body, such as 0.02{BODY_LENGTH}, or model units.',
        )
    return MILLIMETRES[unit] / MILLIMETRES[str(body.unit)]


def _index(row: LookupRow, column: str, word: str, count: int) -> int:
    if not (word.isascii() and word.isdigit() and len(word) < 19 and int(word) < count):
        _refuse(row, column, f'be whole numbers from 0 to {count - 1}', word, 'Is it of this model?')
    return int(word)


def _number(row: LookupRow, column: str, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        _refuse(row, column, 'hold finite numbers, separated by spaces', word, 'Correct the cell.')
    return value


def _refuse(row: LookupRow, thing: str, rule: str, got: object, advice: str) -> None:
    raise ValueError(f'{row.place}: {thing} must {rule}; got {shorten(str(got))}. {advice}')
