"""`smilfit register`: files, a failed scan, a second run that keeps the first, and two processes."""

import csv
import json
import os

import numpy as np
import pytest
from scipy.spatial import ConvexHull

from smilfit.cli.fitting.register import main
from smilfit.cli.models.model_measure import main as measure
from smilfit.io.meshes.mesh_files import write_mesh
from smilfit.synthetic import make_insect
from tests.ranks import on_two_ranks

CONFIG = """
type = 'MeshRegistrant'
n_starts = 1
per_part = 8
scan_points = 800
stages = [dict(sigma=0.04, limbs=True, n_iter=5, ftol=0.1)]
deformation = []
"""


@pytest.fixture(scope='module')
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp('register')
    data = make_insect()
    (folder / 'scans').mkdir()
    write_mesh(folder / 'scans' / 'ant.obj', 4 * data.v_template[:, [1, 2, 0]], data.faces)
    (folder / 'scans' / 'broken.obj').write_text('v 0 0 0\n')
    (folder / 'config.py').write_text(CONFIG)
    arguments = [
        str(folder / 'config.py'), '--scans', str(folder / 'scans'), '--out', str(folder / 'out'),
        '--body-model', 'insect', '--unit', 'mm', '--no-progress',
    ]  # fmt: skip
    return folder / 'out', arguments, main(arguments)


def test_a_scan_that_fails_is_told_of_and_the_others_are_there(done):
    out, _, code = done
    assert code == 3
    record = json.loads((out / 'ant' / 'registration.json').read_text())
    assert record['unit'] == 'mm'
    assert record['warnings'] == []
    assert record['scale'] == pytest.approx(4, rel=0.05)
    assert {'registration.npz', 'registered.ply', 'registration.jpg'} <= {
        p.name for p in (out / 'ant').iterdir()
    }
    page = (out / 'registrations.html').read_text()
    assert 'broken' in page
    # In words of ours, without the name of a class of errors.
    assert 'Error:' not in page
    assert 'ant' in page
    assert np.load(out / 'ant' / 'registration.npz')['unposed'].ndim == 2


def test_the_same_command_again_keeps_what_is_there(done, capsys):
    out, arguments, _ = done
    before = (out / 'ant' / 'registration.npz').stat().st_mtime_ns
    assert main(arguments) == 3
    said = capsys.readouterr().out
    assert '1 were registered already' in said
    assert f'next: smilfit model measure {out} --out {out}.csv' in said
    assert (out / 'ant' / 'registration.npz').stat().st_mtime_ns == before


def test_two_processes_share_scans_and_the_first_tells_of_all(tmp_path):
    vertices, faces = egg()
    write_mesh(tmp_path / 'template.ply', vertices, faces)
    (tmp_path / 'scans').mkdir()
    for name, size in (('a', 1.0), ('b', 2.0), ('c', 3.0)):
        write_mesh(tmp_path / 'scans' / f'{name}.ply', size * vertices[:, [2, 0, 1]], faces)
    (tmp_path / 'scans' / 'bad.obj').write_text('v 0 0 0\n')
    (tmp_path / 'config.py').write_text(CONFIG.replace('limbs=True, ', ''))
    arguments = [
        str(tmp_path / 'config.py'), '--scans', str(tmp_path / 'scans'), '--out', str(tmp_path / 'out'),
        '--body-model', str(tmp_path / 'template.ply'), '--no-progress', '--launcher', 'pytorch',
    ]  # fmt: skip
    on_two_ranks(run_and_note, arguments, tmp_path, grouped=False)
    # The first process says what is wrong with all; the other has nothing to say.
    assert {(tmp_path / f'code_{rank}').read_text() for rank in (0, 1)} == {'0', '3'}
    assert (tmp_path / 'code_0').read_text() == '3'
    for name, size in (('a', 1.0), ('b', 2.0), ('c', 3.0)):
        record = json.loads((tmp_path / 'out' / name / 'registration.json').read_text())
        assert record['scale'] == pytest.approx(size, rel=0.02)
    page = (tmp_path / 'out' / 'registrations.html').read_text()
    assert 'Registered: 3, not believable: 0, failed: 1.' in page


def test_what_was_registered_is_measured_without_naming_its_model(done, tmp_path):
    out, _, _ = done
    table = tmp_path / 'm.csv'
    assert measure([str(out), '--out', str(table)]) == 0
    rows = {row['measurement']: row for row in csv.DictReader(table.open())}
    assert rows['body_length']['unit'] == 'mm'
    assert float(rows['body_length']['value']) > 1


def test_a_template_without_a_skeleton_is_kept_for_measuring(tmp_path):
    vertices, faces = egg()
    write_mesh(tmp_path / 'template.ply', vertices, faces)
    # Inside out: it is turned, and told.
    write_mesh(tmp_path / 'scan.ply', 2 * vertices, faces[:, ::-1])
    (tmp_path / 'scan.landmarks.json').write_text(json.dumps({'0': [1e6, 0, 0]}))
    (tmp_path / 'config.py').write_text(CONFIG.replace('limbs=True, ', ''))
    arguments = [
        str(tmp_path / 'config.py'), '--scans', str(tmp_path / 'scan.ply'), '--out', str(tmp_path / 'out'),
        '--body-model', str(tmp_path / 'template.ply'), '--no-progress',
    ]  # fmt: skip
    assert main(arguments) == 0
    record = json.loads((tmp_path / 'out' / 'scan' / 'registration.json').read_text())
    assert any('inside out' in notes for notes in record['warnings'])
    assert any('landmarks far from its surface were left out: 0' in notes for notes in record['warnings'])
    # Wherever the folder is moved.
    (tmp_path / 'out').rename(tmp_path / 'moved')
    table = tmp_path / 'm.csv'
    assert measure([str(tmp_path / 'moved'), '--out', str(table)]) == 0
    # One joint: no length, and none of 0.
    area, row = csv.DictReader(table.open())
    assert (area['measurement'], row['measurement']) == ('surface_area', 'volume')
    corners = vertices[faces]
    assert float(row['value']) == pytest.approx(8 * np.linalg.det(corners).sum() / 6, rel=0.05)
    assert row['unit'] == 'scan unit^3'


def egg():
    """Return an egg's surface, triangles outwards."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(250, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    faces = ConvexHull(points).simplices
    corners = points[faces]
    inwards = np.linalg.det(corners) < 0
    faces[inwards] = faces[inwards][:, ::-1]
    return points * [3.0, 2.0, 1.6] * (1 + 0.2 * points[:, :1]), faces


def run_and_note(arguments, folder):
    (folder / f'code_{os.environ["RANK"]}').write_text(str(main(arguments)))
