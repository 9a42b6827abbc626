"""A made animal seen by cameras, whose shape keypoints cannot see."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.renderers import ZBufferRenderer
from smilfit.structures import Keypoints2d
from smilfit.synthetic import make_quadruped, make_rig, random_motion


class MadeRecording:
    """Images of a body before a plain ground, rendered when they are asked for."""

    def __init__(self, body, params, cameras):
        self.body, self.params, self.cameras = body, params, cameras
        self.render = ZBufferRenderer()

    def mask(self, frame, camera):
        vertices = self.body(self.params[frame], ('vertices',)).vertices
        lens = self.cameras.select([camera]).to(vertices)
        return self.render(vertices, self.body.faces, lens).alpha[0].numpy() > 0.5

    def frames(self, indices):
        for index in indices:
            chance = np.random.default_rng(index)
            images = {}
            for name in self.cameras.names:
                mask = self.mask(index, name)
                image = chance.normal(60, 8, (*mask.shape, 3))
                image[mask] = chance.normal(170, 12, (int(mask.sum()), 3))
                images[name] = image.clip(0, 255).astype(np.uint8)
            yield index, images


def fat_quadruped():
    """Make a quadruped with one shape coefficient: its skin around joints that stay."""
    data = make_quadruped()
    joints = data.joints
    nearest = np.linalg.norm(data.v_template[:, None] - joints[None], axis=-1).argmin(1)
    trunk = data.weights.to_dense().argmax(1)
    outward = data.v_template - joints[nearest]
    outward *= (trunk == np.bincount(trunk).argmax())[:, None]
    return replace(
        data,
        joint_regressor=None,
        shapedirs=0.35 * outward[..., None],
        shape_mean=np.zeros(1),
        shape_cov=np.eye(1),
        scaledirs=None,
        transdirs=None,
    )


@pytest.fixture(scope='session')
def fat_animal():
    return SMIL(fat_quadruped())


@pytest.fixture(scope='session')
def recording(fat_animal):
    """Six frames in three views with lenses, of an animal whose coefficient is 1.5."""
    rng = np.random.default_rng(2)
    params = random_motion(fat_animal, 6, rng, arena_radius=30.0, scale=90.0)
    params = params.replace(betas=torch.full((6, 1), 1.5)).to(fat_animal.v_template)
    return MadeRecording(fat_animal, params, make_rig(3, 100.0, rng, size=(320, 256)))


@pytest.fixture(scope='session')
def seen(recording):
    """Its joints in all views."""
    joints = recording.body(recording.params, ('joints',)).joints.double()
    xy, _, valid = recording.cameras.project(joints)
    return Keypoints2d(xy, valid.double(), recording.body.joint_names, recording.cameras)
