"""Frames that cannot be fitted make a session unbelievable: files, page and exit code say so."""

import json
import shutil

import numpy as np
import pytest
import torch

from smilfit.apis import fit
from smilfit.body_models import SMIL, load_body_model_data, save_body_model
from smilfit.cli.data.preprocess import main as preprocess
from smilfit.cli.fitting.fit import show_fit
from smilfit.evaluation.verdict import NOT_BELIEVABLE
from smilfit.handlers import TermHandler
from smilfit.registry import HANDLERS, read_config
from smilfit.structures import FitResult
from smilfit.synthetic import make_quadruped, write_sessions
from tests.hostile.small_inputs import FIT_CONFIG

N_FRAMES = 6


@HANDLERS.register_module(force=True)
class FramesWithoutEnergy(TermHandler):
    """Has no energy in frames of some numbers."""

    default_key = 'sick'

    def __init__(self, frames, **kwargs):
        super().__init__(**kwargs)
        self.frames = torch.tensor(frames)

    def residual(self, state, related_input):
        sick = torch.isin(state.frames, self.frames)
        return 0 * state.params.transl + torch.where(sick, torch.nan, 0.0).to(state.params.transl).unsqueeze(
            1
        )


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('failed')
    model = save_body_model(make_quadruped(), folder / 'animal.smil.json')
    body = SMIL(make_quadruped())
    write_sessions(folder / 'sessions', body, n_sessions=1, n_frames=N_FRAMES, n_cameras=2, size=(96, 80))
    made = folder / 'small.h5'
    assert preprocess(['sleap', str(folder / 'sessions'), str(made), '--body-model', str(model)]) == 0
    (folder / 'fit.py').write_text(FIT_CONFIG)
    return made


@pytest.mark.parametrize('frames', [[3, 4], list(range(N_FRAMES))])
def test_sessions_with_failed_frames_are_written_and_not_believable(data, tmp_path, capsys, frames):
    cfg = read_config(data.parent / 'fit.py').to_dict()
    cfg['handlers'].append(dict(type='FramesWithoutEnergy', frames=frames))
    cfg['stages'][-1]['sick_weight'] = 1.0
    run = fit(cfg, data, tmp_path, window_px=48, meshes='obj')
    assert show_fit(run) == 3
    assert f"frame {frames[0]}: the term sick cannot be computed in stage 'pose'" in ' '.join(
        capsys.readouterr().out.split()
    )
    (verdict,) = run.verdicts.values()
    assert verdict.word == NOT_BELIEVABLE
    assert verdict.reasons[0].startswith(
        f'frames that could not be fitted: {len(frames)} (frame {frames[0]}: '
    )
    assert all(verdict.frame_words[row] == NOT_BELIEVABLE for row in frames)
    (folder,) = (p for p in tmp_path.iterdir() if p.is_dir())
    stored = FitResult.load(folder / 'fit.npz')
    assert np.flatnonzero(~stored.fitted).tolist() == frames == stored.report['frames_failed']['frames']
    assert json.loads((folder / 'benchmark.json').read_text())['n_frames_not_fitted'] == len(frames)
    assert 'could not be fitted' in run.report.read_text()
    if len(frames) < N_FRAMES:
        # The others are judged by what they reach.
        others = [word for row, word in enumerate(verdict.frame_words) if row not in frames]
        assert NOT_BELIEVABLE not in others


def test_without_a_verdict_failed_frames_are_told_too(data, tmp_path):
    cfg = read_config(data.parent / 'fit.py').to_dict()
    cfg['handlers'].append(dict(type='FramesWithoutEnergy', frames=[2]))
    cfg['stages'][-1]['sick_weight'] = 1.0
    assert show_fit(fit(cfg, data, tmp_path, video=False, verdict=False)) == 3
    shutil.rmtree(tmp_path)


def test_points_of_which_no_frame_is_fitted_are_written(tmp_path):
    body = SMIL(load_body_model_data('quadruped'))
    with torch.no_grad():
        joints = body(body.zero_params(3), ('joints',)).joints.double().numpy() * 120
    np.savez(tmp_path / 'run.npz', xyz=joints, names=np.array(body.joint_names))
    made = [str(tmp_path / 'run.npz'), str(tmp_path / 'run.h5'), '--body-model', 'quadruped', '--unit', 'mm']
    assert preprocess(['points3d', *made, '--quiet']) == 0
    cfg = read_config('configs/fit/points3d_lm.py').to_dict()
    cfg['handlers'].append(dict(type='FramesWithoutEnergy', frames=[0, 1, 2]))
    cfg['stages'] = [{**cfg['stages'][0], 'sick_weight': 1.0}]
    run = fit(cfg, tmp_path / 'run.h5', tmp_path / 'out')
    assert show_fit(run) == 3
    assert run.verdicts['run'].frame_words == (NOT_BELIEVABLE,) * 3
    assert not (tmp_path / 'out' / 'run' / 'turntable.mp4').exists()
