import cv2
import numpy as np
import pytest

from smilfit.cameras.bundle_adjustment import Blocks, Observations, adjust, residuals_px
from smilfit.cameras.rig import (
    N_COLUMNS,
    SHIFT,
    TURN,
    Rig,
    angle_between,
    linearise,
    project,
    rotation_of,
)
from smilfit.structures import Cameras
from tests.cameras.rigs import ring, sizes


def test_pixels_are_opencvs_and_those_of_the_cameras():
    rig = ring()
    points = np.random.default_rng(0).normal(size=(20, 3)) * 80
    cameras = rig.cameras('abcd', sizes(4), 'mm')
    import torch

    ours = cameras.project(torch.from_numpy(points))[0].numpy()
    for c in range(4):
        rotation = cv2.Rodrigues(rig.R[c])[0]
        theirs = cv2.projectPoints(points, rotation, rig.t[c], rig.K[c], rig.dist[c])[0][:, 0]
        mine, front = project(rig, np.full(20, c), points)
        assert front.all()
        np.testing.assert_allclose(mine, theirs, atol=1e-9)
        np.testing.assert_allclose(mine, ours[c], atol=1e-9)


def test_cameras_go_there_and_back():
    rig = ring()
    cameras = rig.cameras('abcd', sizes(4), 'mm')
    assert isinstance(cameras, Cameras)
    back = Rig.of(cameras)
    for name in rig.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(back, name), getattr(rig, name))


@pytest.mark.parametrize('column', range(N_COLUMNS))
def test_derivatives_by_the_camera_against_differences(column):
    rig = ring()
    camera, points = np.arange(4), np.random.default_rng(1).normal(size=(4, 3)) * 60
    result = linearise(rig, camera, points)[1][:, :, column]
    step = np.zeros((4, N_COLUMNS))
    step[:, column] = 1e-6
    ahead, behind = (project(rig.moved(s), camera, points)[0] for s in (step, -step))
    np.testing.assert_allclose(result, (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-4)


def test_derivatives_by_point_and_board_against_differences():
    rig = ring()
    random = np.random.default_rng(2)
    camera, local = np.arange(4), random.normal(size=(4, 3)) * 40
    blocks = Blocks(random.normal(size=(4, 3)) * 20, rotation_of(random.normal(size=(4, 3))))
    observed = Observations(camera, np.arange(4), local, np.zeros((4, 2)), np.ones(4))
    slopes = blocks.slopes(observed, linearise(rig, camera, blocks.place(observed))[2])
    for k in range(6):
        step = np.zeros((4, 6))
        step[:, k] = 1e-6
        ahead, behind = (project(rig, camera, blocks.moved(s).place(observed))[0] for s in (step, -step))
        np.testing.assert_allclose(slopes[:, :, k], (ahead - behind) / 2e-6, rtol=1e-5, atol=1e-4)


def test_a_knocked_camera_comes_back_and_the_others_keep_every_bit():
    rig, random = ring(), np.random.default_rng(3)
    points = random.normal(size=(60, 3)) * 70
    camera, block = np.repeat(np.arange(4), 60), np.tile(np.arange(60), 4)
    xy = project(rig, camera, points[block])[0]
    wild = random.random(len(xy)) < 0.1
    xy[wild] += random.normal(size=(wild.sum(), 2)) * 60
    observed = Observations(camera, block, np.zeros((240, 3)), xy, np.full(4, 1.0))
    knocked = ring().moved(np.eye(4)[:, [1]] * np.array([[0.05, -0.04, 0.06, 20, -15, 30, *(0,) * 8]]))
    free = np.zeros((4, N_COLUMNS), dtype=bool)
    free[1, TURN] = free[1, SHIFT] = True
    end = adjust(knocked, Blocks(points), observed, free)
    assert end.converged
    assert np.degrees(angle_between(end.rig.R[1], rig.R[1])) < 0.05
    assert np.linalg.norm(end.rig.centres[1] - rig.centres[1]) < 0.5
    assert np.median(residuals_px(end.rig, end.blocks, observed)) < 0.05
    for c in (0, 2, 3):
        for name in rig.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(end.rig, name)[c], getattr(knocked, name)[c])
