"""Shape and sizes that no observed keypoint moves are found and told; those that one moves are not."""

import json
import logging
from dataclasses import replace

import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.handlers import BetasPriorHandler, Keypoint3dHandler, MeshInput, MeshVertexHandler
from smilfit.losses import ShapePriorLoss
from smilfit.registrants import SMPLify, Stage
from smilfit.solvers import LevenbergMarquardt
from smilfit.structures import FitResult, Keypoints3d
from tests.animals import marked_animal, random_params, static_animal

ALL = ('global_orient', 'transl', 'scale', 'body_pose', 'betas')


def seen(body, names, truth=None):
    truth = random_params(body.data, 2) if truth is None else truth
    points = body(truth, names).select(names)
    return Keypoints3d(points, torch.ones(points.shape[:2]).double(), names)


def fitted(body, points, fit=ALL, start=None, extra=()):
    handlers = [Keypoint3dHandler(), BetasPriorHandler(ShapePriorLoss(), 'shape'), MeshVertexHandler()]
    weights = {'keypoints3d_mse': 1.0, 'shape': 1e-3} | ({'mesh': 1.0} if extra else {})
    stage = Stage(n_iter=2, fit=fit, weights=weights)
    fitter = SMPLify(body, [stage], handlers, LevenbergMarquardt(), use_one_betas_per_video=True)
    return fitter([points, *extra], init_params=start)


def test_betas_of_static_joints_are_told_everywhere(tmp_path, caplog):
    body = SMIL(static_animal()).double()
    points = seen(body, body.joint_names)
    with caplog.at_level(logging.WARNING, 'smilfit'):
        result = fitted(body, points)
    sentence = (
        'shape: none of 3 betas moves any of the 6 keypoints: it stays at the mean; masks would move it'
    )
    assert sentence in caplog.text
    notes = json.loads(result.save(tmp_path / 'fit.npz').with_suffix('.json').read_text())['report'][
        'unmoved'
    ]
    assert notes == FitResult.load(tmp_path / 'fit.npz').report['unmoved']
    assert notes[0]['sentence'] == sentence
    assert notes[0]['numbers'] == [0, 1, 2]
    # And so it is.
    torch.testing.assert_close(result.params.betas, body.zero_params(2).betas)


def test_betas_that_a_keypoint_moves_are_not_told_of():
    moving = SMIL(replace(static_animal(), shapedirs=static_animal().shapedirs * [1, 0, 1])).double()
    names = (*moving.joint_names, 'tail')
    points = seen(moving, names)
    assert fitted(moving, points).report['unmoved'][0]['sentence'] == (
        'shape: 1 of 3 betas (1) moves none of the 7 keypoints: it stays at the mean; masks would move it'
    )
    body = SMIL(static_animal()).double()
    assert 'unmoved' not in fitted(body, points).report
    # Of a keypoint that nobody saw nothing is known.
    valid = points.confidence * torch.tensor([name != 'tail' for name in names]).double()
    hidden = fitted(body, replace(points, confidence=valid))
    assert hidden.report['unmoved'][0]['n_keypoints'] == 6
    # What no stage fits is not asked for.
    assert 'unmoved' not in fitted(body, replace(points, confidence=valid), fit=ALL[:-1]).report


def test_where_a_start_was_given_it_stays_there():
    body = SMIL(static_animal()).double()
    truth = random_params(body.data, 2)
    result = fitted(body, seen(body, body.joint_names, truth), start={'betas': truth.betas[:1]})
    assert 'it stays where the fit starts' in result.report['unmoved'][0]['sentence']


def test_meshes_and_masks_move_what_keypoints_do_not():
    body = SMIL(static_animal()).double()
    truth = random_params(body.data, 2)
    mesh = MeshInput(body(truth, need=('vertices',)).vertices, body.faces)
    assert 'unmoved' not in fitted(body, seen(body, body.joint_names, truth), extra=(mesh,)).report


@pytest.mark.parametrize(
    ('parameter', 'told'),
    [('part_sizes', ['end']), ('log_joint_scales', ['joint_2', 'joint_4', 'joint_5'])],
)
def test_sizes_of_what_has_no_keypoint_beyond_it_are_told(parameter, told):
    """A part of two toes has no joint beyond it; a joint scale moves what is below its joint."""
    data = replace(marked_animal(), landmarks={}, scaledirs=None, transdirs=None, posedirs=None)
    body = SMIL(data).double()
    report = fitted(body, seen(body, body.joint_names), fit=(*ALL[:4], parameter)).report
    [one] = report['unmoved']
    assert one['numbers'] == told
    assert ('they stay at rest' in one['sentence']) == (len(told) > 1)
