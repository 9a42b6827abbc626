"""Rigs of other people: they import by one command, and move as in their own files."""

import numpy as np
import pytest

from smilfit.body_models import SMIL
from smilfit.body_models.pose_sampling import mirrored_joints
from smilfit.rigs import build_model, read_rig
from tests.rigs.gltf_twin import Twin

RIGS = ['mesh2motion/fox.glb', 'mesh2motion/spider.glb', 'mesh2motion/bird.glb', 'SimpleSkin.gltf']


def test_limits_of_clips_allow_their_poses_and_their_mirror_images(real_data):
    data, report = build_model(read_rig(real_data / 'rigs' / 'mesh2motion' / 'bird.glb'), limits='clips')
    order, signs = mirrored_joints(data)
    fitted = data.joint_limits[1:].any((1, 2))
    for clip in report.clips:
        pose = clip.arrays['body_pose']
        for shown in (pose, pose[:, order[1:] - 1] * signs):
            inside = (shown >= data.joint_limits[1:, :, 0]) & (shown <= data.joint_limits[1:, :, 1])
            assert inside[:, fitted].all()


@pytest.mark.parametrize('name', RIGS)
def test_a_rig_moves_as_its_own_file_says(real_data, name):
    path = real_data / 'rigs' / name
    data, report = build_model(read_rig(path))
    body, twin = SMIL(data).double(), Twin(path)
    assert len(report.clips) == len(twin.gltf['animations'])
    for number, clip in enumerate(report.clips):
        np.testing.assert_allclose(clip.times_s, twin.times(number))
        keys = [0, len(clip) // 3, len(clip) - 1]
        vertices = body(clip.params(body)[keys], need=('vertices',)).vertices.numpy()
        as_pose = body(clip.params(body, exact=False)[keys], need=('vertices',)).vertices.numpy()
        for i, key in enumerate(keys):
            truth = twin.skinned(number, float(clip.times_s[key]))
            assert np.abs(vertices[i] - truth).max() < 1e-6 * report.size
            # Blender's last digits scale bones by some 1e-5, which no rotation can follow.
            assert np.abs(as_pose[i] - truth).max() < 1e-5 * report.size
