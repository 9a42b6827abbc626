"""The page on tracking, as it stands there: a fit's file, a loop over frames, and live cameras."""

import inspect
import re
import sys
from pathlib import Path
from shutil import copy
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

import smilfit as sf
from smilfit.body_models import find_body_model
from smilfit.synthetic import make_rig, random_motion

PAGE = Path(__file__).resolve().parents[3] / 'docs' / 'tracking.md'
TEXT = PAGE.read_text(encoding='utf-8')
FIRST, LIVE, SLEAP = re.findall(r'```python\n(.*?)```', TEXT, re.DOTALL)
N_CAMERAS, N_FRAMES = 3, 4


@pytest.fixture(scope='module')
def seen():
    """A quadruped in three cameras."""
    body, rng = sf.load_body_model('quadruped'), np.random.default_rng(0)
    params = random_motion(body, N_FRAMES, rng, 150.0, 100.0, betas=np.zeros(body.n_betas)).to(torch.float32)
    rig = make_rig(N_CAMERAS, 150.0, rng, size=(640, 512))
    with torch.no_grad():
        xy = rig.project(body(params).joints.double())[0].float()
    return sf.Keypoints2d(xy, torch.ones(xy.shape[:3]), tuple(body.joint_names), rig)


@pytest.fixture
def lab(tmp_path, monkeypatch, seen):
    """A folder with the model's file and a fit of it."""
    copy(find_body_model('quadruped'), tmp_path / 'model.smil.json')
    handlers = [sf.Keypoint2dHandler(sf.KeypointMSELoss(reduction='sum'))]
    fit = ('global_orient', 'transl', 'body_pose', 'scale')
    stage = sf.Stage(n_iter=30, fit=fit, weights={'keypoints2d_mse': 1.0})
    body = sf.load_body_model(tmp_path / 'model.smil.json')
    solver = sf.LevenbergMarquardt()
    sf.SMPLify(body, [stage], handlers, solver, use_one_betas_per_video=True)([seen]).save(
        tmp_path / 'fit' / 'session' / 'fit.npz'
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_snippets_run_as_they_stand(lab, seen, capsys):
    names = {'frames': zip(seen.xy.numpy(), seen.confidence)}
    exec(FIRST, names)
    assert names['tracker'].counts == {'restarted': 1, 'tracked': N_FRAMES - 1}
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == N_FRAMES
    assert all('torch.Size' in line for line in lines)
    for i in range(N_CAMERAS):
        writer = cv2.VideoWriter(f'camera_{i}.avi', cv2.VideoWriter_fourcc(*'MJPG'), 30, (64, 48))
        for frame in range(N_FRAMES):
            writer.write(np.full((48, 64, 3), 40 * frame + 10 * i, np.uint8))
        writer.release()
    shown: list[sf.TrackedPose] = []

    def find_keypoints(image):
        """Know frame and camera by the grey."""
        frame, camera = divmod(round(float(image.mean()) / 10), 4)
        return seen.xy[frame, camera].numpy(), seen.confidence[frame, camera].numpy()

    names |= {
        'sources': [f'camera_{i}.avi' for i in range(N_CAMERAS)],
        'find_keypoints': find_keypoints,
        'show': shown.append,
    }
    exec(LIVE, names)
    assert len(shown) == N_FRAMES
    assert all(pose.believable and pose.residual_px.max() < 2 for pose in shown)


def test_what_sleap_finds_comes_in_the_trackers_order(lab, seen, monkeypatch):
    """By a stand-in of SLEAP, whose skeleton has other names in another order."""
    names = {'frames': ()}
    exec(FIRST, names)
    order = [seen.names.index(name) for name in reversed(names['tracker'].names)]
    peaks = {'instance_peaks': seen.xy[:1, 0, order], 'instance_peak_vals': seen.confidence[:1, 0, order]}

    class Network:
        def predict_on_batch(self, images):
            assert images.shape == (1, 48, 64)
            # Images of a batch, instances, nodes.
            return {name: values.numpy()[:, None] for name, values in peaks.items()}

    sleap = ModuleType('sleap')
    sleap.load_model = lambda paths: SimpleNamespace(inference_model=Network())
    monkeypatch.setitem(sys.modules, 'sleap', sleap)
    names['lookup'] = {name: f'node {name}' for name in names['tracker'].names}
    names['skeleton_names'] = list(reversed(names['lookup'].values()))
    exec(SLEAP, names)
    pixels, scores = names['find_keypoints'](np.zeros((48, 64), np.uint8))
    np.testing.assert_array_equal(pixels, seen.select(names['tracker'].names).xy[0, 0].numpy())
    assert scores.shape == (len(names['tracker'].names),)


def test_the_arguments_are_those_of_the_table():
    rows = re.findall(r'^\| `(\w+)`(?:, `(\w+)`)? \| (\S+?)(?:, (\S+))? \|', TEXT, re.MULTILINE)
    stated = {}
    for first, second, one, other in rows:
        stated |= {first: one} | ({second: other} if second else {})
    parameters = inspect.signature(sf.Tracker).parameters
    given = {n: p.default for n, p in parameters.items() if n not in ('body', 'cameras', 'shape', 'names')}
    assert {n: float(stated[n]) for n in given} == given
