"""What `smilfit model edit` changes is what was asked for; what was so already stays."""

from dataclasses import replace

import numpy as np
import pytest

from smilfit.body_models import SparseMatrix, load_body_model_data
from smilfit.body_models.stored_model import StoredModel
from smilfit.cli.model import main as model
from smilfit.rigs.joint_regressing import fit_joint_regressor
from smilfit.rigs.weight_thinning import thin_weights

DATA = load_body_model_data('quadruped')
SIZE = np.ptp(DATA.v_template, axis=0).max()


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


def test_a_regressor_is_fitted_to_joints_where_they_stand():
    stated = DATA.joints.copy()
    stated[5] += [0.0, 0.0, 0.02]
    stated[0] += [0.01, 0.0, 0.0]
    found, (words,) = fit_joint_regressor(StoredModel(DATA, stated))
    assert '2 joints' in words
    rows, before = found.joint_regressor.to_dense(), DATA.joint_regressor.to_dense()
    np.testing.assert_allclose(rows.sum(1), before.sum(1), atol=1e-6)
    np.testing.assert_allclose((rows @ DATA.v_template)[[0, 5]], stated[[0, 5]], atol=1e-9 * SIZE)
    assert rows[[0, 5]].min() >= 0
    others = np.delete(np.arange(DATA.n_joints), [0, 5])
    np.testing.assert_array_equal(rows[others], before[others])
    # Of a model without one, and of a joint that lies outside of all skin.
    stated[23] += 5 * SIZE
    found, words = fit_joint_regressor(StoredModel(replace(DATA, joint_regressor=None, joints=stated)))
    np.testing.assert_allclose(found.joint_regressor @ DATA.v_template, stated, atol=1e-8 * SIZE)
    assert 'lie outside of the skin' in words[1]
    assert fit_joint_regressor(StoredModel(DATA, DATA.joints))[1] == ()


def test_the_command_tells_and_writes(tmp_path, capsys):
    out = tmp_path / 'thin.smil.json'
    assert model(['edit', 'quadruped', str(out), '--most-weights', '1', '--fit-regressor']) == 0
    told = capsys.readouterr().out
    assert 'beyond 1 joints a vertex' in told
    assert isinstance(load_body_model_data(out).weights, SparseMatrix)
    assert model(['edit', 'quadruped', str(out)]) == 1
    assert 'must not be there yet' in capsys.readouterr().err
