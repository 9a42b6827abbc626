"""`smilfit landmarks`: the table and the page of a made session, and of a model alone."""

import csv

import pytest

from smilfit.apis.shipped_configs import configs_folder
from smilfit.cli.main import main
from smilfit.io import SleapSession, read_joint_lookup
from tests.hostile.small_inputs import make_inputs


@pytest.fixture(scope='module')
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('landmarks') / 'inputs'
    return make_inputs(folder, configs_folder() / 'train' / 'multiview_demo.py', n_frames=4, n_pictures=1)


def test_a_made_session_gets_its_own_table_back(inputs, tmp_path, capsys):
    out = tmp_path / 'joint_lookup.csv'
    command = ['landmarks', str(inputs / 'animal.smil.json'), str(inputs / 'sessions'), str(out)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "axes: up +z (the model's), forward +x (the model's)" in shown
    assert f'table: {out}' in shown
    assert read_joint_lookup(out) == read_joint_lookup(inputs / 'sessions' / 'joint_lookup.csv')
    page = out.with_suffix('.html').read_text()
    assert page.count('data:image/png') >= 10
    assert 'camera' in page
    assert SleapSession(inputs / 'sessions' / 'session_000', joint_lookup=out, unit='mm').keypoint_names
    # What somebody went on with by hand is not thrown away.
    out.write_text('by hand')
    assert main(command) == 1
    assert '--force' in capsys.readouterr().err
    assert out.read_text() == 'by hand'


def test_annotations_of_other_formats(inputs, tmp_path, capsys):
    out = tmp_path / 'table.csv'
    data = [str(inputs / 'labels.json'), str(out), '--format', 'coco', '--images', str(inputs / 'pictures')]
    assert main(['landmarks', str(inputs / 'animal.smil.json'), *data]) in (0, 3)
    with out.open(newline='') as file:
        assert all(row['confidence'] for row in csv.DictReader(file) if row['model'] and row['data'])


def test_a_model_alone_is_listed_and_shown(inputs, tmp_path, capsys):
    page = tmp_path / 'model.html'
    assert main(['landmarks', str(inputs / 'animal.smil.json'), '--page', str(page)]) == 0
    shown = capsys.readouterr().out
    assert 'keypoint set sleap: nose' in shown
    assert list(tmp_path.iterdir()) == [page]
    assert (
        main(['landmarks', str(inputs / 'animal.smil.json'), '--page', str(page), '--up=-x', '--force']) == 1
    )
    assert 'up and forward must be different axes' in capsys.readouterr().err
