"""What `smilfit model edit` changes is what was asked for; what was so already stays."""

from dataclasses import replace

import numpy as np
import pytest

from smilfit.body_models import SparseMatrix, load_body_model_data
from smilfit.body_models.files.stored_model import StoredModel
from smilfit.cli.models import main as model
from smilfit.cli.models import model_edit
from smilfit.rigs import symmetry as symmetrising
from smilfit.rigs.cleaning import thin_weights
from smilfit.rigs.joint_regressing import fit_joint_regressor
from smilfit.rigs.suspicions import with_axes
from smilfit.rigs.symmetry import symmetrise

DATA = load_body_model_data('quadruped')
SIZE = np.ptp(DATA.v_template, axis=0).max()
PAIRS = [(DATA.joint_names.index(a), DATA.joint_names.index(b)) for a, b in DATA.joint_symmetry]


def test_few_weights_a_vertex_the_heaviest():
    thin, (words,) = thin_weights(DATA, 2, 0.1)
    before, after = DATA.weights.to_dense(), thin.weights.to_dense()
    assert (after > 0).sum(1).max() == 2
    np.testing.assert_allclose(after.sum(1), 1)
    np.testing.assert_array_equal(after.argmax(1), before.argmax(1))
    raw = np.where(after > 0, before, 0)
    assert raw[raw > 0].min() >= 0.1
    second = np.sort(before, 1)[:, -2]
    assert ((after > 0).sum(1) == 1 + (second >= 0.1)).all()
    assert 'weights were taken out' in words
    assert thin_weights(DATA, 100, 0.0) == (DATA, ())
    with pytest.raises(ValueError, match='must be at least 1'):
        thin_weights(DATA, 0)
    with pytest.raises(ValueError, match='from 0 to below 1'):
        thin_weights(DATA, None, 1.0)


def bent(axis: int):
    """The quadruped of which the left side is fatter, with what mirrors it across any axis."""
    rotation = np.roll(np.eye(3), axis - 1, axis=0)
    fat = DATA.v_template.copy()
    fat[fat[:, 1] > 0, 1] *= 1.004
    data = replace(
        DATA,
        v_template=fat @ rotation.T,
        joints=DATA.joints @ rotation.T,
        shapedirs=np.einsum('ab,vbs->vas', rotation, DATA.shapedirs),
    )
    return data, rotation


@pytest.mark.parametrize('axis', [0, 1, 2])
@pytest.mark.parametrize('side', ['mean', 'left', 'right'])
def test_both_sides_are_mirror_images_across_any_axis(axis, side):
    data, rotation = bent(axis)
    result, words = symmetrise(data, side)
    mirror = np.ones(3)
    mirror[axis] = -1
    image = result.v_template * mirror
    partner = np.linalg.norm(image[:, None] - result.v_template[None], axis=-1).argmin(1)
    np.testing.assert_allclose(result.v_template[partner], image, atol=1e-9 * SIZE)
    joints = np.arange(data.n_joints)
    for a, b in PAIRS:
        joints[[a, b]] = b, a
    np.testing.assert_allclose(
        result.weights.to_dense()[partner][:, joints], result.weights.to_dense(), atol=1e-12
    )
    np.testing.assert_allclose(result.weights.to_dense().sum(1), 1, atol=2e-5)
    np.testing.assert_allclose(result.shapedirs[partner], result.shapedirs * mirror[:, None], atol=1e-9)
    np.testing.assert_allclose(result.joints[joints], result.joints * mirror, atol=1e-5 * SIZE)
    left = (DATA.v_template[:, 1] > 0.05) & (partner != np.arange(data.n_vertices))
    grown = (result.v_template @ rotation)[left, 1] / DATA.v_template[left, 1]
    np.testing.assert_allclose(grown, {'mean': 1.002, 'left': 1.004, 'right': 1.0}[side], atol=1e-4)
    assert 'pairs of vertices' in words[0]


def test_a_symmetric_body_stays():
    once, _ = symmetrise(DATA)
    np.testing.assert_allclose(once.v_template, DATA.v_template, atol=1e-9)
    np.testing.assert_allclose(once.weights.to_dense(), DATA.weights.to_dense(), atol=1e-6)


def test_what_has_no_sides_is_refused():
    crooked = DATA.v_template * np.random.default_rng(0).uniform(0.5, 1.5, DATA.v_template.shape)
    names = tuple(f'bone{j}' for j in range(DATA.n_joints))
    data = replace(
        DATA, v_template=crooked, joint_names=names, joint_symmetry=(), keypoint_sets={}, part_sizes={}
    )
    with pytest.raises(ValueError, match='must have two sides'):
        symmetrise(data)
    data = replace(data, v_template=DATA.v_template)
    with pytest.raises(ValueError, match='nothing says which side is left'):
        symmetrise(data, 'left')
    with pytest.raises(ValueError, match='the side must be one of'):
        symmetrise(DATA, 'front')
    assert model_edit.SIDES == symmetrising.SIDES


def test_a_regressor_is_fitted_to_joints_where_they_stand():
    stated = DATA.joints.copy()
    stated[5] += [0.0, 0.0, 0.02]
    stated[0] += [0.01, 0.0, 0.0]
    result, (words,) = fit_joint_regressor(StoredModel(DATA, stated))
    assert '2 joints' in words
    rows, before = result.joint_regressor.to_dense(), DATA.joint_regressor.to_dense()
    np.testing.assert_allclose(rows.sum(1), before.sum(1), atol=1e-6)
    np.testing.assert_allclose((rows @ DATA.v_template)[[0, 5]], stated[[0, 5]], atol=1e-9 * SIZE)
    assert rows[[0, 5]].min() >= 0
    others = np.delete(np.arange(DATA.n_joints), [0, 5])
    np.testing.assert_array_equal(rows[others], before[others])
    # Of a model without one, and of a joint that lies outside of all skin.
    stated[23] += 5 * SIZE
    result, words = fit_joint_regressor(StoredModel(replace(DATA, joint_regressor=None, joints=stated)))
    # To the five digits in which files state places.
    np.testing.assert_allclose(result.joint_regressor @ DATA.v_template, stated, atol=1e-5 * SIZE)
    assert 'lie outside of the skin' in words[1]
    assert fit_joint_regressor(StoredModel(DATA, DATA.joints))[1] == ()


def test_the_command_tells_and_writes(tmp_path, capsys):
    out = tmp_path / 'thin.smil.json'
    assert (
        model(
            ['edit', 'quadruped', str(out), '--most-weights', '1', '--symmetrise', 'mean', '--joints', 'fit']
        )
        == 0
    )
    notes = capsys.readouterr().out
    assert 'beyond 1 joints a vertex' in notes
    assert 'mirrored across' in notes
    assert isinstance(load_body_model_data(out).weights, SparseMatrix)
    assert model(['edit', 'quadruped', str(out)]) == 1
    assert 'must not be there yet' in capsys.readouterr().err


def test_axes_are_stated_and_nothing_is_turned(tmp_path, capsys):
    out = tmp_path / 'turned.smil.json'
    assert model(['edit', 'quadruped', str(out), '--up=+y', '--forward=-z']) == 0
    notes = capsys.readouterr().out
    assert f'up is +y; was {DATA.up_axis}' in notes
    result = load_body_model_data(out)
    assert (result.up_axis, result.forward_axis) == ('+y', '-z')
    np.testing.assert_allclose(result.v_template, DATA.v_template, atol=1e-5 * SIZE)
    assert with_axes(DATA, DATA.up_axis, None) == (DATA, ())
    with pytest.raises(ValueError, match='must lie along different axes'):
        with_axes(DATA, '+y', '-y')
