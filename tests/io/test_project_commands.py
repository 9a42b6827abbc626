"""The preprocess command on projects of several cameras: found, left out and told, opened again wherever they are."""

import json
import shutil
from dataclasses import replace

import pytest

from smilfit.apis.preprocessing.recordings import open_recording
from smilfit.body_models import save_body_model
from smilfit.cli.data.preprocess import main
from smilfit.datasets import open_dataset
from smilfit.io import write_calibration
from tests.datasets.blob_session import make_body
from tests.io.test_project_sessions import anipose, multiview  # noqa: F401


@pytest.fixture
def options(tmp_path):
    """A body and a lookup of the made animal's names."""
    body = save_body_model(make_body(), tmp_path / 'body.smil.json')
    lookup = tmp_path / 'joint_lookup.csv'
    lookup.write_text('model,data\nroot,neck\nhead,nose\npaw,paw\ntail,tail\n')
    return [
        '--body-model',
        str(body or tmp_path / 'body.smil.json'),
        '--joint-lookup',
        str(lookup),
        '--unit=mm',
    ]


def test_a_project_is_made_and_opened_again_where_it_was_moved_to(anipose, options, tmp_path, caplog):  # noqa: F811
    caplog.set_level('INFO', 'smilfit')
    place = tmp_path / 'lab'
    place.mkdir()
    shutil.move(anipose, place / 'project')
    (place / 'data').mkdir()
    assert main(['anipose', str(place / 'project'), str(place / 'data/out.h5'), *options]) == 0
    assert 'read as 1 calibrated session(s) of several cameras (left, mid, right)' in caplog.text
    (session,) = open_dataset(place / 'data/out.h5').session_names
    place = place.rename(tmp_path / 'other lab')
    dataset = open_dataset(place / 'data/out.h5')
    recorded = open_recording(dataset, session)
    assert recorded.folder == place / 'project/mouse_1/day_1'
    assert recorded.camera_names == dataset.cameras(session).names == ('left', 'mid', 'right')
    shutil.rmtree(place / 'project')
    with pytest.raises(FileNotFoundError, match=r'is not there; looked for at .*lab.*, .*other lab'):
        open_recording(dataset, session)


def test_an_excluded_camera_needs_no_files(anipose, options, tmp_path):  # noqa: F811
    for path in (anipose / 'mouse_1/day_1').rglob('*mid*'):
        path.unlink()
    out = tmp_path / 'out.h5'
    assert main(['anipose', str(anipose), str(out), *options, '--exclude-cameras', 'mid']) == 0
    dataset = open_dataset(out)
    assert open_recording(dataset, dataset.session_names[0]).camera_names == ('left', 'right')


def test_a_multi_view_slp(multiview, options, tmp_path):  # noqa: F811
    out = tmp_path / 'out.h5'
    assert main(['sleap', str(multiview), str(out), *options, '--dry-run']) == 0
    assert not out.exists()
    assert main(['sleap', str(multiview), str(out), *options]) == 0
    dataset = open_dataset(out)
    assert dataset.keypoints3d('mouse') is not None
    assert open_recording(dataset, 'mouse').folder == multiview


def test_without_a_calibration_cameras_are_single_views(anipose, options, tmp_path, caplog):  # noqa: F811
    day = anipose / 'mouse_1/day_1'
    (anipose / 'mouse_1/calibration/calibration.toml').unlink()
    assert main(['anipose', str(day), str(tmp_path / 'a.h5'), *options]) == 0
    assert 'each camera is read as single views' in caplog.text
    caplog.clear()
    assert len(open_dataset(tmp_path / 'a.h5').session_names) == 3
    assert main(['anipose', str(day), str(tmp_path / 'b.h5'), *options, '--single-view']) == 0
    assert 'single views' not in caplog.text


def test_a_session_that_cannot_be_used_costs_the_others_nothing(tiny, options, tmp_path, capfd):
    root = tmp_path / 'sessions'
    for name in ('one', 'two', 'three'):
        shutil.copytree(tiny.folder, root / name)
    (root / 'one/mid/mid.avi').write_bytes(b'no video')
    (root / 'two/points3d.h5').unlink()
    turned = replace(tiny.cameras, R=tiny.cameras.R[[2, 1, 0]])
    write_calibration(root / 'two/calibration.toml', turned)
    out = tmp_path / 'out.h5'
    assert main(['sleap', str(root), str(out), *options]) == 3
    shown = ''.join(capfd.readouterr())
    assert '2 entries left out' in shown
    assert open_dataset(out).session_names == ('three',)
    left_out = json.loads((tmp_path / 'out.h5.report.json').read_text())['left_out']
    assert 'mid.avi' in left_out[0]['reason']
    assert 'must agree with each other' in left_out[1]['reason']
    shutil.rmtree(root / 'three')
    shutil.rmtree(root / 'two')
    assert main(['sleap', str(root), str(tmp_path / 'none.h5'), *options]) == 1
    assert 'mid.avi' in capfd.readouterr().err
