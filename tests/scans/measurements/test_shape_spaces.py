"""A known shape space is found again, and the model that is written gives the specimens back."""

import csv

import numpy as np
import pytest
import torch

from smilfit.apis.model_options import FORMS
from smilfit.body_models import SMIL, load_body_model, load_body_model_data
from smilfit.cli.models.model_measure import main as measure
from smilfit.cli.models.model_shape_space import main
from smilfit.scans import shape_space as shape_spaces
from smilfit.scans.measurements.allometry import allometry_table
from smilfit.scans.measurements.definitions import Distance
from smilfit.scans.measurements.specimens import (
    Registration,
    find_registrations,
    measure_registration,
    read_registration,
)
from smilfit.scans.shape_space import rest_shapes, shape_curves, shape_space, without_scales
from smilfit.structures import BodyParams
from tests.animals import small_animal, static_animal
from tests.scans.measurements.registrations import N_KNOWN, write_registrations


@pytest.fixture(scope='module')
def data():
    return load_body_model_data('insect')


@pytest.fixture(scope='module')
def folder(tmp_path_factory, data):
    path = tmp_path_factory.mktemp('registrations')
    write_registrations(path, data, n=12, noise=0.1)
    return path


def read_all(folder):
    return [read_registration(path) for path in find_registrations(folder)]


def angle_deg(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest angle between the spaces of rows."""
    a, b = (np.linalg.qr(rows.T)[0] for rows in (one, other))
    return float(np.degrees(np.arccos(np.linalg.svd(a.T @ b)[1].min().clip(-1, 1))))


@pytest.mark.parametrize('form', FORMS)
def test_with_all_components_the_model_gives_its_specimens_back(tmp_path, form):
    """Scales and offsets are taken from the skin and put back by the body model itself."""
    model = small_animal(n_vertices=60)
    write_registrations(tmp_path, model, n=6)
    shapes = rest_shapes(read_all(tmp_path), model)
    space = shape_space(shapes, model, form, variance=1.0)
    body = SMIL(space.data).double()
    params = body.zero_params(6).replace(betas=torch.from_numpy(space.scores))
    result = body(params, ('vertices',)).vertices.numpy()
    np.testing.assert_allclose(result, shapes.rest, atol=1e-5 * np.ptp(shapes.rest))
    np.testing.assert_allclose(
        np.cov(space.scores[:, : space.blocks[0].count].T), np.eye(space.blocks[0].count), atol=1e-8
    )
    if form != 'vertices':
        extreme = body.zero_params(1).replace(betas=torch.full((1, body.n_betas), -3.0, dtype=torch.float64))
        scales, _ = body.joint_scales_and_offsets(extreme)
        assert (scales > 0).all()


def test_a_known_space_is_recovered(tmp_path, data):
    truth = write_registrations(tmp_path, data, n=20, noise=0.05, scaled=False)
    registrations = read_all(tmp_path)
    space = shape_space(rest_shapes(registrations, data), data, 'vertices', components=N_KNOWN)
    # Specimens are centred and brought to one size, so the truth is without these.
    mean = data.v_template - data.v_template.mean(0)
    known = truth['shapes'] - truth['shapes'].mean(0)
    known = known.reshape(-1, N_KNOWN).T
    along = mean.reshape(-1) / np.linalg.norm(mean)
    known = known - np.outer(known @ along, along)
    assert angle_deg(known, space.blocks[0].directions) < 5
    curves = shape_curves(space.rows[0], data.n_vertices)
    assert curves.generalisation.value[N_KNOWN - 1] < 0.5 * curves.spread
    assert curves.compactness.value[N_KNOWN - 1] > 0.9
    assert (np.diff(curves.generalisation.value) < 1e-9).all()
    assert (curves.generalisation.low <= curves.generalisation.value).all()


def test_entangled_betas_are_those_that_specimens_were_made_of(folder, data):
    truth = write_registrations(folder.parent / 'again', data, n=12, noise=0.1)
    shapes = rest_shapes(read_all(folder), data)
    space = shape_space(shapes, data, 'entangled', components=N_KNOWN)
    centred = truth['betas'] - truth['betas'].mean(0)
    # Bringing exponentials of scales to one size bends the space a little.
    assert angle_deg(centred.T, space.scores.T) < 8
    # Sizes are known, and are not in the space.
    sizes = np.log(shapes.sizes)
    assert np.corrcoef(sizes, np.log(truth['sizes']))[0, 1] > 0.95
    kept = rest_shapes(read_all(folder), data, keep_size=True)
    assert np.log(np.linalg.norm(kept.rest - kept.rest.mean(1, keepdims=True), axis=(1, 2))).std() > 0.1


def test_left_out_errors_are_those_of_the_slow_way():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(7, 3)) @ rng.normal(size=(3, 40)) + 0.1 * rng.normal(size=(7, 40))
    curves = shape_curves(rows, 10)
    slow = np.zeros((7, 5))
    for i in range(7):
        others = np.delete(rows, i, 0)
        mean = others.mean(0)
        directions = np.linalg.svd(others - mean, full_matrices=False)[2]
        for k in range(1, 6):
            rest = rows[i] - mean
            rest = rest - directions[:k].T @ (directions[:k] @ rest)
            slow[i, k - 1] = np.linalg.norm(rest) / np.sqrt(10)
    np.testing.assert_allclose(curves.generalisation.value, slow.mean(0), atol=1e-8)


def test_specimens_that_grow_by_a_known_slope_are_told(data):
    rng = np.random.default_rng(4)
    logs = 0.4 * rng.normal(size=12)
    thigh = data.joint_names.index('femur_L1')
    scales = np.zeros((12, data.n_joints, 3))
    scales[:, thigh] = (0.3 * logs + 0.02 * rng.normal(size=12))[:, None]
    body = SMIL(data)
    wanted = [Distance('shank', ('femur_L1', 'tibia_L1')), Distance('body', ('head', 'abdomen_3'))]
    result = [
        measure_registration(
            Registration(str(i), data.v_template, scales[i], None, np.exp(logs[i]), 'cm'), body, wanted
        )
        for i in range(12)
    ]
    (shank,), _ = allometry_table(result, 'body')
    assert shank.sma.low < 1.3 < shank.sma.high
    assert shank.ols.low < 1.3 < shank.ols.high
    assert shank.word == 'faster'
    rest = np.linalg.norm(
        data.joints[data.joint_names.index('head')] - data.joints[data.joint_names.index('abdomen_3')]
    )
    np.testing.assert_allclose([s.values[1] for s in result], 10 * np.exp(logs) * rest, rtol=1e-5)


def test_scales_are_taken_from_skin_exactly():
    model = small_animal(n_vertices=50)
    rng = np.random.default_rng(3)
    scales, offsets = 0.2 * rng.normal(size=(2, model.n_joints, 3))
    body = SMIL(model).double()
    params = BodyParams.zeros(1, model.n_joints, model.n_betas, like=body.v_template).replace(
        log_joint_scales=torch.from_numpy(scales)[None], joint_offsets=torch.from_numpy(offsets)[None]
    )
    rest = body(params, ('vertices',)).vertices[0].detach().numpy()
    np.testing.assert_allclose(
        without_scales(model, 'local', rest, scales, offsets), model.v_template, atol=1e-6
    )


def test_the_commands_write_model_page_and_tables(folder, tmp_path, capsys):
    out = tmp_path / 'ants.smil.json'
    assert main([str(folder), str(out), '--body-model', 'insect', '--components', '3']) == 0
    notes = capsys.readouterr().out
    assert 'one left out' in notes
    body = load_body_model(out)
    assert body.data.log_scale_directions
    assert body.scaledirs is not None
    assert body.n_betas == 3
    assert body.data.content_hash() == load_body_model(out).data.content_hash()
    page = (tmp_path / 'ants_shape_space.html').read_text()
    assert 'Shape space' in page
    assert page.count('data:image') >= 4
    with (tmp_path / 'ants_scores.csv').open() as file:
        assert len(list(csv.DictReader(file))) == 12
    table, own = tmp_path / 'm.csv', tmp_path / 'own.json'
    own.write_text(
        '{"volume": {"kind": "volume"}, "body": {"kind": "distance", "points": ["head", "abdomen_3"]}}'
    )
    arguments = [str(folder), '--body-model', 'insect', '--out', str(table), '--measurements', str(own)]
    assert measure(arguments) == 0
    with table.open() as file:
        rows = [row for row in csv.DictReader(file) if row['measurement'] == 'volume']
    assert len(rows) == 12
    assert {row['unit'] for row in rows} == {'mm^3'}
    assert shape_spaces.FORMS == ('vertices', 'entangled', 'disentangled')
    assert set(FORMS) == set(shape_spaces.FORMS)


def test_what_makes_no_space_is_refused_in_words(folder, tmp_path, data):
    registrations = read_all(folder)
    with pytest.raises(ValueError, match='at least 3'):
        rest_shapes(registrations[:2], data)
    with pytest.raises(ValueError, match='got .*twice'):
        rest_shapes([registrations[0]] * 3, data)
    with pytest.raises(ValueError, match='at most 11'):
        shape_space(rest_shapes(registrations, data), data, components=12)
    with pytest.raises(ValueError, match='body-model'):
        rest_shapes(registrations, small_animal())
    static = static_animal(n_vertices=50)
    write_registrations(tmp_path, static, n=4)
    with pytest.raises(ValueError, match='--size keep'):
        rest_shapes(read_all(tmp_path), static, keep_size=True)
    with pytest.raises(FileNotFoundError, match='smilfit register'):
        find_registrations(tmp_path / 'specimen_00' / 'none')
