"""`smilfit register` from the command line: files, a failed scan, and a second run that keeps the first."""

import json

import numpy as np
import pytest

from smilfit.cli.register import main
from smilfit.io.mesh_files import write_mesh
from smilfit.synthetic import make_insect

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
    assert 'ant' in page
    assert np.load(out / 'ant' / 'registration.npz')['unposed'].ndim == 2


def test_the_same_command_again_keeps_what_is_there(done, capsys):
    out, arguments, _ = done
    before = (out / 'ant' / 'registration.npz').stat().st_mtime_ns
    assert main(arguments) == 3
    assert '1 were registered already' in capsys.readouterr().out
    assert (out / 'ant' / 'registration.npz').stat().st_mtime_ns == before
