"""What a fit's result tells of its keypoints: those that were observed, landmarks among them."""

import torch

from smilfit.body_models import SMIL
from smilfit.handlers import Keypoint3dHandler
from smilfit.registrants import SMPLify, Stage
from smilfit.registrants.stagewise import described
from smilfit.solvers import LevenbergMarquardt
from smilfit.structures import Keypoints3d
from tests.animals import MARKS, marked_animal, random_params

FIT = ('global_orient', 'transl', 'scale', 'body_pose', 'betas', 'landmark_offsets')


def test_keypoints_of_a_result_are_the_observed_ones_landmarks_included():
    body = SMIL(marked_animal()).double()
    names = ('mark_on_skin', 'joint_0', 'mark_known', 'joint_1', 'joint_3', 'joint_4', 'mark_on_parent')
    truth = random_params(body.data, 3)
    offsets = 0.1 * torch.randn(1, 3, 3).double().expand(3, -1, -1)
    points = body(truth.replace(landmark_offsets=offsets), names).select(names)
    seen = torch.ones(points.shape[:2]).double()
    seen[1] = 0
    stage = Stage(n_iter=30, fit=FIT, weights={'keypoints3d_mse': 1.0})
    fitter = SMPLify(body, [stage], [Keypoint3dHandler()], LevenbergMarquardt())
    result = fitter([Keypoints3d(points, seen, names, 'mm')])
    notes = result.keypoints3d
    assert notes.names == names
    assert notes.confidence.bool().tolist() == seen.bool().tolist()
    # The offsets that were found belong to them.
    valid = result.params[result.fitted]
    torch.testing.assert_close(notes.xyz[result.fitted], body(valid, names).select(names))
    torch.testing.assert_close(notes.xyz[result.fitted], points[result.fitted], atol=1e-3, rtol=0)
    # Where no keypoint was observed it tells all that it has.
    assert described(result, body, None, ()).keypoints3d.names == (*body.joint_names, *MARKS)
