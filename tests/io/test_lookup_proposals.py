"""A lookup proposed from names: made animals give the true map, and what is not known stays empty."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from smilfit.body_models import load_body_model_data
from smilfit.io import read_joint_lookup
from smilfit.io.landmark_rows import read_landmarks
from smilfit.io.lookup_proposals import body_axes, propose_lookup, write_proposal
from smilfit.io.lookup_proposals.part_names import PartName, load_parts, read_name
from smilfit.synthetic import make_insect, make_quadruped
from smilfit.synthetic.sessions import annotator_name

MOUSE_NAMES = (
    *('Nose', 'Ear_R', 'Ear_L', 'TTI', 'TailTip', 'Head', 'Trunk', 'Tail_0', 'Tail_1', 'Tail_2', 'Shoulder_left'),
    *('Shoulder_right', 'Haunch_left', 'Haunch_right', 'Neck'),
)  # fmt: skip


def _rows(body, names):
    return {row.data: row for row in propose_lookup(body, names, body_axes(body))}


@pytest.mark.parametrize(
    'spelling', ['Ear_L', 'leftEar', 'ear-left', 'LEar', 'EarL', 'L_ear', 'left ear', 'ear.l']
)
def test_all_spellings_of_a_name_are_one(spelling):
    assert read_name(spelling) == PartName(('ear',), 'left', ())


def test_names_are_taken_apart():
    assert read_name('l_1_co_r') == PartName(('co', 'l'), 'right', (1,))
    assert read_name('Tail_00') == PartName(('tail',), '', (0,))
    assert read_name('leg_L1_knee') == PartName(('knee', 'leg'), 'left', (1,))
    assert read_name('L_F_Paw') == PartName(('fore', 'paw'), 'left', ())
    assert read_name('frontPawRight') == PartName(('fore', 'paw'), 'right', ())


def test_no_spelling_means_two_parts():
    parts = load_parts().parts
    spellings = [spelling for part in parts for spelling in part.names]
    assert len(set(spellings)) == len(spellings)
    known = {part.name for part in parts}
    assert all(instead in known for part in parts for instead in part.instead)


@pytest.mark.parametrize('make', [make_quadruped, make_insect])
def test_names_of_the_model_itself_give_the_true_map(make):
    body = make()
    for own in (list(body.keypoint_sets['sleap']), list(body.joint_names)):
        for spelt in (own, [annotator_name(name) for name in own]):
            rows = propose_lookup(body, spelt, body_axes(body))
            assert [row.model for row in rows] == own
            assert {row.confidence for row in rows} == {'sure'}
            assert not any(row.cells for row in rows)


def test_synonyms_find_the_points_of_a_quadruped():
    truth = {
        'Snout': 'nose', 'TailBase': 'tail_base', 'tip_of_tail': 'tail_tip', 'L_stifle': 'hind_knee_L',
        'hock_right': 'hind_ankle_R', 'RightForepaw': 'fore_paw_R', 'earTipLeft': 'ear_tip_L',
        'body_center': 'mid_back',
    }  # fmt: skip
    rows = _rows(make_quadruped(), list(truth))
    assert {name: row.model for name, row in rows.items()} == truth
    assert {row.confidence for row in rows.values()} <= {'sure', 'likely'}


def test_words_of_limbs_are_turned_to_fore_and_hind():
    names = [
        'left_front_top',
        'left_front_middle',
        'R_F_Paw',
        'right_rear_top',
        'right_rear_middle',
        'hindpaw_left',
    ]
    places = ['elbow_L', 'wrist_L', 'fore_paw_R', 'knee_R', 'ankle_R', 'hind_paw_L']
    body = make_quadruped()
    known = body.keypoint_sets['sleap']
    rows = _rows(body, names)
    assert [known.get(row.model, row.model) for row in rows.values()] == [known.get(p, p) for p in places]


def test_a_joint_inside_becomes_the_skin_beside_it():
    body = make_quadruped()
    names = ['left_shoulder', 'right_shoulder', 'HauntLeft', 'haunch-left']
    rows = _rows(body, names)
    places = {n: body.v_template[int(r.cells['vertices'])] for n, r in rows.items() if r.cells}
    assert set(places) == {'left_shoulder', 'right_shoulder', 'haunch-left'}
    inside = body.joints[body.joint_names.index('shoulder_L')]
    # +y is left of +x forward, +z up.
    assert places['left_shoulder'][1] > inside[1]
    np.testing.assert_allclose(places['left_shoulder'] * [1, -1, 1], places['right_shoulder'], atol=1e-9)
    assert rows['HauntLeft'].model == ''


def test_two_names_never_have_one_place():
    rows = _rows(make_quadruped(), ['snout', 'muzzle', 'ear_left', 'lumbago'])
    assert rows['snout'].model == 'nose'
    assert (rows['muzzle'].model, rows['muzzle'].remark) == (
        '',
        'nose is snout already: choose another place',
    )
    assert rows['lumbago'].remark == 'nothing of the model is called so'


def test_a_chain_is_shared_out_by_length():
    body = make_quadruped()
    tail = [f'tail_{i}' for i in (1, 2, 3, 4)]
    joints = body.joints[[body.joint_names.index(name) for name in tail]]
    rows = _rows(
        replace(body, keypoint_sets={}), ['tail root', 'tail_7', 'tail end', 'withers', 'eye', 'spleen']
    )
    assert rows['tail root'].model == 'tail_1'
    lengths = np.linalg.norm(np.diff(joints, axis=0), axis=1)
    centre = rows['tail_7'].cells
    along = lengths[: tail.index(centre['joint'])].sum() + np.linalg.norm(
        np.array(centre['offset'].split(), float)
    )
    assert along == pytest.approx(lengths.sum() / 2, abs=1e-5)
    # Beyond the last joint.
    tip = body.v_template[int(rows['tail end'].cells['vertices'])]
    assert tip[0] < joints[-1, 0]


def test_axes_come_from_names_where_the_file_has_none():
    body = make_insect()
    stated, inferred = body_axes(body), body_axes(replace(body, up_axis=None, forward_axis=None))
    for name in ('forward', 'left', 'up'):
        np.testing.assert_array_equal(getattr(stated, name), getattr(inferred, name))
    assert 'from the names of joints' in inferred.source
    nameless = replace(
        body, up_axis=None, forward_axis=None, joint_names=tuple(map(str, range(body.n_joints)))
    )
    assert body_axes(nameless).source == 'up +z (a guess), forward -y (a guess)'
    with pytest.raises(ValueError, match='up and forward must be different axes'):
        body_axes(body, up='-x')


def test_the_written_table_is_read_again(tmp_path):
    body = make_quadruped()
    rows = propose_lookup(body, ['Snout', 'left_shoulder', 'tongue'], body_axes(body))
    path = write_proposal(tmp_path / 'joint_lookup.csv', rows, body)
    assert read_joint_lookup(path) == {'nose': 'Snout', 'left_shoulder': 'left_shoulder'}
    (mark,) = read_landmarks(path, body).values()
    assert mark.sd == pytest.approx(0.05 * body.rest_size)
    with path.open(newline='') as file:
        table = list(csv.DictReader(file))
    assert {row['data']: row['model'] for row in table}['tongue'] == ''
    assert set(body.joint_names) <= {row['model'] for row in table}


@pytest.mark.real
def test_the_mouse_session(real_data):
    body = load_body_model_data(real_data / 'models' / 'SMILy_Mouse_static_joints.pkl')
    rows = _rows(body, MOUSE_NAMES)
    joints = {name: row.model for name, row in rows.items() if not row.cells}
    assert joints == {
        'Nose': 'Nose', 'Ear_L': 'Ear_L_tip', 'Ear_R': 'Ear_R_tip', 'TTI': 'Tail_00', 'TailTip': 'Tail_07',
        'Tail_0': 'Tail_02', 'Tail_2': 'Tail_05',
    }  # fmt: skip
    # 0.262, 0.492 and 0.729 of the tail in the session's own 3D points; joint Tail_03 is at 0.441, Tail_04 at 0.590.
    assert rows['Tail_1'].cells['joint'] == 'Tail_03'
    # 0.46 of the way from neck to tail base in the 3D points; neck -0.007, tail base 0.721.
    assert body.v_template[int(rows['Trunk'].cells['vertices'])][1] == pytest.approx(0.357, abs=0.03)
    above = {'Head': 'skull', 'Neck': 'cervical-vertebrae'}
    for name, joint in above.items():
        apart = (
            body.v_template[int(rows[name].cells['vertices'])] - body.joints[body.joint_names.index(joint)]
        )
        assert apart[2] > 0.1
        assert np.abs(apart[:2]).max() < 0.05
    # The haunch bulges between hip and knee.
    beside = {'Shoulder': ('humerus',), 'Haunch': ('femur', 'tibia')}
    for name, joints in beside.items():
        for side, sign in (('left', 1), ('right', -1)):
            skin = body.v_template[int(rows[f'{name}_{side}'].cells['vertices'])]
            inside = [body.joints[body.joint_names.index(f'{j}_{side[0].upper()}')] for j in joints]
            apart = skin - np.mean(inside, axis=0)
            assert sign * apart[0] > 0.08
            assert np.abs(apart[1:]).max() < 0.1
