"""Each finding, by a small clean animal that is broken in that one way; shipped models are clean."""

import json
from dataclasses import replace

import numpy as np
import pytest

from smilfit.body_models import BodyModelData, SparseMatrix, load_body_model_data, save_body_model
from smilfit.body_models.files.smal_file import smal_values
from smilfit.body_models.files.stored_model import StoredModel, read_stored_model
from smilfit.cli.models import main as model
from smilfit.files.pickles.writer import pickle_bytes
from smilfit.rigs.checking import ERROR, NOTE, WARNING, check_model

# Corners of a box, and its triangles as seen from outside.
BOX = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-0.4, 0.4) for z in (-0.3, 0.3)])
SIDES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
FACES = np.array([t for a, b, c, d in SIDES for t in ((a, b, c), (a, c, d))])
NAMES = ('trunk', 'paw_L', 'paw_R', 'head')


def clean_animal() -> BodyModelData:
    """Make a box with a joint in the middle, one on either side and one in front; nothing is wrong with it."""
    joints = np.array([[0.0, 0, 0], [0, 0.3, 0], [0, -0.3, 0], [0.8, 0, 0]])
    weights = np.zeros((8, 4))
    weights[:, 0] = 0.5
    weights[np.arange(8), np.where(BOX[:, 1] > 0, 1, 2)] += 0.25
    weights[:, 3] += 0.25
    # Each joint as corners mixed: the box's eight corners span its inside.
    regressor = np.stack(
        [np.prod(0.5 * (1 + BOX / np.abs(BOX[0]) * j / np.abs(BOX[0])), axis=1) for j in joints]
    )
    limits = np.tile([-0.5, 0.5], (4, 3, 1))
    limits[1], limits[2] = [[-0.1, 0.4], [-0.3, 0.2], [0.0, 0.6]], [[-0.4, 0.1], [-0.3, 0.2], [-0.6, 0.0]]
    shapedirs = np.stack((0.1 * BOX, 0.1 * BOX * [1, -1, 0]), -1)
    return BodyModelData(
        name='box',
        v_template=BOX.copy(),
        faces=FACES.copy(),
        joint_names=NAMES,
        parents=np.array([-1, 0, 0, 0]),
        weights=SparseMatrix.from_dense(weights),
        joints=joints,
        joint_regressor=SparseMatrix.from_dense(regressor),
        shapedirs=shapedirs,
        shape_mean=np.zeros(2),
        shape_cov=np.diag([1.0, 0.5]),
        scaledirs=np.full((2, 4, 3), 0.1),
        joint_limits=limits,
        joint_symmetry=(('paw_L', 'paw_R'),),
        unit='cm',
        licence='CC0-1.0',
    )


def dense_weights(change) -> SparseMatrix:
    weights = clean_animal().weights.to_dense()
    change(weights)
    return SparseMatrix.from_dense(weights)


def with_entry(array: np.ndarray, index, value) -> np.ndarray:
    array = array.copy()
    array[index] = value
    return array


def scaled(row: int, factor: float):
    def change(weights):
        weights[row] *= factor

    return change


def drop_head(weights):
    weights[:, 0] += weights[:, 3]
    weights[:, 3] = 0


def negative(weights):
    weights[0] += [0.6, -0.6, 0, 0]


CLEAN = clean_animal()
DEGREES = [-40.0, 40.0]
TETRAHEDRON = np.array([[8, 10, 9], [8, 9, 11], [9, 10, 11], [8, 11, 10]])
FAR = np.array([[5.0, 5, 5], [6, 5, 5], [5, 6, 5], [5, 5, 6]])
ON_ROOT = np.vstack((CLEAN.weights.to_dense(), np.tile([1.0, 0, 0, 0], (4, 1))))


def with_more(vertices: np.ndarray, faces: np.ndarray) -> dict:
    count = len(vertices)
    more = np.vstack((CLEAN.v_template, vertices))
    return {
        'v_template': more,
        'faces': np.vstack((CLEAN.faces, faces)),
        'weights': SparseMatrix.from_dense(ON_ROOT[: 8 + count]),
        'joint_regressor': replace(CLEAN.joint_regressor, shape=(4, 8 + count)),
        'shapedirs': np.concatenate((CLEAN.shapedirs, 0.01 * more[8:, :, None] * [1, 0.5]), 0),
    }


# What is broken, the check that finds it, how bad it is, and a word of what it says.
BROKEN = {
    'sum': ({'weights': dense_weights(scaled(3, 1.5))}, 'skin weights', ERROR, 'sum to 1.5'),
    'bare': ({'weights': dense_weights(scaled(3, 0.0))}, 'skin weights', ERROR, '1 vertex without'),
    'negative': ({'weights': dense_weights(negative)}, 'skin weights', WARNING, 'below zero'),
    'idle': ({'weights': dense_weights(drop_head)}, 'influence', NOTE, 'head'),
    'loop': ({'parents': np.array([-1, 2, 1, 0])}, 'tree', ERROR, 'hang on each other'),
    'roots': ({'parents': np.array([-1, 0, 0, -1])}, 'tree', ERROR, 'one root; got 2'),
    'order': ({'parents': np.array([3, 3, 3, -1])}, 'tree', ERROR, 'before its parent'),
    'names': ({'joint_names': ('trunk', 'paw_L', 'paw_R', 'trunk')}, 'joint names', ERROR, 'trunk'),
    'length': ({'joints': with_entry(CLEAN.joints, 3, 0.0)}, 'bones', NOTE, 'head'),
    'outside': ({'joints': with_entry(CLEAN.joints, 3, [1.5, 0, 0])}, 'joints outside', WARNING, 'up to 0.5'),
    'rows': (
        {'joint_regressor': SparseMatrix.from_dense(1.2 * CLEAN.joint_regressor.to_dense())},
        'joint regressor', WARNING, '1.2',
    ),
    'crossed': ({'joint_limits': with_entry(CLEAN.joint_limits, 0, [0.5, -0.5])}, 'joint limits', ERROR, 'trunk xyz'),
    'degrees': ({'joint_limits': with_entry(CLEAN.joint_limits, 3, DEGREES)}, 'joint limits', WARNING, 'in degrees'),
    'rest': ({'joint_limits': with_entry(CLEAN.joint_limits, (3, 1), [0.1, 0.5])}, 'joint limits', WARNING, 'head y'),
    'sides': (
        {'joint_limits': with_entry(CLEAN.joint_limits, (1, 0), [-0.1, 0.6])},
        'joint limits', WARNING, 'up to 11.5 degrees; at paw_L / paw_R',
    ),
    'no limits': ({'joint_limits': None}, 'joint limits', NOTE, 'no joint limits'),
    'no symmetry': ({'joint_symmetry': ()}, 'symmetry', WARNING, 'tell 1 pair;'),
    'strange pair': ({'joint_symmetry': (('paw_L', 'paw_R'), ('a', 'b'))}, 'symmetry', ERROR, 'not there'),
    'pairs twice': ({'joint_symmetry': (('paw_L', 'paw_R'), ('paw_L', 'head'))}, 'symmetry', ERROR, 'several pairs'),
    'torn pair': ({'parents': np.array([-1, 0, 1, 0])}, 'symmetry', WARNING, 'are no pair'),
    'uneven': ({'joints': with_entry(CLEAN.joints, 2, [0.14, -0.3, 0])}, 'symmetry', NOTE, 'mirror images'),
    'plane': ({'symmetry_plane_vertices': np.array([0, 7])}, 'symmetry', WARNING, '2 of 2 vertices'),
    'no faces': ({'faces': np.zeros((0, 3), int)}, 'faces', WARNING, 'no faces'),
    'loose': (with_more(FAR[:1], FACES[:0]), 'loose vertices', WARNING, 'vertex 8'),
    'open': ({'faces': FACES[1:]}, 'boundary edges', NOTE, '3 edges'),
    'open seam': (
        with_more(BOX[FACES[0]], FACES[:0]) | {'faces': np.vstack((FACES[1:], [[8, 9, 10]]))},
        'boundary edges', NOTE, '6 edges with a face on one side alone: the surface is open there; 0 if vertices',
    ),
    'fin': (with_more(FAR[:1], np.array([[0, 1, 8]])), 'non-manifold edges', WARNING, 'up to 3'),
    'parts': (with_more(FAR, TETRAHEDRON), 'mesh parts', NOTE, 'on trunk'),
    'seam': (with_more(BOX[:1], np.array([[8, 1, 3]])), 'duplicate vertices', NOTE, 'vertex 8'),
    'flat': (with_more(0.5 * (BOX[:1] + BOX[3:4]), np.array([[0, 8, 3]])), 'faces', WARNING, '1 face without area'),
    'twice': ({'faces': np.vstack((FACES, FACES[:1]))}, 'faces', WARNING, '1 face with the corners'),
    'flipped': ({'faces': with_entry(FACES, 4, FACES[4, ::-1])}, 'flipped faces', WARNING, '1 face looking'),
    'inside out': ({'faces': FACES[:, ::-1]}, 'flipped faces', WARNING, 'inside out'),
    'no unit': ({'unit': None}, 'unit', WARNING, 'no unit'),
    'strange unit': ({'unit': 'ell'}, 'unit', WARNING, 'not known'),
    'giant': ({'unit': 'm', 'v_template': 1e5 * BOX}, 'unit', ERROR, 'no animal'),
    'idle shape': (
        {'shapedirs': with_entry(CLEAN.shapedirs, (..., 1), 0.0), 'scaledirs': with_entry(CLEAN.scaledirs, 1, 0.0)},
        'shape directions', WARNING, 'beta 1',
    ),
    'wild shape': ({'shape_cov': np.diag([400.0, 0.5])}, 'shape directions', WARNING, '3 standard deviations'),
    'same shape': ({'shapedirs': CLEAN.shapedirs[..., [0, 0]]}, 'shape directions', WARNING, 'beta 0 and 1'),
    'no covariance': ({'shape_cov': None}, 'shape covariance', NOTE, 'of 1 is taken'),
    'no variance': ({'shape_cov': np.diag([1.0, 0.0])}, 'shape covariance', WARNING, 'beta 1'),
    'indefinite': ({'shape_cov': np.array([[1.0, 2.0], [2.0, 1.0]])}, 'shape covariance', ERROR, 'negative'),
    'far mean': ({'shape_mean': np.array([9.0, 0.0])}, 'shape covariance', WARNING, '9.0 standard'),
    'scales': ({'scaledirs': with_entry(CLEAN.scaledirs, (0, 3), 0.87)}, 'joint scales', WARNING, '-0.74 at -2 sd'),
    'no licence': ({'licence': None}, 'licence', NOTE, 'no licence'),
    'nan': ({'v_template': with_entry(BOX, 2, np.nan)}, 'numbers', ERROR, '3 numbers are NaN'),
    'index': ({'faces': with_entry(FACES, (0, 0), 99)}, 'numbers', ERROR, '0 to 7'),
    'shape': ({'parents': np.array([-1, 0])}, 'numbers', ERROR, 'shape (4,)'),
    'rule': ({'keypoint_sets': {'a': {'nose': 'nowhere'}}}, 'rules', ERROR, 'nowhere'),
}  # fmt: skip


def test_the_clean_animal_is_clean():
    assert check_model(StoredModel(CLEAN, CLEAN.joints)) == []


@pytest.mark.parametrize('fault', BROKEN)
def test_a_fault_is_found_and_told(fault):
    changes, check, severity, word = BROKEN[fault]
    result = [f for f in check_model(StoredModel(replace(CLEAN, **changes))) if f.check == check]
    assert result, check_model(StoredModel(replace(CLEAN, **changes)))
    said = {f.severity: f.sentence() for f in result}
    assert severity in said
    assert any(word in f.sentence() for f in result if f.severity == severity), said


def test_stored_joints_are_held_against_the_regressor():
    result = check_model(StoredModel(CLEAN, with_entry(CLEAN.joints, 3, [0.4, 0, 0])))
    assert [f.check for f in result] == ['stored joints']
    assert result[0].figures == pytest.approx({'mean': 0.1, 'max': 0.4})
    assert 'head 0.4' in result[0].where


def test_an_ant_of_two_metres_is_suspected():
    insect = replace(load_body_model_data('insect'), unit='m')
    result = [f for f in check_model(StoredModel(insect)) if f.severity != NOTE]
    assert [f.check for f in result] == ['unit']
    assert '3 pairs of legs' in result[0].what
    assert '1.2 mm' in result[0].advice
    assert not [f for f in check_model(StoredModel(replace(insect, unit='mm'))) if f.severity != NOTE]


@pytest.mark.parametrize('name', ['quadruped', 'insect'])
def test_shipped_models_are_clean(name, capsys):
    assert model(['check', name]) == 0
    assert '0 errors, 0 warnings' in capsys.readouterr().out


def test_what_a_smilify_model_is_known_for_is_found(real_data):
    stick = {
        (f.check, f.severity): f for f in check_model(read_stored_model(real_data / 'models/SMILy_STICK.pkl'))
    }
    assert stick['stored joints', WARNING].figures == pytest.approx({'mean': 0.111, 'max': 0.220}, abs=6e-4)
    assert stick['joint scales', WARNING].figures['least_at_2_sd'] == pytest.approx(-0.74, abs=0.005)
    assert stick['boundary edges', NOTE].count == 39
    assert stick['non-manifold edges', WARNING].count == 2
    mouse_file = real_data / 'models/SMILy_Mouse_static_joints.pkl'
    mouse = {(f.check, f.severity): f for f in check_model(read_stored_model(mouse_file))}
    assert mouse['mesh parts', NOTE].count == 149
    assert mouse['boundary edges', NOTE].count == 4816
    assert mouse['duplicate vertices', NOTE].count == 2513
    assert not any(severity == ERROR for _, severity in {**stick, **mouse})


def test_the_command_writes_what_it_found(tmp_path, capsys):
    save_body_model(replace(CLEAN, unit=None), tmp_path / 'box.smil.json')
    code = model(['check', str(tmp_path / 'box.smil.json'), '--json', str(tmp_path / 'found.json')])
    assert code == 3
    out = capsys.readouterr().out
    assert 'warning: unit: the file states no unit' in out
    assert f'smilfit model clean {tmp_path / "box.smil.json"} box_clean.smil.json' in out
    record = json.loads((tmp_path / 'found.json').read_text())
    assert record['counts'] == {'error': 0, 'warning': 1, 'note': 0}
    assert record['findings'][0]['check'] == 'unit'


@pytest.mark.parametrize(
    ('key', 'value', 'words'),
    [
        (
            'kintree_table',
            np.array([[1, 0, 0, 0], [0, 1, 2, 3]]),
            'error: tree: the joints hang on each other',
        ),
        (
            'v_template',
            with_entry(BOX, 2, np.nan),
            'error: numbers: 3 numbers are NaN or infinite, in rows 2',
        ),
        ('weights', np.ones((5, 4)), 'error: numbers: must have shape (8, 4); got (5, 4)'),
    ],
)
def test_a_file_that_does_not_load_is_looked_at(key, value, words, tmp_path, capsys):
    file = tmp_path / 'broken.pkl'
    file.write_bytes(pickle_bytes(smal_values(CLEAN) | {key: value}))
    with pytest.raises(ValueError, match=str(file)):
        load_body_model_data(file)
    assert model(['check', str(file)]) == 3
    assert words in capsys.readouterr().out
    assert model(['info', str(file)]) == 1
