"""What a scan may be, what is left out of it, and what is suspected."""

import numpy as np
import pytest

from smilfit.body_models import SMIL
from smilfit.files import BadFileError
from smilfit.io.meshes.scan_files import find_scans, read_mesh, read_scan_landmarks
from smilfit.scans.registration import MeshRegistrant, RegistrationStage, clean_scan, unit_suspicion
from smilfit.synthetic import make_insect

DATA = make_insect()
BODY = SMIL(DATA)


def scan(vertices=DATA.v_template, faces=DATA.faces, **more):
    return clean_scan('one', vertices, faces, **more)


@pytest.mark.parametrize(
    ('vertices', 'faces', 'message'),
    [
        (DATA.v_template, np.zeros((0, 3), int), 'must be a surface of triangles; got 0 faces'),
        (np.full_like(DATA.v_template, np.nan), DATA.faces, 'vertices must be finite'),
        (np.zeros_like(DATA.v_template), DATA.faces, 'must have an extent'),
        (DATA.v_template, DATA.faces + 1, 'faces must name vertices'),
    ],
)
def test_what_is_no_surface_is_refused(vertices, faces, message):
    with pytest.raises(ValueError, match=message):
        scan(vertices, faces)


def test_bad_parts_are_left_out_and_counted():
    speck = np.array([[9.0, 9, 9], [9.01, 9, 9], [9, 9.01, 9], [np.nan, 0, 0]])
    n = DATA.n_vertices
    faces = np.concatenate([DATA.faces, [[n, n + 1, n + 2], [0, 1, n + 3], [0, 0, 1]]])
    result = scan(np.concatenate([DATA.v_template, speck]), faces)
    assert len(result.vertices) == n
    assert result.report['vertices_not_finite'] == 1
    assert result.report['loose_pieces_left_out'] == 1


def test_vertices_of_seams_are_welded_and_noise_is_measured():
    alone = DATA.v_template[DATA.faces].reshape(-1, 3)
    assert len(scan(alone, np.arange(len(alone)).reshape(-1, 3)).vertices) == DATA.n_vertices
    noise = np.random.default_rng(0).normal(0, 0.004, DATA.v_template.shape)
    assert scan().roughness < 0.001 < 0.003 < scan(DATA.v_template + noise).roughness < 0.005


def test_a_unit_that_cannot_be_is_said():
    assert unit_suspicion(scan(unit='mm'), None, 1.2) is None
    assert 'hardly any animal is' in unit_suspicion(scan(DATA.v_template / 1000, unit='mm'), None, 1.2)
    assert 'differ by about 1000' in unit_suspicion(scan(DATA.v_template, unit='m'), 1.0, 1.2)


@pytest.mark.parametrize('shown', [slice(None), DATA.v_template[DATA.faces, 2].mean(1) > 0])
def test_a_surface_that_is_inside_out_is_turned(shown):
    faces = DATA.faces[shown]
    right, wrong = scan(faces=faces), scan(faces=faces[:, ::-1])
    assert right.report['pieces_inside_out'] == 0
    assert wrong.report['pieces_inside_out'] > 0
    assert np.allclose(right.normals, wrong.normals)


def test_landmarks_of_another_unit_are_left_out_and_named():
    valid, far = DATA.v_template[0], 1000 * DATA.v_template[0]
    result = scan(landmarks={'here': valid, 'far': far})
    assert list(result.landmarks) == ['here']
    assert result.report['landmarks_far_off'] == ['far']


def test_files_that_are_no_scans_are_named(tmp_path):
    (tmp_path / 'a.ply').write_text('ply\nformat ascii 1.0\n')
    (tmp_path / 'a.landmarks.json').write_text('{"head": [1, 2]}')
    with pytest.raises(BadFileError, match=r'a\.ply'):
        read_mesh(tmp_path / 'a.ply')
    with pytest.raises(BadFileError, match="'head' is"):
        read_scan_landmarks(tmp_path / 'a.ply')
    with pytest.raises(FileNotFoundError, match='not there'):
        find_scans([tmp_path / 'none.ply'])


def test_stages_with_unknown_names_are_refused():
    with pytest.raises(KeyError, match='sigm'):
        MeshRegistrant(BODY, stages=[{'sigm': 0.1}])
    with pytest.raises(KeyError, match='turn'):
        RegistrationStage(0.1, fit=('turn',))


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        ({'priors': {'pose_sd': 0}}, 'priors: pose_sd must be a number above 0; got 0'),
        ({'stages': [{'sigma': 2.0}]}, 'stages: sigma must be a number above 0, at most 1; got 2.0'),
        (
            {'stages': [{'sigma': 0.1, 'n_iter': 0}]},
            'stages: n_iter must be a whole number, 1 or more; got 0',
        ),
        ({'stages': []}, 'there must be a stage'),
        ({'scan_points': 10}, 'scan_points must be a whole number, 100 or more; got 10'),
        ({'deformation': [{'sigma': 0.1, 'strain': 0}]}, 'deformation: strain must be a number above 0'),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        MeshRegistrant(BODY, **setting)
