"""A short clip of a made body with exact keypoints, and what tests ask of a fit of it."""

from dataclasses import replace

import torch

from smilfit.body_models import SMIL
from smilfit.structures import Keypoints2d, Keypoints3d
from tests.animals import random_params, small_animal

RIGID = ('global_orient', 'transl', 'scale')
ALL = (*RIGID, 'body_pose', 'betas')


def make_clip():
    """A body, its truth over a clip of one shape, and exact keypoints."""
    data = replace(small_animal(n_joints=8), posedirs=None)
    body = SMIL(data).double()
    truth = random_params(data, 5, angle=0.25)
    truth = truth.replace(
        betas=truth.betas[:1].expand(5, -1).clone(), scale=truth.scale[:1].expand(5).clone()
    )
    names = (*data.joint_names, 'nose', 'tail')
    points = body(truth, names).keypoints
    return body, truth, Keypoints3d(points, torch.ones(5, len(names)).double(), names)


def seen_by(cameras, points):
    xy, _, valid = cameras.project(points.xyz)
    return Keypoints2d(xy, valid.double(), points.names, cameras)


def error(body, result, points):
    return (body(result.params, points.names).keypoints - points.xyz).norm(dim=-1)
