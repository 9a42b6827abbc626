"""The add-on, installed from its archive into a Blender without a window: models, edits, scans, fits and words."""

import json
import math
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smilfit.body_models import load_body_model, load_body_model_data, save_body_model
from smilfit.body_models.data import Landmark
from smilfit.io.exports import ExportedFit, ExportOptions, exporter
from smilfit.rigs.blender import BlenderError, NoBlenderError, find_blender, run_in_blender
from smilfit.rigs.checking.mending import drop_loose_vertices, symmetrise_limits
from smilfit.rigs.joint_regressing import joints_of_rings
from smilfit.rigs.symmetry import symmetrise
from smilfit.structures import BodyParams
from smilfit.version import __version__
from tests.io.exports.fits import FPS, made_fit
from tests.scans.measurements.registrations import write_registrations

ROOT = Path(__file__).resolve().parents[2]
SEEN = [0, 1, 3, 4, 5]
LONG = 'tail_bone_' + 60 * 'ü'
MOVED, RENAMED, THIRD, FOURTH = 'neck', 'head', 'hip_L', 'hip_R'
CUT = [100, 101, 102]


def made_model():
    """Return a model with all that Blender has no place for."""
    data = load_body_model_data('quadruped')
    rng = np.random.default_rng(0)
    axes = np.tile(np.eye(3), (data.n_joints, 1, 1))
    for j in (3, 5):
        axes[j] = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        axes[j, :, 0] *= np.linalg.det(axes[j])
    limits = data.joint_limits.copy()
    limits[4] = 0
    limits[6] = [-math.pi, math.pi]
    return replace(
        data,
        unit='cm',
        up_axis='+y',
        joint_axes=axes,
        joint_limits=limits,
        landmarks={
            'mark': Landmark({CUT[0]: 1.0}, MOVED, (0.0, 0.0, 0.0), 0.1),
            'other': Landmark(RENAMED, RENAMED),
        },
    )


@pytest.fixture(scope='module')
def job(tmp_path_factory):
    try:
        find_blender()
    except NoBlenderError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp('blender')
    save_body_model(made_model(), folder / 'first.smil.json')
    text = (folder / 'first.smil.json').read_text().replace('"tail_3"', json.dumps(LONG))
    (folder / 'model.smil.json').write_text(text)
    insect = load_body_model_data('insect')
    save_body_model(insect, folder / 'insect.smil.json')
    write_registrations(folder / 'scans', insect, n=5)
    fits = []
    for mode in ('local', 'inherited'):
        fit = made_fit(joint_scales=True)
        fit.body.joint_scale_mode = mode
        (folder / mode).mkdir()
        if mode == 'local':
            fit.save(folder / mode / 'fit.npz')
            fits.append((mode, str(folder / mode), 0, {'up': '-z'}))
        else:
            shown = ExportedFit('session_1', fit, fit.frames.numpy() + 1000, fit.fitted.numpy(), 29.97)
            exporter('glb').write(folder / mode, shown, ExportOptions())
            fits.append((mode, str(folder / mode / 'animation.glb'), 1000, {}))
    data = load_body_model_data(folder / 'model.smil.json')
    assert (
        subprocess.run(
            [sys.executable, ROOT / 'tools' / 'blender_addon.py', '--out', folder], check=True
        ).returncode
        == 0
    )
    described = {
        'zip': str(folder / f'smilfit_blender-{__version__}.zip'),
        'out': str(folder / 'out'),
        'environment': {
            'SMILFIT_PYTHON': sys.executable, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'MPLBACKEND': 'Agg',
            'COLUMNS': '200',
        },
        'model': str(folder / 'model.smil.json'),
        'names': list(data.joint_names),
        'turns': (0.4 * np.random.default_rng(1).normal(size=(data.n_joints, 3))).tolist(),
        'moved': MOVED, 'renamed': RENAMED, 'third': THIRD, 'fourth': FOURTH, 'cut': CUT,
        'loose': unneeded_vertex(data),
        'scanned': str(folder / 'insect.smil.json'),
        'registrations': str(folder / 'scans'),
        'fits': fits,
        'frames': SEEN,
    }  # fmt: skip
    (folder / 'out').mkdir()
    (folder / 'job.json').write_text(json.dumps(described))
    return described


@pytest.fixture(scope='module')
def done(job):
    try:
        run_in_blender(Path(__file__).with_name('in_blender.py'), Path(job['out']).parent / 'job.json')
    except BlenderError as error:
        raise AssertionError(f'{error}\n{error.trace}') from None
    out = Path(job['out'])
    return json.loads((out / 'found.json').read_text()), out


def unneeded_vertex(data):
    """Return a vertex that neither joints, keypoints nor landmarks need."""
    needed = set(data.joint_regressor.cols.tolist())
    held = [d for points in data.keypoint_sets.values() for d in points.values()]
    held += [mark.anchor for mark in data.landmarks.values()]
    needed |= {v for definition in held if not isinstance(definition, str) for v in definition}
    return next(v for v in range(200, data.n_vertices) if v not in needed)


def document(path):
    return json.loads(Path(path).read_text())


def difference(a, b):
    return {key for key in {*a, *b} if a.get(key) != b.get(key)}


def test_the_archive_is_an_extension_that_blender_installs_and_takes_back(done, job):
    result, _ = done
    assert result['installed'] == ['FINISHED']
    assert result['enabled']
    assert '.'.join(map(str, result['version'])) == __version__
    assert result['left'] == []
    with zipfile.ZipFile(job['zip']) as archive:
        assert f'version = "{__version__}"' in archive.read('blender_manifest.toml').decode()
        assert 'LICENSE' in archive.namelist()


def test_a_model_that_nobody_touched_comes_back_digit_by_digit(done, job):
    _, out = done
    assert difference(document(job['model']), document(out / 'untouched.smil.json')) == set()
    assert difference(document(job['model']), document(out / 'from_blend.smil.json')) == set()


def test_bones_stand_at_joints_and_have_their_axes(done, job):
    result, out = done
    data, shown = load_body_model_data(job['model']), np.load(out / 'imported.npz')
    order = [data.joint_names.index(name) for name in shown['names']]
    np.testing.assert_allclose(shown['heads'], data.joints[order], atol=1e-6)
    np.testing.assert_allclose(shown['axes'], data.joint_axes[order], atol=1e-5)
    np.testing.assert_allclose(shown['basis'], data.v_template, atol=1e-6)
    # Centimetres, and y up, in metres and z up.
    np.testing.assert_allclose(shown['matrix'][:3, 1], [0, 0, 0.01], atol=1e-9)
    assert result['scene_size'] == pytest.approx(0.01 * np.ptp(data.v_template, axis=0).max(), rel=1e-5)
    assert all(len(name.encode()) <= 63 for name in result['bones'])
    sds = np.sqrt(np.diag(data.shape_cov))
    for s, sd in enumerate(sds):
        unit = 1.0 if abs(data.shape_mean[s] if data.shape_mean is not None else 0) + 3 * sd <= 10 else sd
        assert result['sliders'][f'beta_{s}'][1] == pytest.approx(
            ((0 if data.shape_mean is None else data.shape_mean[s]) + 3 * sd) / unit, abs=1e-5
        )
    points = [
        n for points in data.keypoint_sets.values() for n, d in points.items() if not isinstance(d, str)
    ]
    assert sum(name.startswith('keypoint:') for name in result['groups']) == len(points)


def test_a_pose_in_blender_is_a_pose_of_the_model(done, job):
    _, out = done
    body = load_body_model(job['model']).double()
    turns = np.einsum('jab,jb->ja', body.data.joint_axes, np.array(job['turns']))
    params = BodyParams.zeros(1, body.n_joints, body.n_betas, like=body.v_template)
    params = params.replace(
        global_orient=torch.from_numpy(turns[None, 0]), body_pose=torch.from_numpy(turns[None, 1:])
    )
    with torch.no_grad():
        wanted = body(params, ('vertices',)).vertices[0].numpy()
    np.testing.assert_allclose(np.load(out / 'posed.npy'), wanted, atol=2e-6 * np.ptp(wanted, 0).max())


def test_edits_arrive(done, job):
    _, out = done
    before, after = load_body_model_data(job['model']), load_body_model_data(out / 'edited.smil.json')
    j, k = before.joint_names.index(MOVED), before.joint_names.index(RENAMED)
    assert after.joint_names[k] == 'another_name'
    assert after.landmarks['other'].bone == 'another_name'
    moved = after.joints - before.joints
    np.testing.assert_allclose(moved[j], [0, 0, 0.01], atol=2e-6)
    # Whatever the skin did, bones stay where they are drawn: their regressor says so now.
    assert not np.delete(moved, j, 0).any()
    np.testing.assert_allclose(after.joint_regressor @ after.v_template, after.joints, atol=2e-5)
    step = after.v_template - before.v_template
    np.testing.assert_allclose(step[7], [0, 0.02, 0], atol=2e-6)
    assert not np.delete(step, 7, 0).any()
    np.testing.assert_allclose(after.shapedirs[7, :, 0], [0, 0, 0.5], atol=1e-5)
    assert after.n_betas == before.n_betas + 1
    np.testing.assert_allclose(after.shapedirs[..., -1], 0.1 * after.v_template, atol=1e-5)
    assert after.shape_cov[-1, -1] == 1
    np.testing.assert_array_equal(after.shape_cov[:-1, :-1], before.shape_cov)
    weights = after.weights.to_dense()
    np.testing.assert_allclose(weights[3, [j, k]], 0.5)
    np.testing.assert_array_equal(np.delete(weights, 3, 0), np.delete(before.weights.to_dense(), 3, 0))
    assert after.keypoint_sets['added']['my_point'] == {1: 0.5, 2: 0.5}
    assert after.licence == 'mine'


def test_limits_of_ones_own(done, job):
    result, out = done
    before, after = load_body_model_data(job['model']), load_body_model_data(out / 'limited.smil.json')
    j, k, m, n = (before.joint_names.index(name) for name in (MOVED, RENAMED, THIRD, FOURTH))
    np.testing.assert_allclose(after.joint_limits[j], [[-0.5, 0.75], [-0.25, 0.25], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(after.joint_limits[k], np.tile([-math.pi, math.pi], (3, 1)), atol=1e-6)
    np.testing.assert_allclose(after.joint_limits[m], [[-0.4, 0.7], [-0.1, 0.1], [-0.1, 0.1]], atol=1e-4)
    np.testing.assert_allclose(after.joint_limits[n, 1], [-0.125, 0.5])
    others = [i for i in range(before.n_joints) if i not in (j, k, m, n)]
    np.testing.assert_array_equal(after.joint_limits[others], before.joint_limits[others])
    assert 'least angle must be below the greatest' in result['crossed']
    assert 'must have an action' in result['no_motion']


def test_what_names_vertices_follows_when_some_go(done, job):
    _, out = done
    before, after = load_body_model_data(job['model']), load_body_model_data(out / 'cut.smil.json')
    kept = np.delete(np.arange(before.n_vertices), CUT)
    np.testing.assert_array_equal(after.v_template, before.v_template[kept])
    np.testing.assert_array_equal(after.shapedirs, before.shapedirs[kept])
    assert 'mark' not in after.landmarks
    assert 'other' in after.landmarks
    np.testing.assert_allclose(after.joints, before.joints, atol=2e-5)
    for name, points in before.keypoint_sets.items():
        for point, definition in points.items():
            if not isinstance(definition, str) and not set(definition) & set(CUT):
                moved = {int(kept[v]): w for v, w in after.keypoint_sets[name][point].items()}
                assert moved == pytest.approx(definition)


def test_weights_are_cleaned_in_place(done, job):
    result, out = done
    before, after = load_body_model_data(job['model']), load_body_model_data(out / 'cleaned.smil.json')
    assert result['same_object']
    assert 'must hang on a bone; 1 do not, such as vertex 11' in result['loose']
    dense = after.weights.to_dense()
    assert (dense > 0).sum(1).max() == 2
    assert dense[dense > 0].min() >= 0.05
    np.testing.assert_allclose(dense.sum(1), 1, atol=1e-9)
    assert dense[11].max() == 1
    np.testing.assert_array_equal(after.v_template, before.v_template)


def test_what_is_wrong_is_told_and_mended(done):
    result, out = done
    before, after = (load_body_model_data(out / f'{name}.smil.json') for name in ('wrong', 'mended'))
    first, second = result['checked']
    assert 'vertex of no face' in first
    assert 'limits' in first
    assert 'of no face' not in second
    wanted = symmetrise_limits(drop_loose_vertices(before)[0])[0]
    assert result['mended_vertices'] == after.n_vertices == before.n_vertices - 1
    np.testing.assert_array_equal(after.v_template, wanted.v_template)
    np.testing.assert_array_equal(after.faces, wanted.faces)
    np.testing.assert_allclose(after.joint_limits, wanted.joint_limits, atol=1e-9)
    assert not np.allclose(after.joint_limits, before.joint_limits)


def test_sides_and_joints_are_what_smilfit_makes_of_them(done):
    _, out = done
    before, after = (load_body_model_data(out / f'{name}.smil.json') for name in ('cleaned', 'symmetric'))
    wanted, _ = joints_of_rings(symmetrise(before)[0])
    size = np.ptp(before.v_template, axis=0).max()
    np.testing.assert_allclose(after.v_template, wanted.v_template, atol=2e-6 * size)
    np.testing.assert_allclose(after.joints, wanted.joints, atol=1e-5 * size)


def test_scans_are_shapes_and_their_components_a_model(done, job):
    result, out = done
    assert result['scans'] == [f'scan: specimen_{i:02d}' for i in range(5)]
    wanted = np.load(Path(job['registrations']) / 'specimen_01' / 'registration.npz')['unposed']
    np.testing.assert_allclose(np.load(out / 'scan.npy'), wanted, atol=1e-6)
    assert difference(document(job['scanned']), document(out / 'scanned.smil.json')) == set()
    assert result['space'] == ['Basis', 'beta_0', 'beta_1']
    made = load_body_model_data(out / 'space.smil.json')
    assert made.scaledirs is not None
    assert made.log_scale_directions


def test_bones_follow_a_sculpted_skin(done, job):
    _, out = done
    before, after = load_body_model_data(job['model']), load_body_model_data(out / 'lifted.smil.json')
    np.testing.assert_allclose(
        after.joints, before.joint_regressor @ before.v_template + [0, 0, 0.25], atol=1e-6
    )
    assert after.joint_regressor.values.tolist() == before.joint_regressor.values.tolist()


@pytest.mark.parametrize('mode', ['local', 'inherited'])
def test_a_fit_moves_as_it_was_fitted_and_cameras_see_it_where_they_did(done, mode):
    result, out = done
    fit = made_fit(joint_scales=True)
    fit.body.joint_scale_mode = mode
    first, fps = (0, FPS) if mode == 'local' else (1000, 29.97)
    assert result[mode]['frames'] == [first, first + 5]
    assert result[mode]['fps'] == pytest.approx(fps)
    assert result[mode]['cameras'] == ['back', 'mid', 'top']
    np.testing.assert_allclose(result[mode]['scale'], 1, atol=1e-6)
    with torch.no_grad():
        vertices = fit.body(fit.params[SEEN], ('vertices',)).vertices.double()
    shown = np.load(out / f'{mode}.npz')
    metres = vertices.numpy() / 1000
    # Up was stated as -z in one; the other's y is taken for up.
    rotation = np.diag([1.0, -1, -1]) if mode == 'local' else np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    if mode == 'local':
        rotation = shown['bodies'][0].T @ np.linalg.pinv(metres[0].T)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-4)
        np.testing.assert_allclose(rotation[2], [0, 0, -1], atol=1e-4)
        assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-4)
        rotation = rotation.round()
    size = np.ptp(metres[0], 0).max()
    np.testing.assert_allclose(shown['bodies'], metres @ rotation.T, atol=2e-6 * size)
    ideal = fit.recorded_cameras.ideal()
    pixels = ideal.project(vertices[0])[0].numpy()
    assert np.abs(shown['pixels'] - pixels).max() < 0.1


def test_what_cannot_be_is_said_in_words(done):
    said = done[0]['faults']
    for name, words in {
        'text': 'must be a readable body model',
        'other': 'must be a body model, with "format": "smil"',
        'short': 'must have joints, vertices, faces, skin_weights',
        'index': 'arrays must fit each other',
        'missing': 'must be a file; it is not there',
        'noise': 'must be a binary glTF file',
        'no fit': 'must be a binary glTF file',
        'no animation': 'must be an animation of `smilfit export --to glb`',
        'no model': 'A body model of smilfit must be chosen',
        'no camera': 'A camera must be chosen',
        'no registrations': 'must hold registration.npz',
        'no scans': 'Registrations must be imported first',
        'damaged': 'The model in this .blend is damaged',
        'no smilfit': 'smilfit must be there for this; it was not found',
        'no python': 'the preferences: must name a Python that has smilfit',
    }.items():
        assert words in said[name], (name, said[name])
    assert said['python'] == ''


def test_a_model_goes_out_as_a_pickle(done, job):
    _, out = done
    before, after = load_body_model_data(job['model']), load_body_model_data(out / 'model.pkl')
    np.testing.assert_allclose(after.v_template, before.v_template, atol=1e-9)
    assert after.joint_names == before.joint_names
