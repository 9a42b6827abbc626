"""Measurements of models, registrations and fits, their intervals, and their growth with size."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL, load_body_model
from smilfit.cli.models.model_measure import main
from smilfit.files import BadFileError
from smilfit.options.fields import UNITS
from smilfit.registry import UnknownNameError
from smilfit.scans.measurements.allometry import allometry_of, allometry_table, ols_slope, sma_slope
from smilfit.scans.measurements.definitions import Distance, read_measurements
from smilfit.scans.measurements.measuring import Measurer, default_measurements
from smilfit.scans.measurements.specimens import (
    Registration,
    measure_fit,
    measure_model,
    measure_registration,
)
from smilfit.structures import BodyParams, FitCovariance, FitResult
from smilfit.structures.body import MILLIMETRES
from tests.animals import random_params

OWN = """
[reach]
kind = "geodesic"
points = ["ear_L", "tail_1"]
[width]
kind = "distance"
points = ["shoulder_L", ["shoulder_R", "vertex:0"]]
[knee]
kind = "angle"
points = ["hip_L", "knee_L", "ankle_L"]
[leg]
kind = "limb"
from = "ankle_L"
to = "spine_1"
[neck]
kind = "girth"
bone = ["neck", "neck_mid"]
at = 0.4
perimeter = "section"
[head_skin]
kind = "surface"
joints = ["head"]
[volume]
kind = "volume"
"""


@pytest.fixture(scope='module')
def quadruped() -> SMIL:
    return load_body_model('quadruped')


@pytest.fixture(scope='module')
def own_file(tmp_path_factory):
    path = tmp_path_factory.mktemp('own') / 'own.toml'
    path.write_text(OWN)
    return path


def test_the_default_set_tells_of_body_limbs_and_bones(quadruped):
    result = {m.name: m for m in default_measurements(quadruped.data)}
    assert len([name for name in result if name.startswith('bone_')]) == quadruped.n_joints - 1
    assert {'body_length', 'limb_hip_L', 'limb_hip_R', 'trunk_girth', 'surface_area', 'volume'} <= set(result)
    assert 'tail_2' not in result['body_length'].points
    # The insect's unit is its length, from the head's skin to that of its abdomen.
    insect = load_body_model('insect')
    (whole,) = measure_model(
        insect, [m for m in default_measurements(insect.data) if m.name == 'body_length']
    )
    assert whole.values[0] == pytest.approx(1, abs=0.05)
    (mean,) = measure_model(quadruped, tuple(result.values()), unit='cm')
    values = dict(zip((m.name for m in mean.measurements), mean.values))
    data = quadruped.data
    a, b = (data.joint_names.index(name) for name in ('hip_L', 'knee_L'))
    assert values['bone_knee_L'] == pytest.approx(
        10 * np.linalg.norm(data.joints[a] - data.joints[b]), rel=1e-5
    )
    assert mean.length_unit == 'mm'
    assert mean.units[-1] == 'mm^3'


def test_turns_and_places_change_nothing_and_scale_its_power(quadruped, own_file):
    measurer = Measurer(quadruped, read_measurements(own_file, quadruped.data))
    rest = measurer.body.zero_params()
    moved = rest.replace(
        global_orient=torch.tensor([[0.4, -1.0, 0.3]], dtype=torch.float64),
        transl=torch.tensor([[3.0, -2.0, 5.0]], dtype=torch.float64),
        scale=torch.tensor([2.0], dtype=torch.float64),
    )
    one, two = (measurer.measure(next(measurer.geometries(p))) for p in (rest, moved))
    assert not one.reasons
    powers = np.array([m.dimension for m in measurer.measurements])
    np.testing.assert_allclose(two.values / one.values, 2.0**powers, rtol=2e-3)


def test_deviations_are_those_of_drawn_shapes(quadruped, own_file):
    own = [m for m in read_measurements(own_file, quadruped.data) if m.kind != 'geodesic']
    measurer = Measurer(quadruped, own)
    rest = measurer.body.zero_params()
    rng = np.random.default_rng(0)
    columns = ['betas[0]', 'betas[1]', 'scale[0]']
    root = np.array([[0.1, 0.0, 0.0], [0.06, 0.08, 0.0], [0.01, -0.02, 0.03]])
    result = measurer.deviations(rest, columns, root @ root.T)
    drawn = rng.normal(size=(80, 3)) @ root.T
    betas = rest.betas.repeat(80, 1)
    betas[:, :2] += torch.from_numpy(drawn[:, :2])
    params = BodyParams.cat([rest] * 80).replace(betas=betas, scale=torch.from_numpy(np.exp(drawn[:, 2])))
    every = np.stack([measurer.measure(body).values for body in measurer.geometries(params)])
    lengths = np.array([m.dimension > 0 for m in own])
    np.testing.assert_allclose(every.std(0, ddof=1)[lengths], result[lengths], rtol=0.25)
    # Straight lines of joints that no shape moves.
    assert result[~lengths] == pytest.approx(0, abs=1e-6)
    # An unknown beta leaves what it does not touch.
    unknown = np.diag([0.01, np.inf, 0.0])
    result = dict(zip((m.name for m in own), measurer.deviations(rest, columns, unknown)))
    assert np.isinf(result['head_skin'])
    assert np.isfinite(result['leg'])


def test_a_fit_is_measured_at_rest_with_its_doubt(quadruped):
    data = replace(quadruped.data, unit='m')
    body = SMIL(data)
    n = 6
    params = random_params(data, n).to(torch.float32)
    same = {
        name: getattr(params, name)[:1].expand(n, *getattr(params, name).shape[1:])
        for name in ('betas', 'scale')
    }
    params = params.replace(**same, body_pose=0.3 * params.body_pose)
    columns = ('transl_x', *(f'betas[{i}]' for i in range(body.n_betas)), 'log_scale[0]')
    sd = torch.full((n, len(columns)), 0.02)
    known = FitCovariance(None, columns, torch.zeros(n, 1, 3, 3), ('tail_1',), 1.0, sd)
    fit = FitResult(params, torch.zeros(n), torch.ones(n, dtype=torch.bool), covariance=known)
    wanted = default_measurements(data)
    result = measure_fit(fit, 'one', body, wanted, poses=4, unit='cm')
    at = {m.name: i for i, m in enumerate(result.measurements)}
    rest = Measurer(body, wanted)
    plain = rest.measure(next(rest.geometries(rest.at_rest(params))).times(10.0)).values
    np.testing.assert_allclose(result.values, plain, rtol=1e-9)
    assert result.low[at['volume']] < result.values[at['volume']] < result.high[at['volume']]
    # A scale's relative doubt counts thrice in a volume.
    assert result.sd[at['volume']] > 3 * 0.02 * result.values[at['volume']] * 0.99
    assert result.pose_spread_percent[at['bone_knee_L']] == 0
    assert result.pose_spread_percent[at['volume']] > 0
    assert any('independent' in remark for remark in result.remarks)


def test_slopes_of_known_growth_are_in_their_intervals():
    rng = np.random.default_rng(1)
    inside = np.zeros(3)
    runs, slope, n = 400, 1.4, 15
    for _ in range(runs):
        x, rest = rng.normal(size=(2, n)) * 0.3
        y = slope * x + 0.2 * rest
        result = ols_slope(x, y), sma_slope(x, y)
        major = np.sqrt(slope**2 + (0.2 / 1) ** 2)
        inside += [result[0].low < slope < result[0].high, result[1].low < major < result[1].high, 1]
    # 95 % with a standard error of 1.1 %.
    assert np.abs(inside[:2] / runs - 0.95).max() < 0.035
    assert allometry_of('y', 'x', 1.0, np.array([1.0, 2.0]), np.array([1.0, 2.0])) is None


def test_the_command_writes_rows_slopes_and_a_picture(own_file, tmp_path, capsys):
    out = tmp_path / 'm.csv'
    n = load_body_model('quadruped').n_betas
    shapes = ['--betas=' + ','.join(str(float(k == i)) for k in range(n)) for i in range(3)]
    arguments = ['quadruped', '--measurements', str(own_file), '--out', str(out), *shapes]
    assert main([*arguments, '--allometry', 'neck']) == 0
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 7
    assert {row['unit'] for row in rows} == {'body length', 'body length^2', 'body length^3', 'deg'}
    with (tmp_path / 'm_allometry.csv').open() as file:
        slopes = {row['measurement']: row for row in csv.DictReader(file)}
    assert slopes['volume']['n'] == '4'
    assert float(slopes['volume']['isometry']) == 3
    assert 'knee' not in slopes
    assert (tmp_path / 'm_allometry.png').stat().st_size > 5000
    notes = capsys.readouterr().out
    assert 'SMA' in notes
    assert str(out) in notes
    assert tuple(MILLIMETRES) == UNITS


def test_wrong_files_and_sizes_are_refused_in_words(quadruped, tmp_path):
    def refused(text: str, error: type[Exception], match: str) -> None:
        path = tmp_path / 'bad.toml'
        path.write_text(text)
        with pytest.raises(error, match=match):
            read_measurements(path, quadruped.data)

    refused('[a]\nkind = "girt"', UnknownNameError, 'girth')
    refused('[a]\nkind = "distance"\npoints = ["hip_L", "knee_l"]', UnknownNameError, 'knee_L')
    refused('[a]\nkind = "distance"\npoints = ["hip_L"]', BadFileError, 'list of 2 places')
    refused('[a]\nkind = "girth"\nbone = ["hip_L", "knee_L"]\nwhere = 1', UnknownNameError, 'where')
    refused('[a]\nkind = "distance"\npoints = ["hip_L", "vertex:99999"]', BadFileError, 'vertex:0 to')
    refused('[a]\nkind = "limb"\nfrom = "hip_L"', BadFileError, "must have 'to'")
    refused('a = 1', BadFileError, 'a table')
    specimens = measure_model(quadruped, default_measurements(quadruped.data))
    with pytest.raises(UnknownNameError, match='body_length'):
        allometry_table(specimens, 'body_lenght')
    with pytest.raises(ValueError, match='3 specimens'):
        allometry_table(specimens, 'body_length')
    with pytest.raises(ValueError, match='betas must be'):
        measure_model(quadruped, (), {'x': (1.0,)})


def test_numbers_of_a_wrong_registration_are_marked(quadruped, tmp_path):
    data = quadruped.data
    folder = tmp_path / 'animal'
    folder.mkdir()
    gone = [n for n in data.joint_names if n.endswith('_L') and n.startswith(('knee', 'ankle', 'paw', 'toe'))]
    np.savez(
        folder / 'registration.npz', name=np.array('animal'), unposed=data.v_template, scale=np.ones(1),
        absent=np.array(gone), doubts=np.array(['a twentieth of the scan lies 12 % off']),
    )  # fmt: skip
    out = tmp_path / 'out.csv'
    assert main([str(folder), '--out', str(out), '--body-model', 'quadruped', '--unit', 'mm']) == 0
    rows = {row['measurement']: row for row in csv.DictReader(out.open())}
    assert all('12 % off' in row['doubt'] for row in rows.values())
    marked = {name for name, row in rows.items() if 'does not show' in row['doubt']}
    assert 'bone_ankle_L' in marked
    assert not marked & {'bone_ankle_R', 'bone_hip_R', 'body_length'}


def test_slopes_leave_out_what_is_in_doubt(quadruped):
    wanted = [Distance('shank', ('knee_L', 'ankle_L')), Distance('body', ('neck', 'tail_1'))]
    v, gone = quadruped.data.v_template, ('knee_L', 'ankle_L')
    made = [Registration(str(i), v, None, None, 1.0 + i) for i in range(4)]
    # One of another animal, and one whose foot nobody saw.
    made += [replace(made[0], name='wrong', scale=9.0, doubts=('off',)), replace(made[1], absent=gone)]
    result = [measure_registration(one, quadruped, wanted) for one in made]
    assert {s.length_unit for s in result} == {'scan unit'}
    (shank,), _ = allometry_table(result, 'body')
    assert (shank.n, shank.left_out) == (4, 2)
    (every,), _ = allometry_table(result, 'body', doubted=True)
    assert (every.n, every.left_out) == (6, 0)
    assert allometry_table(result[3:], 'body')[0] == []
