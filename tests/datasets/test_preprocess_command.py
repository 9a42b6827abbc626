"""The command on a real recording: it finds the wrong camera itself, and makes the file without it."""

import json

import pytest
import torch

from smilfit.body_models import load_body_model_data
from smilfit.cli.data.preprocess import main
from smilfit.datasets import MultiViewDataset, open_dataset


@pytest.fixture
def command(real_data, tmp_path) -> list[str]:
    return [
        'sleap',
        str(real_data / 'mouse_sessions'),
        str(tmp_path / 'out.h5'),
        '--body-model',
        str(real_data / 'models' / 'SMILy_Mouse_static_joints.pkl'),
        '--joint-lookup',
        str(real_data / 'mouse_sessions' / 'joint_lookup.csv'),
        '--unit=mm',
        '--max_frames_per_session=6',
        '--frame-skip=2',
    ]


@pytest.mark.real
def test_the_wrong_camera_is_named_and_can_be_left_out(command, tmp_path, real_data, capsys):
    assert main(command) == 1
    message = capsys.readouterr().err
    assert "Camera 'side' contradicts the others" in message
    assert '--exclude-cameras side' in message
    assert list(tmp_path.iterdir()) == []
    assert main([*command, '--exclude-cameras', 'sidee']) == 1
    assert "Did you mean 'side'" in capsys.readouterr().err

    command += ['--exclude-cameras', 'side']
    assert main([*command, '--dry-run']) == 0
    shown = capsys.readouterr().out
    assert '15 keypoints matched' in shown
    assert '1280x1024' in shown
    assert list(tmp_path.iterdir()) == []

    assert main(command) == 0
    assert 'keypoints below threshold' in capsys.readouterr().out
    report = json.loads((tmp_path / 'out.h5.report.json').read_text())
    assert report['totals']['frames_stored'] == 6
    file = open_dataset(tmp_path / 'out.h5')
    assert file.camera_names == ('back', 'mid', 'top')
    assert file.frame_indices(0).tolist() == [0, 2, 4, 6, 8, 10]
    file.check_body_model(load_body_model_data(file.body_model_file))
    seen, points = file.keypoints2d(0), file.keypoints3d(0)
    error = (file.cameras(0).project(points.xyz)[0] - seen.xy).norm(dim=-1)
    visible = seen.visible & points.visible[:, None]
    assert float(error[visible].median()) < 10
    data = MultiViewDataset(tmp_path / 'out.h5', split='all')
    assert data[0]['inputs']['image'].float().mean() > 5
    assert torch.isfinite(data[0]['inputs']['K']).all()


@pytest.mark.real
def test_bad_lookup(command, tmp_path, capsys):
    lookup = tmp_path / 'lookup.csv'
    lookup.write_text('model,data\nNoze,Nose\n')
    command[command.index('--joint-lookup') + 1] = str(lookup)
    assert main(command) == 1
    assert "Did you mean 'Nose'" in capsys.readouterr().err


def test_help_shows_defaults_and_units(capsys):
    with pytest.raises(SystemExit) as stop:
        main(['sleap', '--help'])
    assert stop.value.code == 0
    shown = ' '.join(capsys.readouterr().out.split())
    for text in ('default: 224)', 'px', '--exclude-cameras', '--frame-skip', 'default: 95)'):
        assert text in shown
    assert '--frame_skip' not in shown  # is taken all the same


def test_errors_have_no_traceback(tmp_path, capsys):
    assert (
        main(['sleap', str(tmp_path), str(tmp_path / 'o.h5'), '--body-model', str(tmp_path / 'no.pkl')]) == 1
    )
    assert capsys.readouterr().err.startswith('error: ')
