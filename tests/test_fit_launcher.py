"""The fit command on a small made dataset: alone, by two processes, and with a frame that was not observed."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from smilfit.apis.fitting.fit_session import FitOptions, SessionFits
from smilfit.body_models import SMIL, load_body_model, save_body_model
from smilfit.cli.fitting.fit import main
from smilfit.datasets import PreprocessOptions, open_dataset, preprocess
from smilfit.registry import read_config
from smilfit.solvers import Processes
from smilfit.structures import BodyParams
from tests.animals import random_params, static_animal
from tests.datasets.blob_session import BlobSession
from tests.ranks import on_two_ranks

ROOT = Path(__file__).resolve().parents[1]
CONFIG = """
type = 'SMPLify'
use_one_betas_per_video = True
optimizer = dict(type='LevenbergMarquardt', covariance=True)
handlers = [
    dict(type='Keypoint3dMSEHandler', mse_loss=dict(type='KeypointMSELoss')),
    dict(type='BodyPosePriorHandler', handler_key='pose_reg', prior_loss=dict(type='PoseRegLoss')),
    dict(type='BetasPriorHandler', handler_key='shape_prior', prior_loss=dict(type='ShapePriorLoss')),
    dict(type='SmoothMotionHandler'),
]
terms = dict(keypoints3d_mse_weight=1.0, pose_reg_weight=1e-3, shape_prior_weight=1e-3)
stages = [
    dict(name='place', n_iter=10, fit_body_pose=False, fit_betas=False, fit_scale=True, **terms),
    dict(name='pose', n_iter=12, ftol=1e-9, fit_scale=True, **terms),
]
del terms
"""


class Pair(Processes):
    """Two processes."""

    count = 2


class BodySession(BlobSession):
    """Blobs at the keypoints of a moving body; `unplaced` frames have no 3D points, `unseen` none at all."""

    def __init__(self, name, n_frames, unplaced=(), unseen=(), seed=1):
        data = make_data()
        names = (*data.joint_names, *data.keypoint_sets['skin'])
        super().__init__(name, n_frames, names=names[:1])
        g = torch.Generator().manual_seed(seed)
        rest = random_params(data, 1, angle=0.0, seed=seed)
        pose = 0.3 * torch.randn(n_frames, 7, 3, generator=g).double()
        root = 0.2 * torch.randn(n_frames, 3, generator=g).double()
        betas, scale = rest.betas.expand(n_frames, -1), torch.full((n_frames,), 40.0).double()
        self.true_params = BodyParams(root, pose, betas, 10 * root, scale)
        self.keypoint_names = names
        self.points = SMIL(data).double()(self.true_params, names).keypoints
        self.xy, _, self.valid = self.cameras.project(self.points)
        self.confidence = self.valid.double()
        self.confidence[list(unseen)] = 0
        self.unplaced = list(unplaced)

    def keypoints3d(self, names=None):
        result = super().keypoints3d()
        result.confidence[self.unplaced] = 0
        return result if names is None else result.select(names)


def make_data():
    """Make a body whose joints are all well seen: else single precision would leave them a play of their own."""
    skin = {f'skin_{v}': {v: 1.0} for v in range(0, 40, 2)}
    return replace(static_animal(n_joints=8), keypoint_sets={'skin': skin})


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A folder with a config, a body model, and a dataset file of two sessions."""
    folder = tmp_path_factory.mktemp('made')
    (folder / 'config.py').write_text(CONFIG)
    model = save_body_model(make_data(), folder / 'small.smil.json')
    sessions = [BodySession('walk', 9, unplaced=[3], unseen=[6]), BodySession('run', 5, seed=2)]
    options = PreprocessOptions(target_resolution=64)
    preprocess(sessions, folder / 'small.h5', make_data(), options, body_model_file=model)
    return folder


def arguments(made, out, *more):
    files = ['--data', made / 'small.h5', '--out', made / out, '--body-model', made / 'small.smil.json']
    return [str(word) for word in (made / 'config.py', *files, *more)]


def by_two(made, out, *more):
    """Run the tool in two processes; gives what they printed."""
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2'),
            *('tools/fit.py', *arguments(made, out, '--launcher', 'pytorch', *more)),
        ],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'COLUMNS': '200'},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def by_two_forks(made, out, *more):
    """Run the command in two processes as a launcher starts them; they are forked with all imported."""
    folder = made / f'{out}_printed'
    folder.mkdir()
    on_two_ranks(_run_printing, arguments(made, out, '--launcher', 'pytorch', *more), folder, grouped=False)
    return ''.join(path.read_text() for path in sorted(folder.iterdir()))


def _run_printing(words, folder):
    with (folder / f'{os.environ["RANK"]}.txt').open('w') as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
        os.environ['COLUMNS'] = '200'
        assert main(words) == 0
        sys.stdout.flush()
        sys.stderr.flush()


@pytest.fixture(scope='module')
def alone(made):
    assert main(arguments(made, 'alone')) == 0
    return made / 'alone'


def arrays(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        if value.dtype.kind == 'f':
            # Single precision rounds by the number of frames on some processors.
            np.testing.assert_allclose(ours[name], value, rtol=1e-4, atol=1e-4, err_msg=name)
        else:
            np.testing.assert_array_equal(ours[name], value, err_msg=name)


def test_frames_without_observation_are_left_out_and_reported(alone, made):
    folder = alone / 'walk'
    result = arrays(folder / 'fit.npz')
    # Frame 6 was seen by no camera and is not in the dataset; frame 3 has no 3D points.
    assert result['frames'].tolist() == [0, 1, 2, 3, 4, 5, 7, 8]
    assert np.isnan(result['body_pose'][3]).all()
    assert np.isfinite(np.delete(result['body_pose'], 3, 0)).all()
    assert result['keypoint_covariance'].shape[0] == 8
    report = json.loads((folder / 'fit.json').read_text())['report']
    assert (report['frames_not_observed'], report['frames_not_finite']) == (1, 0)
    numbers = json.loads((folder / 'benchmark.json').read_text())
    assert numbers['n_frames_not_fitted'] == 1
    assert numbers['n_frames'] == numbers['n_frames_finite'] == 7
    assert all(np.isfinite(value) for value in numbers.values())
    assert numbers['mpjpe_mm'] < 2.0
    assert numbers['left/median_fitted_px'] < 2.0
    video = cv2.VideoCapture(str(folder / 'overlay.mp4'))
    images = [video.read()[1] for _ in range(8)]
    assert not video.read()[0]
    # The image is there, without a body over it.
    assert images[3].max() > 100
    blue = [(p[..., 0].astype(int) - p[..., 2] > 60).mean() for p in images]
    assert blue[3] < 0.5 * np.median(blue)


def test_two_sessions_go_to_two_processes(alone, made):
    output = by_two(made, 'apart', '--no-video')
    for session in ('walk', 'run'):
        assert_same(arrays(made / 'apart' / session / 'fit.npz'), arrays(alone / session / 'fit.npz'))
        for name in ('fit.json', 'benchmark.json'):
            assert (made / 'apart' / session / name).is_file()
        assert output.count(f'{session}: fitting') == 1
    assert output.count('report: ') == 1
    assert (made / 'apart' / 'report.html').stat().st_size > 100_000


def test_one_session_is_fitted_by_two_processes_together(alone, made):
    output = by_two_forks(made, 'together', '--no-video', '--sessions', 'walk')
    assert 'by one process alone' not in output
    assert output.count('report: ') == 1
    assert_same(arrays(made / 'together' / 'walk' / 'fit.npz'), arrays(alone / 'walk' / 'fit.npz'))


def test_a_session_that_cannot_be_distributed_is_reported(made, caplog):
    dataset = open_dataset(made / 'small.h5')
    body = load_body_model(made / 'small.smil.json')
    cfg = read_config(made / 'config.py').to_dict()
    cfg['stages'][1]['smooth_motion_weight'] = 0.1
    fits = SessionFits(cfg, body, dataset, made / 'moving', FitOptions())
    assert fits.together(['run'], Pair()) == []
    assert 'run: fitted by one process alone. pose: no handler may tie frames' in caplog.text
    cfg['stages'][1]['smooth_motion_weight'] = 0.0
    fits = SessionFits(cfg, body, dataset, made / 'moving', FitOptions())
    assert fits.together(['run'], Pair()) == ['run']
    assert fits.together(['walk', 'run'], Pair()) == []


def test_the_launcher_must_have_started_the_process(made, capsys):
    assert main(arguments(made, 'none', '--launcher', 'slurm')) == 1
    assert 'SLURM_PROCID must be set' in capsys.readouterr().err
