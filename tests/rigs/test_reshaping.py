"""Joints recomputed from the skin, seams welded, limits of a user: each as stated, and told."""

from dataclasses import replace

import numpy as np
import pytest

from smilfit.body_models import BodyModelData, SparseMatrix, load_body_model_data, save_body_model
from smilfit.body_models.files.stored_model import StoredModel
from smilfit.cli.models import main as model
from smilfit.rigs.cleaning import weld_vertices
from smilfit.rigs.joint_regressing import fit_joint_regressor, joints_of_rings
from tests.rigs.test_checking import CLEAN

ABOUT, ALONG = 12, 9


def tube(uneven: bool = False) -> BodyModelData:
    """A tube along x of two bones that meet at its middle, blended there; vertices crowd on one side if uneven."""
    angles = 2 * np.pi * (np.arange(ABOUT) / ABOUT) ** (2 if uneven else 1)
    circle = np.stack((np.zeros(ABOUT), np.cos(angles), np.sin(angles)), 1)
    x = np.linspace(-2, 2, ALONG)
    vertices = (circle[None] + x[:, None, None] * [1, 0, 0]).reshape(-1, 3)
    faces = []
    for ring in range(ALONG - 1):
        for k in range(ABOUT):
            a, b = ring * ABOUT + k, ring * ABOUT + (k + 1) % ABOUT
            faces += [(a, b, a + ABOUT), (b, b + ABOUT, a + ABOUT)]
    share = np.repeat(np.clip(x, -0.5, 0.5) + 0.5, ABOUT)
    return BodyModelData(
        name='tube',
        v_template=vertices,
        faces=np.array(faces),
        joint_names=('near', 'far'),
        parents=np.array([-1, 0]),
        weights=SparseMatrix.from_dense(np.stack((1 - share, share), 1)),
        joints=np.array([[-2.0, 0, 0], [0.3, 0.2, 0.0]]),
        shapedirs=vertices[..., None] * [[[0], [0.5], [0]]],
    )


@pytest.mark.parametrize('uneven', [False, True])
def test_a_joint_goes_to_the_middle_of_the_ring_however_dense_the_mesh_is(uneven):
    result, notes = joints_of_rings(tube(uneven))
    assert 'near' in notes[1]
    # A polygon whose corners crowd is no circle.
    np.testing.assert_allclose(result.joints, [[-2, 0, 0], [0, 0, 0]], atol=0.08 if uneven else 1e-9)
    np.testing.assert_allclose(result.joint_regressor @ tube(uneven).v_template, result.joints, atol=1e-8)
    np.testing.assert_allclose(result.joint_regressor.to_dense().sum(1), 1)
    assert result.joint_regressor.to_dense()[1].min() >= 0


def test_a_joint_that_follows_the_skin_stays_and_moves_with_shape():
    data, notes = fit_joint_regressor(StoredModel(tube()))
    np.testing.assert_allclose(data.joint_regressor @ data.v_template, tube().joints, atol=1e-8)
    stretched = data.joint_regressor @ (data.v_template + data.shapedirs[..., 0])
    np.testing.assert_allclose(stretched[1], [0.3, 0.3, 0], atol=1e-6)
    assert 'of 2 joints was fitted' in notes[0]


def test_seams_are_welded_and_what_moves_otherwise_stays_apart():
    whole = tube()
    # The first ring's triangles get vertices of their own, and one of these another weight.
    count = whole.n_vertices
    number = np.arange(count + 3)
    number[count:] = [0, 1, 2 * ABOUT]
    faces = whole.faces.copy()
    faces[0] = np.where(faces[0] == 0, count, np.where(faces[0] == 1, count + 1, faces[0]))
    weights = whole.weights.to_dense()[number]
    weights[count + 2] = [0.2, 0.8]
    split = replace(
        whole,
        v_template=whole.v_template[number],
        shapedirs=whole.shapedirs[number],
        faces=np.vstack((faces, [[count + 2, 3, 4]])),
        weights=SparseMatrix.from_dense(weights),
        keypoint_sets={'all': {'edge': {0: 0.25, count: 0.75}}},
    )
    welded, notes = weld_vertices(split)
    assert welded.n_vertices == count + 1
    assert notes[0].startswith('2 vertices')
    assert notes[1].startswith('2 vertices on the place of another move otherwise')
    np.testing.assert_array_equal(welded.faces[: len(whole.faces)], whole.faces)
    assert welded.keypoint_sets['all']['edge'] == {0: 1.0}
    assert weld_vertices(whole) == (whole, ())


def test_limits_of_a_user_are_set_and_said_to_be_his(tmp_path, capsys):
    source = save_body_model(CLEAN, tmp_path / 'box.smil.json')
    table, target = tmp_path / 'mine.csv', tmp_path / 'limited.smil.json'
    table.write_text('joint,axis,min_deg,max_deg\nhead,z,-10,20\n')
    assert model(['edit', str(source), str(target), '--limits', str(table)]) == 0
    assert 'limits of 1 joints are those of mine.csv now: 3 by the file it came from, 1 by a user' in (
        capsys.readouterr().out
    )
    data = load_body_model_data(target)
    np.testing.assert_allclose(np.degrees(data.joint_limits[3, 2]), [-10, 20])
    np.testing.assert_array_equal(data.joint_limits[:3], CLEAN.joint_limits[:3])
    assert data.joint_limits_from == ('file', 'file', 'file', 'user')
    assert model(['info', str(target), '--no-tree']) == 0
    assert '1 by a user' in ' '.join(capsys.readouterr().out.split())
    # Whence limits are changes no body, nor the fits that were made with it.
    assert replace(data, joint_limits_from=()).content_hash() == data.content_hash()
    table.write_text('joint,axis,min_deg,max_deg\nhead,z,ten,20\n')
    assert model(['edit', str(source), str(tmp_path / 'no.smil.json'), '--limits', str(table)]) == 1
    assert "limits of head must be degrees; got 'ten' and '20'" in capsys.readouterr().err
