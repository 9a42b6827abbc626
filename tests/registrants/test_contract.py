"""What a fit promises: its history, XRMoCap's faults absent, each error once."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.handlers import (
    BaseHandler,
    BetasPriorHandler,
    BodyPosePriorHandler,
    JointLimitHandler,
    Keypoint2dInput,
    Keypoint3dHandler,
    Keypoint3dLimbLenHandler,
    Keypoint3dLimbLenInput,
    Keypoint3dMSEInput,
)
from smilfit.losses import KeypointMSELoss, LimbLengthLoss
from smilfit.registrants import SMPLify, Stage
from smilfit.registry import UnknownNameError
from smilfit.solvers import Adam
from smilfit.structures import FitResult
from tests.animals import random_params, ring_of_cameras
from tests.registrants.clip import ALL, RIGID, error, seen_by


def test_the_result_holds_the_history(clip, tmp_path):
    body, _, points = clip
    stages = [
        Stage(n_iter=5, fit=RIGID, weights={'keypoints3d_mse': 1.0}, name='place'),
        Stage(n_iter=100, ftol=1e-3, fit=ALL, weights={'keypoints3d_mse': 1.0, 'betas_prior': 1e-3}),
    ]
    result = SMPLify(
        body, stages, [Keypoint3dHandler(), BetasPriorHandler()], ignore_keypoints=['tail', 'nobody']
    )([points])
    assert [h['stage'] for h in result.history] == ['place', '']
    assert set(result.history[1]['terms']) == {'keypoints3d_mse', 'betas_prior'}
    assert np.isclose(sum(result.history[1]['terms'].values()), result.history[1]['loss_end'])
    assert result.per_frame_loss.shape == (5,)
    assert np.isclose(result.per_frame_loss.sum(), result.history[1]['loss_end'])
    assert result.converged.all()
    assert result.report['ignored_keypoints'] == ['tail']
    assert result.report['ignored_keypoints_unknown'] == ['nobody']
    path = result.save(tmp_path / 'fit.npz', frames=np.arange(5), joint_names=np.array(body.joint_names))
    back = FitResult.load(path, body=body)
    assert torch.equal(back.params.body_pose, result.params.body_pose)
    assert back.history == tuple(map(dict, result.history))
    assert torch.equal(back.joints(), result.joints())
    side_car = path.with_suffix('.json')
    side_car.write_text(side_car.read_text().replace('"version": 1', '"version": 9'))
    with pytest.raises(ValueError, match='up to version 2; got .* version 9'):
        FitResult.load(path)


def test_ignored_keypoints_and_parts_take_no_part(clip):
    body, truth, points = clip
    xyz = points.xyz.clone()
    xyz[:, 7] += 50.0
    bad = replace(points, xyz=xyz)
    stages = [Stage(n_iter=20, fit=RIGID, weights={'keypoints3d_mse': 1.0})]
    start = truth.replace(transl=truth.transl + 0.01)
    ignoring = SMPLify(body, stages, [Keypoint3dHandler()], ignore_keypoints=['joint_7'])([bad], start)
    assert error(body, ignoring, points).max() < 1e-2
    parts = [Stage(n_iter=20, fit=RIGID, weights={'keypoints3d_mse': 1.0}, part_weights={'foot': 0.0})]
    assert error(body, SMPLify(body, parts, [Keypoint3dHandler()])([bad], start), points).max() < 1e-2


def test_a_nan_in_the_middle_goes_back_to_the_best_point():
    x = torch.tensor([4.0], dtype=torch.float64, requires_grad=True)

    def objective():
        # Undefined beyond 0: a long step falls off the edge.
        return (x - 1).square().sum() + 0 * (x + 0.5).log().sum()

    result = Adam(lr=6.0).minimise(objective, [x], n_iter=200, ftol=0)
    assert result.n_recoveries > 0
    assert np.isfinite(result.loss_end)
    assert result.loss_end <= result.loss_start
    assert x.isfinite().all()


def test_a_start_that_is_not_finite_is_refused(clip):
    body, truth, points = clip
    stages = [Stage(n_iter=5, fit=RIGID, weights={'keypoints3d_mse': 1.0})]
    broken = truth.replace(transl=truth.transl * float('nan'))
    with pytest.raises(ValueError, match='init_params transl must be finite; got nan'):
        SMPLify(body, stages, [Keypoint3dHandler()])([points], broken)


def test_convergence_does_not_depend_on_the_scale_of_the_loss(clip):
    """An absolute tolerance would stop a small loss at once."""
    body, _, points = clip

    def steps(weight):
        stages = [Stage(n_iter=200, ftol=1e-3, fit=ALL, weights={'keypoints3d_mse': weight})]
        return SMPLify(body, stages, [Keypoint3dHandler()], Adam(lr=0.02))([points]).history[0]['steps']

    assert abs(steps(1.0) - steps(1e-6)) <= 2


def test_a_reduction_does_not_leak_to_other_handlers(clip):
    body, _, points = clip
    handlers = [Keypoint3dHandler(), BetasPriorHandler(), BodyPosePriorHandler()]
    weights = {'keypoints3d_mse': 1.0, 'betas_prior': 1.0, 'body_pose_prior': 1.0}

    def terms(reductions):
        stages = [Stage(n_iter=0, fit=RIGID, weights=weights, reductions=reductions)]
        start = random_params(body.data, 5)
        return SMPLify(body, stages, handlers)([points], start).history[0]['terms']

    mean, mixed = terms({}), terms({'keypoints3d_mse': 'sum'})
    assert mixed['keypoints3d_mse'] > 10 * mean['keypoints3d_mse']
    assert mixed['betas_prior'] == mean['betas_prior']
    assert mixed['body_pose_prior'] == mean['body_pose_prior']


class NeedsVertices(BaseHandler):
    """Counts what it was given."""

    def need(self, related_input):
        return ('vertices',)

    def forward(self, state, related_input=None, loss_weight_override=None, reduction_override=None):
        return state.output.vertices.square().mean()


def test_vertices_are_not_computed_unless_needed(clip, monkeypatch):
    body, _, points = clip
    asked = []
    forward = SMIL.forward

    def spy(self, params, need=('joints',), rest=None):
        asked.append('vertices' in need)
        return forward(self, params, need, rest)

    monkeypatch.setattr(SMIL, 'forward', spy)
    handlers = [Keypoint3dHandler(), NeedsVertices('v', KeypointMSELoss())]
    weights = {'keypoints3d_mse': 1.0}
    SMPLify(body, [Stage(n_iter=2, fit=RIGID, weights=weights | {'v': 0.0})], handlers)([points])
    assert not any(asked)
    SMPLify(body, [Stage(n_iter=2, fit=RIGID, weights=weights | {'v': 1.0})], handlers)([points])
    assert any(asked)


STAGE = dict(n_iter=1, fit_scale=True, keypoints3d_mse_weight=1.0)


@pytest.mark.parametrize(
    ('stage', 'message'),
    [
        (
            dict(keypoint3d_mse_weight=1.0),
            "unknown stage key 'keypoint3d_mse_weight'.*'keypoints3d_mse_weight'",
        ),
        (dict(fit_bodypose=True), "unknown stage key 'fit_bodypose'. Did you mean 'fit_body_pose'"),
        (dict(n_iters=3), "Did you mean 'n_iter'"),
    ],
)
def test_misspelt_stage_keys(clip, stage, message):
    with pytest.raises(KeyError, match=message):
        SMPLify(clip[0], [STAGE | stage], [Keypoint3dHandler()])


def test_handlers_and_inputs_must_meet(clip):
    body, _, points = clip
    fit = SMPLify(body, [STAGE], [Keypoint3dHandler(), BetasPriorHandler()])
    with pytest.raises(
        KeyError, match="no handler for the input 'keypoints3d'. Did you mean 'keypoints3d_mse'"
    ):
        fit([Keypoint3dMSEInput(points, handler_key='keypoints3d')])
    with pytest.raises(KeyError, match="'keypoints3d_mse' has a weight but no input"):
        fit([])
    with pytest.raises(ValueError, match='two inputs have the handler_key'):
        fit([points, Keypoint3dMSEInput(points)])
    with pytest.raises(ValueError, match='is a prior and takes no input'):
        fit([points, Keypoint3dMSEInput(points, handler_key='betas_prior')])
    with pytest.raises(ValueError, match='exactly one handler must take bare Keypoints2d; 0 do'):
        fit([seen_by(ring_of_cameras(), points)])
    with pytest.raises(TypeError, match='must be an Input'):
        fit([3])
    with pytest.raises(ValueError, match="'keypoints3d_mse' comes twice"):
        SMPLify(body, [STAGE], [Keypoint3dHandler(), Keypoint3dHandler()])
    two = SMPLify(body, [STAGE], [Keypoint3dHandler(), Keypoint3dLimbLenHandler()])
    with pytest.raises(ValueError, match='all inputs must have as many frames'):
        two([points, Keypoint3dLimbLenInput(points[:2])])
    with pytest.raises(KeyError, match="init_params: unknown parameter 'pose'"):
        fit([points], {'pose': torch.zeros(1)})


def test_conventions_are_checked(clip):
    body, _, points = clip
    fit = SMPLify(body, [STAGE], [Keypoint3dHandler()])
    with pytest.raises(KeyError, match="no keypoint set 'clickz'. Did you mean 'clicks'"):
        fit([Keypoint3dMSEInput(points.xyz, 'clickz')])
    with pytest.raises(ValueError, match="'clicks' must have as many names as keypoints; got 3 and 10"):
        fit([Keypoint3dMSEInput(points.xyz, 'clicks')])
    with pytest.raises(ValueError, match='the cameras must be known'):
        Keypoint2dInput(torch.zeros(1, 2, 3, 2))


def test_a_limb_convention_that_the_model_lacks_is_no_silent_all(clip):
    body, _, points = clip
    stage = Stage(n_iter=1, fit=('betas',), weights={'keypoints3d_limb_len': 1.0})
    fit = SMPLify(body, [stage], [Keypoint3dLimbLenHandler(LimbLengthLoss(convention='clickz'))])
    with pytest.raises(KeyError, match="no keypoint set 'clickz'. Did you mean 'clicks'"):
        fit([Keypoint3dLimbLenInput(points)])


def test_groups_that_the_model_lacks(clip):
    body, _, _ = clip
    with pytest.raises(KeyError, match="no joint group 'shoulder'"):
        SMPLify(body, [STAGE | dict(use_shoulder_hip_only=True)], [Keypoint3dHandler()])
    with pytest.raises(KeyError, match="group 'hand'"):
        SMPLify(body, [STAGE | dict(hand_weight=2.0)], [Keypoint3dHandler()])
    with pytest.raises(KeyError, match="fits the joint group 'spin', .* Did you mean 'spine'"):
        SMPLify(body, [STAGE | dict(fit_joint_groups=('spin',))], [Keypoint3dHandler()])
    with pytest.raises(ValueError, match='must state joint limits'):
        bare = SMIL(replace(body.data, joint_limits=None))
        SMPLify(bare, [STAGE | dict(joint_limits_weight=1.0)], [Keypoint3dHandler(), JointLimitHandler()])
    with pytest.raises(ValueError, match="cannot fit 'pose'"):
        Stage(fit=('pose',))


def test_unknown_names_print_as_they_were_written(clip):
    with pytest.raises(UnknownNameError) as caught:
        SMPLify(clip[0], [STAGE | dict(fit_bodypose=True)], [Keypoint3dHandler()])
    assert str(caught.value) == (
        "SMPLify: stage 0: unknown stage key 'fit_bodypose'. Did you mean 'fit_body_pose'?"
    )


def test_a_body_whose_scale_no_stage_fits_keeps_its_size(clip, caplog):
    body, truth, points = clip
    stage = Stage(n_iter=1, fit=('global_orient', 'transl'), weights={'keypoints3d_mse': 1.0})
    fit = SMPLify(body, [stage], [Keypoint3dHandler()])
    same = fit([points])
    assert same.params.scale.eq(1).all()
    assert 'unfitted_scale' not in same.report
    far = fit([replace(points, xyz=1000 * points.xyz)])
    assert far.params.scale.eq(1).all()
    assert far.report['unfitted_scale'] == pytest.approx(1000 * float(truth.scale[0]), rel=0.5)
    assert 'no stage fits its scale. Set fit_scale=True' in caplog.text
