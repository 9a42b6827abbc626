"""Numbers that no camera, annotator or detector means are refused where they come in."""

from dataclasses import replace

import pytest
import torch

from smilfit.structures import Cameras, Keypoints2d, Keypoints3d
from tests.animals import ring_of_cameras

NAMES = ('a', 'b')


@pytest.mark.parametrize('value', [1e9, 1.01, -0.1, float('nan'), float('inf')])
def test_confidences_are_shares(value):
    confidence = torch.tensor([[1.0, value]])
    with pytest.raises(
        ValueError, match=r'Keypoints3d: confidences must be in \[0, 1\]; got .*1 such points'
    ):
        Keypoints3d(torch.zeros(1, 2, 3), confidence, NAMES)
    with pytest.raises(ValueError, match=r'Keypoints2d: confidences must be in \[0, 1\]'):
        Keypoints2d(torch.zeros(1, 1, 2, 2), confidence.unsqueeze(1), NAMES)


def test_coordinates_are_of_this_world():
    points = torch.zeros(3, 2, 3).double()
    points[2, 1, 0] = 1e12
    with pytest.raises(ValueError, match=r"coordinates must be below 1e\+09 units .*'b' at index \(2, 1\)"):
        Keypoints3d(points, torch.ones(3, 2), NAMES)
    # What is missing may be anything.
    assert not Keypoints3d(points, torch.tensor([1.0, 0.0]).expand(3, 2), NAMES).xyz.any()


@pytest.mark.parametrize('name', ['K', 'R', 't', 'dist'])
def test_cameras_are_of_this_world(name):
    cameras = ring_of_cameras(dist=0.1)
    value = getattr(cameras, name).clone()
    value[1, 0] = 1e30
    with pytest.raises(ValueError, match=rf'Cameras: {name} must be below 1e\+09 units; got 1e\+30'):
        replace(cameras, **{name: value})


@pytest.mark.parametrize('count', [1, 3])
def test_every_view_has_its_camera(count):
    cameras = ring_of_cameras(count)
    with pytest.raises(ValueError, match=f'as many as the views; got {count} cameras and 2 views'):
        Keypoints2d(torch.zeros(1, 2, 2, 2).double(), torch.ones(1, 2, 2), NAMES, cameras)


def test_every_frame_has_its_cameras():
    ring = ring_of_cameras(2)
    own: Cameras = ring.map(lambda x: x.expand(3, *x.shape))
    xy, confidence = torch.zeros(4, 2, 2, 2).double(), torch.ones(4, 2, 2)
    with pytest.raises(ValueError, match='as many as the frames; got those of 3 frames for 4'):
        Keypoints2d(xy, confidence, NAMES, own)
    assert Keypoints2d(xy[:3], confidence[:3], NAMES, own).batch_size == 3
