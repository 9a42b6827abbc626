"""Rows of a lookup that describe landmarks."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from smilfit.body_models.data import Landmark
from smilfit.io.landmark_rows import cells_of, moved_by, read_landmarks
from smilfit.io.lookup import LANDMARK_COLUMNS
from tests.animals import small_animal


def _table(tmp_path, **cells):
    path = tmp_path / 'table.csv'
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, ('model', 'data', *LANDMARK_COLUMNS))
        writer.writeheader()
        writer.writerow({'model': 'mark', 'data': 'Mark'} | cells)
    return path


def _read(tmp_path, body=None, **cells):
    return read_landmarks(_table(tmp_path, **cells), body or small_animal())['mark']


def test_every_kind_of_anchor(tmp_path):
    body = small_animal()
    assert _read(tmp_path, joint='joint_2') == Landmark('joint_2', 'joint_2')
    assert _read(tmp_path, joint='joint_2', bone='joint_1').bone == 'joint_1'
    assert _read(tmp_path, vertices='7').anchor == {7: 1.0}
    assert _read(tmp_path, vertices='7 9').anchor == {7: 0.5, 9: 0.5}
    # What rounding took is given back.
    assert _read(tmp_path, vertices='7:0.66 9:0.33').anchor == pytest.approx({7: 2 / 3, 9: 1 / 3})
    assert _read(tmp_path, triangle='4').anchor == dict.fromkeys(body.faces[4].tolist(), 1 / 3)
    assert _read(tmp_path, triangle='1 5 8', barycentric='0.2 0 0.8').anchor == {1: 0.2, 8: 0.8}


def test_the_bone_of_a_skin_point_is_the_joint_that_moves_it_most(tmp_path):
    body = small_animal()
    dense = body.weights.to_dense()
    assert _read(tmp_path, vertices='7').bone == body.joint_names[dense[7].argmax()]
    mixed = 0.3 * dense[3] + 0.7 * dense[11]
    assert moved_by({3: 0.3, 11: 0.7}, body) == body.joint_names[mixed.argmax()]


def test_lengths_in_model_units_millimetres_and_shares_of_the_body(tmp_path):
    body = replace(small_animal(), unit='cm')
    of = {'joint': 'joint_1'}
    plain = _read(tmp_path, body, **of, offset='0 -1.5 2e-1', offset_sd='0.25')
    assert (plain.offset, plain.sd) == ((0.0, -1.5, 0.2), 0.25)
    in_mm = _read(tmp_path, body, **of, offset='0 -15 2 mm', offset_sd='2.5mm')
    np.testing.assert_allclose((*in_mm.offset, in_mm.sd), (*plain.offset, plain.sd))
    share = _read(tmp_path, body, **of, offset='0 0 0.1L', offset_sd='0.02L')
    np.testing.assert_allclose((*share.offset, share.sd), np.array([0, 0, 0.1, 0.02]) * body.rest_size)
    own = _read(tmp_path, replace(body, unit='pixel'), **of, offset_sd='3pixel')
    assert own.sd == 3.0


@pytest.mark.parametrize(
    'landmark',
    [
        Landmark('joint_3', 'joint_1', (0.1, 0.0, -1 / 3), 0.07),
        Landmark({7: 1.0}, 'joint_0', sd=1e-3),
        Landmark({7: 1 / 3, 9: 2 / 3}, 'joint_4'),
    ],
)
def test_a_landmark_is_read_as_it_was_written(tmp_path, landmark):
    assert _read(tmp_path, **cells_of(landmark)) == landmark


@pytest.mark.parametrize(
    ('cells', 'message'),
    [
        ({'offset': '0 0 1'}, 'line 2: one of joint, vertices and triangle must be filled; got none'),
        ({'joint': 'joint_1', 'vertices': '3'}, 'must be filled; got joint and vertices'),
        (
            {'model': 'joint_1', 'joint': 'joint_2'},
            'model must be a name of its own .*; got joint_1. Write another',
        ),
        ({'model': 'joint_1', 'vertices': '3'}, 'model must be a name of its own'),
        ({'vertices': '40'}, 'vertices must be whole numbers from 0 to 39; got 40'),
        ({'vertices': '3:1.0 4'}, 'vertices must all have a weight, or none'),
        ({'vertices': '3 3'}, 'vertices must differ'),
        ({'vertices': '3:0.5 4:0.6'}, 'have weights of 0 or more that add up to 1'),
        ({'vertices': '1 ' * 1001}, 'vertices must be at most 1000'),
        ({'triangle': '1 2'}, 'triangle must be a face or three vertices; got 2'),
        ({'triangle': '1 2 2'}, 'triangle must have three corners'),
        ({'triangle': '38'}, 'triangle must be whole numbers from 0 to 37'),
        ({'triangle': '1', 'barycentric': '1'}, 'barycentric must be three weights'),
        ({'triangle': '1', 'barycentric': '1 1 -1'}, 'barycentric must have weights of 0 or more'),
        ({'vertices': '1', 'barycentric': '1 0 0'}, 'barycentric must stand beside a triangle'),
        ({'joint': 'joint_1', 'offset': '1 2'}, 'offset must be three lengths'),
        ({'joint': 'joint_1', 'offset': '1 2 x3'}, 'offset must hold finite numbers'),
        ({'joint': 'joint_1', 'offset_sd': '1 inch'}, 'unit of offset_sd must be one of mm, cm, m, um and L'),
        ({'joint': 'joint_1', 'offset_sd': '-1'}, 'offset_sd must be 0 or more'),
    ],
)
def test_each_error_names_the_line(tmp_path, cells, message):
    with pytest.raises(ValueError, match=message):
        read_landmarks(_table(tmp_path, **cells), small_animal())


def test_unknown_joints_and_units(tmp_path):
    with pytest.raises(KeyError, match=r"line 2: bone must be a joint of small; got 'joint_l'. Did you mean"):
        _read(tmp_path, joint='joint_1', bone='joint_l')
    with pytest.raises(
        ValueError, match='offset_sd in mm must have a model of known unit, small states none'
    ):
        _read(tmp_path, replace(small_animal(), unit=None), joint='joint_1', offset_sd='1mm')


def test_a_joint_alone_is_seen_near_it(tmp_path):
    body = small_animal()
    path = tmp_path / 'lookup.csv'
    tip = body.joint_names[-1]
    path.write_text(f'model,data,offset_sd\njoint_1,knee,\njoint_2,hip,0\njoint_3,,\n{tip},tip,\n')
    result = read_landmarks(path, body)
    assert [(n, m.anchor, m.bone, m.offset) for n, m in result.items()] == [
        (n, n, n, (0, 0, 0)) for n in ('joint_1', tip)
    ]
    # Joints lie inside; what ends a chain is seen.
    assert [m.sd / body.rest_size for m in result.values()] == pytest.approx([0.05, 0.01])
    assert not read_landmarks(path, body, joint_sd='0')
