"""The four steps as a user runs them: on the real mouse session, and the demo in small."""

import json

import cv2
import numpy as np
import pytest
import torch

from smilfit.datasets import open_dataset
from smilfit.io import triangulate_keypoints
from smilfit.structures import FitResult
from tests.commands import run


@pytest.fixture(scope='module')
def mouse(real_data, tmp_path_factory):
    """The real session preprocessed by the tool, without the camera that it refuses."""
    folder = tmp_path_factory.mktemp('mouse')
    command = [
        'tools/preprocess.py', 'sleap', real_data / 'mouse_sessions', folder / 'out.h5',
        '--body-model', real_data / 'models' / 'SMILy_Mouse_static_joints.pkl',
        '--joint-lookup', real_data / 'mouse_sessions' / 'joint_lookup.csv',
        '--unit', 'mm', '--crop-mode', 'bbox_crop', '--target-resolution', 96, '--confidence-threshold', 0,
    ]  # fmt: skip
    refused = run(*command, code=1)
    assert 'side' in refused
    assert '--exclude-cameras side' in refused
    assert not list(folder.iterdir())
    run(*command, '--exclude-cameras', 'side')
    return folder


@pytest.fixture(scope='module')
def proposed(real_data, tmp_path_factory):
    """The real session with the places on the skin that `smilfit landmarks` proposes for its keypoints."""
    folder = tmp_path_factory.mktemp('proposed')
    sessions, model = real_data / 'mouse_sessions', real_data / 'models' / 'SMILy_Mouse_static_joints.pkl'
    table = folder / 'joint_lookup.csv'
    run('tools/landmarks.py', model, sessions, table, '--unit', 'mm')
    run(
        'tools/preprocess.py', 'sleap', sessions, folder / 'out.h5', '--body-model', model,
        '--joint-lookup', table, '--unit', 'mm', '--crop-mode', 'bbox_crop', '--target-resolution', 96,
        '--confidence-threshold', 0, '--exclude-cameras', 'side',
    )  # fmt: skip
    return folder


@pytest.mark.real
def test_the_real_session_is_fitted(proposed):
    """Per camera at most 1.5 times the reprojection error of the points themselves, given and triangulated."""
    command = ['tools/fit.py', 'configs/fit/multiview_keypoints_lm.py', '--data', proposed / 'out.h5']
    run(*command, '--out', proposed / 'fit')
    folder = proposed / 'fit' / 'minimal_session'
    verdict = json.loads((folder / 'verdict.json').read_text())
    assert verdict['word'] in ('good', 'doubtful'), verdict['reasons']
    matches = {measure['name']: measure['value'] for measure in verdict['measures']}
    assert matches['bone_longest'] < 1.4
    assert matches['bone_shortest'] > 0.7
    result = FitResult.load(folder / 'fit.npz')
    assert result.params.batch_size == 120
    shared = {
        n: v
        for n, v in result.params.as_dict().items()
        if n in ('betas', 'scale', 'part_sizes', 'landmark_offsets')
    }
    assert len(shared) == 4
    assert all(v.unique(dim=0).shape[0] == 1 for v in shared.values())
    assert all(v.isfinite().all() for v in result.params.as_dict().values())
    numbers = json.loads((folder / 'benchmark.json').read_text())
    dataset = open_dataset(proposed / 'out.h5')
    seen = dataset.keypoints2d('minimal_session')
    placed = triangulate_keypoints(seen)
    pixels, _, valid = seen.cameras.project(placed.xyz)
    distance = (pixels - seen.xy).norm(dim=-1)
    for c, camera in enumerate(('back', 'mid', 'top')):
        assert numbers[f'{camera}/ratio_to_triangulated'] < 1.5
        present = seen.visible[:, c] & valid[:, c] & placed.visible
        assert numbers[f'{camera}/median_fitted_px'] < 1.5 * float(distance[:, c][present].median())
    video = cv2.VideoCapture(str(folder / 'overlay.mp4'))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 120
    assert (proposed / 'fit' / 'report.html').stat().st_size > 100_000
    again = run(*command, '--out', proposed / 'fit')
    assert 'already fitted' in again


@pytest.mark.real
def test_the_real_session_trains_and_is_measured(mouse):
    options = [
        '--work-dir', mouse / 'train', '--cfg-options', f'train_dataloader.dataset.data_path={mouse / "out.h5"}',
    ]  # fmt: skip
    small = ['train_cfg.max_epochs=2', 'train_cfg.val_interval=2', 'train_dataloader.num_workers=0']
    run('tools/train.py', 'configs/train/multiview_demo.py', *options, *small)
    checkpoint = mouse / 'train' / 'epoch_2.pth'
    assert torch.serialization.get_unsafe_globals_in_checkpoint(checkpoint) == []
    torch.load(checkpoint, weights_only=True)
    # Neither the dataset nor the body model need be named again.
    output = run('tools/test.py', mouse / 'train' / 'multiview_demo.py', checkpoint, '--device', 'cpu')
    assert 'mean distance in space' in output
    assert 'better than'.upper() in output.upper()
    assert 'half of the keypoints are nearer than' in output
    folder = mouse / 'train' / 'benchmark'
    for name in (
        'benchmark_report.txt',
        'report.html',
        'pck_curve.png',
        'mpjpe_histogram.png',
        'metrics.json',
    ):
        assert (folder / name).stat().st_size > 0, name
    assert np.load(folder / 'errors_3d_mm.npy', allow_pickle=False).size > 0


def test_the_demo_in_small(tmp_path):
    command = [
        'tools/demo.py', '--out', tmp_path / 'demo', '--sessions', 2, '--frames', 24, '--cameras', 3,
        '--epochs', 1, '--resolution', 64,
    ]  # fmt: skip
    # A fit and its video come first, and nothing else is made where that is all that is asked for.
    output = run(*command, '--first-look')
    first = tmp_path / 'demo' / 'first_look'
    assert f'open {first / "session_000" / "overlay.mp4"}' in output
    assert (first / 'session_000' / 'overlay.mp4').stat().st_size > 10_000
    assert (first / 'report.html').is_file()
    assert [p.name for p in sorted((tmp_path / 'demo' / 'sessions').glob('session_*'))] == ['session_000']
    output = run(*command)
    assert f'open {tmp_path / "demo" / "predicted" / "overlay.mp4"}' in output
    report = tmp_path / 'demo' / 'report.html'
    assert f'report: {report}' in output
    page = report.read_text(encoding='utf-8')
    assert 'data:image/png;base64' in page
    assert 'mean keypoint error of the stage-wise fit' in page
    fit = json.loads((tmp_path / 'demo' / 'fit' / 'session_000' / 'benchmark.json').read_text())
    # The animal is about 90 mm long, the labels are off by a pixel.
    assert fit['mpjpe_mm'] < 3.0
    again = run(*command)
    for word in ('is there already', 'already fitted', 'is trained already'):
        assert word in again
