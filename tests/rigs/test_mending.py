"""What is put right is right afterwards, counted and told; what was right stays as it was."""

from dataclasses import replace

import numpy as np
import pytest

from smilfit.body_models import Landmark, SparseMatrix, load_body_model_data, save_body_model
from smilfit.body_models.files.stored_model import StoredModel
from smilfit.cli.models import main as model
from smilfit.rigs.checking import NOTE, check_model, mending
from smilfit.rigs.converting import body_difference
from tests.rigs.test_checking import CLEAN, dense_weights, scaled, with_entry, with_more

STEPS = (
    mending.normalise_weights, mending.drop_bad_faces, mending.drop_loose_vertices,
    mending.symmetry_from_names, mending.plane_of_joints, mending.symmetrise_limits,
)  # fmt: skip


def doubts(data, joints=None):
    return [f.sentence() for f in check_model(StoredModel(data, joints)) if f.severity != NOTE]


@pytest.mark.parametrize('step', STEPS)
def test_a_clean_model_stays_as_it_is(step):
    assert step(CLEAN) == (CLEAN, ())


LOOSE = {**with_more(np.array([[5.0, 5, 5]]), np.zeros((0, 3), int))}


@pytest.mark.parametrize(
    ('changes', 'step', 'words'),
    [
        ({'weights': dense_weights(scaled(3, 1.5))}, mending.normalise_weights, '1 vertices were normalised'),
        ({'faces': np.vstack((CLEAN.faces, CLEAN.faces[:2]))}, mending.drop_bad_faces, '2 repeated ones'),
        (LOOSE, mending.drop_loose_vertices, '1 vertices of no face'),
        ({'joint_symmetry': ()}, mending.symmetry_from_names, '1 pairs'),
        ({'symmetry_plane_vertices': np.array([0, 7])}, mending.plane_of_joints, 'has 0 vertices now'),
        (
            {'joint_limits': with_entry(CLEAN.joint_limits, (1, 0), [-0.1, 0.6])},
            mending.symmetrise_limits, '1 pairs of joints were made symmetric, moved by up to 11.5 degrees',
        ),
    ],
)  # fmt: skip
def test_a_fault_is_put_right_and_told(changes, step, words):
    broken = replace(CLEAN, **changes)
    assert doubts(broken)
    mended, notes = step(broken)
    assert words in notes[0]
    assert not doubts(mended)


def test_vertices_that_are_taken_out_leave_the_body_as_it_is():
    held = {'sets': {'tip': {9: 0.5, 2: 0.5}}}
    marks = {'mark': Landmark({7: 1.0}, 'head')}
    loose = with_more(np.array([[5.0, 5, 5], [6.0, 5, 5]]), np.zeros((0, 3), int))
    # The loose vertices come first, so that all others get new numbers.
    order = [8, *range(8), 9]
    number = np.argsort(order)
    body = replace(
        CLEAN,
        v_template=loose['v_template'][order],
        faces=number[CLEAN.faces],
        weights=SparseMatrix.from_dense(loose['weights'].to_dense()[order]),
        joint_regressor=SparseMatrix.from_dense(loose['joint_regressor'].to_dense()[:, order]),
        shapedirs=loose['shapedirs'][order],
        keypoint_sets=held,
        landmarks=marks,
    )
    mended, notes = mending.drop_loose_vertices(body)
    assert notes == ('1 vertices of no face were taken out; the others have new numbers',)
    # The one that a keypoint stands on is kept.
    assert mended.keypoint_sets['sets']['tip'] == {8: 0.5, 1: 0.5}
    assert mended.landmarks['mark'].anchor == {6: 1.0}
    assert np.array_equal(mended.v_template[:8], CLEAN.v_template)
    one, other = (
        replace(CLEAN, landmarks={}, keypoint_sets={}),
        replace(mended, landmarks={}, keypoint_sets={}),
    )
    cut = replace(
        other,
        v_template=other.v_template[:8],
        weights=SparseMatrix.from_dense(other.weights.to_dense()[:8]),
        joint_regressor=SparseMatrix.from_dense(other.joint_regressor.to_dense()[:, :8]),
        shapedirs=other.shapedirs[:8],
    )
    assert body_difference(replace(one, weights=cut.weights), cut) < 1e-12


def test_vertices_without_weights_are_not_guessed():
    with pytest.raises(ValueError, match='vertex 3'):
        mending.normalise_weights(replace(CLEAN, weights=dense_weights(scaled(3, 0.0))))


def test_joints_come_from_the_regressor_or_the_file():
    stale = with_entry(CLEAN.joints, 3, [0.4, 0, 0])
    regressed, notes = mending.joints_of_regressor(StoredModel(replace(CLEAN, joints=stale), stale))
    assert 'up to 0.4' in notes[0]
    assert not doubts(regressed, regressed.joints)
    stored, _ = mending.joints_as_stored(StoredModel(CLEAN, stale))
    assert stored.static_joints
    assert np.array_equal(stored.joints, stale)


def test_the_command_makes_of_a_smilify_model_one_without_doubts(real_data, tmp_path, capsys):
    source, target = str(real_data / 'models/SMILy_STICK.pkl'), tmp_path / 'stick.smil.json'
    options = ['--joints', 'regressor', '--symmetry-from-names', '--unit', 'cm']
    assert model(['clean', source, str(target), *options]) == 0
    said = capsys.readouterr().out
    for words in ('off by up to 0.22', '24 pairs of joints', 'the unit is cm now; it was not stated'):
        assert words in said
    left = {f.check for f in check_model(StoredModel(load_body_model_data(target))) if f.severity != NOTE}
    # What no command can decide: a mesh to be mended, and scales that go negative.
    assert left == {'non-manifold edges', 'joint scales'}
    assert model(['clean', source, str(target)]) == 1
    assert 'must not be there yet' in capsys.readouterr().err


def test_the_command_mends_what_does_not_load(tmp_path, capsys):
    whole = save_body_model(CLEAN, tmp_path / 'box.smil.json')
    text = whole.read_text()
    place = text.index('"skin_weights"')
    broken = tmp_path / 'broken.smil.json'
    broken.write_text(text[:place] + text[place:].replace('0.25', '0.5', 1))
    with pytest.raises(ValueError, match='sum to 1'):
        load_body_model_data(broken)
    assert model(['check', str(broken)]) == 3
    assert 'error: skin weights' in capsys.readouterr().out
    assert model(['clean', str(broken), str(tmp_path / 'mended.smil.json')]) == 0
    assert model(['check', str(tmp_path / 'mended.smil.json')]) == 0
