"""A camera's image lies in its frustum exactly; a lens is taken out on the way; videos in any order."""

import math

import cv2
import numpy as np
import pytest
import torch

from smilfit.apis.viewer.images import WHOLE, VideoFrames
from smilfit.apis.viewer.scene import CentredWindow, see
from smilfit.io.recordings.videos import iterate_videos, probe_video
from smilfit.structures import Cameras


def camera(dist=None) -> Cameras:
    K = torch.tensor([[[300.0, 0, 100.0], [0, 330.0, 150.0], [0, 0, 1]]], dtype=torch.float64)
    return Cameras(
        names=('one',),
        K=K,
        R=torch.eye(3, dtype=torch.float64)[None],
        t=torch.zeros(1, 3, dtype=torch.float64),
        size=torch.tensor([[320.0, 240.0]], dtype=torch.float64),
        dist=dist,
    )


def test_a_frustum_of_angle_and_ratio_sees_what_the_camera_sees():
    one = camera()
    window = CentredWindow.of(one, 400)
    points = torch.tensor([[0.1, -0.2, 1.0], [-0.3, 0.2, 1.5]], dtype=torch.float64)
    pixels = one.project(points)[0][0].numpy()
    width, height = window.size
    focal = 0.5 * height / math.tan(0.5 * window.fov_rad)
    xy = (points[:, :2] / points[:, 2:]).numpy()
    np.testing.assert_allclose(
        window.shown(pixels), focal * xy + [(width - 1) / 2, (height - 1) / 2], atol=1e-9
    )
    assert window.aspect == width / height
    corners = window.shown(np.array([[-0.5, -0.5], [319.5, 239.5]]))
    assert (corners >= -1.5).all()
    assert (corners <= np.array(window.size) + 0.5).all()


def test_a_lens_is_taken_out():
    one = camera(torch.tensor([[-0.3, 0.05, 0.0, 0.0, 0.0]], dtype=torch.float64))
    window = CentredWindow.of(one, 640)
    point = torch.tensor([[0.35, 0.1, 1.0]], dtype=torch.float64)
    (u, v) = one.project(point)[0][0, 0].tolist()
    image = np.zeros((240, 320, 3), np.uint8)
    cv2.circle(image, (round(u), round(v)), 4, (255, 255, 255), -1)
    shown = see(image, WHOLE, one, window)[..., 0].astype(float)
    result = np.array(
        [(shown.sum(0) * np.arange(shown.shape[1])).sum(), (shown.sum(1) * np.arange(shown.shape[0])).sum()]
    )
    expected = window.shown(one.ideal().project(point)[0][0].numpy())[0]
    np.testing.assert_allclose(result / shown.sum(), expected, atol=1.5)


def test_beyond_the_fold_of_a_lens_there_is_nothing():
    one = camera(torch.tensor([[-1.0, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64))
    window = CentredWindow.of(one, 640)
    shown = see(np.full((240, 320, 3), 200, np.uint8), WHOLE, one, window)
    radius = (np.arange(window.size[0]) - (window.size[0] - 1) / 2) / window.focal_px
    centre = shown[window.size[1] // 2, :, 0]
    assert (centre[np.abs(radius) > float(one.fold[0]) + 0.01] == 0).all()
    assert centre[window.size[0] // 2] > 190


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp('video') / 'a.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), 25, (64, 48))
    for i in range(150):
        writer.write(np.full((48, 64, 3), i, np.uint8))
    writer.release()
    return path


def test_frames_in_any_order_are_those_in_order(video, monkeypatch):
    monkeypatch.setattr('smilfit.apis.viewer.images.NEAR', 10)
    wanted = [0, 149, 3, 4, 80, 79, 100, 101, 5]
    in_order = {i: images['a'] for i, images in iterate_videos({'a': video}, sorted(wanted))}
    with VideoFrames(video, probe_video(video).n_frames) as frames:
        for i in wanted:
            np.testing.assert_array_equal(frames[i], in_order[i])
        with pytest.raises(IndexError, match='frames go from 0 to 149'):
            frames[150]
