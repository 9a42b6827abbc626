"""A solver of second order of a user's own, as short as one can be, is run as such from a config."""

from dataclasses import replace

import pytest
import torch

from smilfit.registry import SOLVERS, build_registrant
from smilfit.solvers import SecondOrderSolver
from smilfit.solvers.base import SolverResult, StopReason
from smilfit.solvers.levenberg_marquardt import FrameStatus
from tests.registrants.test_own_terms import BendResidual, SteadySquares, noisy_clip


class Backtracking(SecondOrderSolver):
    """Gauss-Newton; a step that gains nothing is halved until it does."""

    def minimise(self, problem, point, n_iter, ftol, on_step=None, robust=False):
        """Minimise all frames together."""
        at = problem.evaluate(point)
        start = energy = float(at.energy.sum())
        barely = torch.full_like(at.energy, 1e-6)
        reason, evaluations, n = StopReason.MAX_STEPS, 1, 0
        for n in range(1, n_iter + 1):
            step, trial = problem.step(at, barely), at
            for _ in range(20):
                trial = problem.evaluate(problem.moved(at, step))
                evaluations += 1
                if float(trial.energy.sum()) <= energy:
                    break
                step = replace(step, own=0.5 * step.own, shared=0.5 * step.shared)
            gain = energy - float(trial.energy.sum())
            at, energy = (trial, energy - gain) if gain > 0 else (at, energy)
            if gain <= ftol * energy or (on_step is not None and on_step(n, energy)):
                reason = StopReason.CONVERGED
                break
        done = torch.full_like(at.energy, reason is StopReason.CONVERGED, dtype=torch.bool)
        result = SolverResult(start, energy, n, evaluations, 0, reason)
        return at.point, FrameStatus(done, torch.full_like(done, n, dtype=torch.long)), result


@pytest.fixture
def registered():
    SOLVERS.register_module(module=Backtracking)
    yield dict(type='Backtracking')
    SOLVERS.module_dict.pop('Backtracking')


@pytest.mark.parametrize('shared', [False, True])
@pytest.mark.parametrize(('loss', 'engine'), [(BendResidual, 'dense'), (SteadySquares, 'banded')])
def test_it_ends_where_ours_ends(registered, loss, engine, shared):
    body, seen = noisy_clip()

    def fit(optimizer):
        handlers = [
            dict(type='Keypoint3dMSEHandler'),
            dict(type='PriorHandler', prior_loss=loss(), of='body_pose'),
        ]
        handlers.append(dict(type='BodyPosePriorHandler'))
        stage = dict(
            n_iter=100,
            ftol=1e-6,
            fit_scale=True,
            keypoints3d_mse_weight=1.0,
            prior_weight=0.1,
            body_pose_prior_weight=0.01,
        )
        config = dict(
            type='SMPLify', body_model=body, handlers=handlers, stages=[stage], optimizer=optimizer,
            use_one_betas_per_video=shared,
        )  # fmt: skip
        return build_registrant(config)([seen]).history[-1]

    ours, theirs = fit(dict(type='LevenbergMarquardt', backend='torch')), fit(registered)
    assert theirs['loss_end'] == pytest.approx(ours['loss_end'], rel=1e-3)
    assert (theirs['solver'], theirs['engine']) == ('Backtracking', engine)
    assert ours['solver'] == 'LevenbergMarquardt'
    assert theirs['reason'] == 'converged'
