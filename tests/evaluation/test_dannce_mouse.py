"""A real mouse labelled in space: what its fit says of a camera that it did not see."""

import csv
import json

import pytest

from smilfit.cli.main import main

NAMES = (
    'EarL', 'EarR', 'Snout', 'SpineF', 'SpineM', 'TailBase', 'TailMid', 'TailEnd',
    'ForepawL', 'WristL', 'ElbowL', 'ShoulderL', 'ForepawR', 'WristR', 'ElbowR', 'ShoulderR',
    'HindpawL', 'AnkleL', 'KneeL', 'HindpawR', 'AnkleR', 'KneeR',
)  # fmt: skip


@pytest.mark.real
def test_ellipses_hold_nine_of_ten_labels_of_a_camera_that_was_left_out(real_data, tmp_path):
    labels = real_data / 'dannce_mouse' / 'label3d_dannce_mouse1.mat'
    model = real_data / 'models' / 'SMILy_Mouse_static_joints.pkl'
    skeleton, table, dataset = (tmp_path / n for n in ('mouse22.txt', 'lookup.csv', 'mouse.h5'))
    skeleton.write_text('\n'.join(NAMES))

    def run(*words):
        return main([str(w) for w in words])

    assert run('landmarks', model, labels, table, '--format', 'points3d', '--skeleton', skeleton) in (0, 3)
    with table.open(newline='') as text:
        rows = [row for row in csv.DictReader(text) if row['model'] and row['data']]
    assert len(rows) >= 17
    prepared = ['--body-model', model, '--joint-lookup', table, '--skeleton', skeleton, '--unit', 'mm']
    few = ['--fps', '30', '--frame-skip', '4', '--quiet']
    assert run('preprocess', 'points3d', labels, dataset, *prepared, *few) == 0
    config, out = 'configs/fit/points3d_lm.py', tmp_path / 'fit'
    assert run('fit', config, '--data', dataset, '--out', out, '--no-video', '--meshes', 'none') == 0
    verdict = json.loads(next(out.glob('*/verdict.json')).read_text())
    assert verdict['word'] == 'good'
    cameras = verdict['cameras']
    assert len(cameras) == 6
    inside = sum(c['left_out_inside'] for c in cameras) / len(cameras)
    assert inside == pytest.approx(0.9, abs=0.03)
    for camera in cameras:
        assert 0.8 < camera['left_out_inside'] < 0.97
        assert camera['left_out_fit_px'] < 0.1 * camera['left_out_mean_pose_px']
