"""Views vote on the heading: in their own line of sight, agreed on in the world."""

import torch

from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.networks.heads.orientation_head import OrientationHead, camera_view_frames
from smilfit.networks.scene_frame import pixel_rays
from smilfit.structures import Cameras
from tests.animals import ring_of_cameras


def batch_of_cameras(n: int = 2) -> Cameras:
    cameras = ring_of_cameras(4).to(torch.float32)
    crop = torch.tensor([[0.5, 0.0, -60.0], [0.0, 0.5, -20.0]])
    cropped = cameras.transformed(crop.expand(4, 2, 3), torch.full((4, 2), 96.0))
    return cropped.map(lambda x: x.expand(n, *x.shape))


def shaken_head() -> OrientationHead:
    head = OrientationHead(8, 16)
    torch.nn.init.normal_(head.out.weight)
    torch.nn.init.normal_(head.out.bias)
    return head


def test_a_sight_frame_looks_along_the_middle_of_the_crop():
    cameras = batch_of_cameras()
    frames = camera_view_frames(cameras)
    centre = ((cameras.size - 1) / 2).unsqueeze(2)
    rays, _ = pixel_rays(cameras, centre)
    assert torch.allclose(frames @ frames.transpose(-1, -2), torch.eye(3).expand_as(frames), atol=1e-5)
    along = (frames @ rays.squeeze(2).unsqueeze(-1)).squeeze(-1)
    assert torch.allclose(along, torch.tensor([0.0, 0, 1]).expand_as(along), atol=1e-5)


def test_an_untrained_head_agrees_on_the_prior():
    prior = axis_angle_to_rotmat(torch.randn(3))
    mask = torch.ones(2, 4, dtype=torch.bool)
    predicted = OrientationHead(8)(torch.randn(2, 4, 5, 8), mask, batch_of_cameras(), prior)
    assert torch.equal(predicted.votes, torch.zeros(2, 4, 3, 2))
    assert torch.allclose(predicted.agreed, prior.expand(2, 3, 3), atol=1e-6)


def test_turning_the_world_turns_the_votes():
    """The same images of the same scene, in a world with other axes."""
    head, tokens = shaken_head(), torch.randn(2, 4, 5, 8)
    mask = torch.tensor([[True] * 4, [True, False, True, True]])
    cameras, prior = batch_of_cameras(), axis_angle_to_rotmat(torch.randn(3))
    rotation = axis_angle_to_rotmat(torch.randn(3))
    turned = Cameras(cameras.names, cameras.K, cameras.R @ rotation.T, cameras.t, cameras.size)
    before = head(tokens, mask, cameras, prior)
    after = head(tokens, mask, turned, rotation @ prior)
    assert torch.allclose(after.votes, rotation @ before.votes, atol=1e-5)
    assert torch.allclose(after.agreed, rotation @ before.agreed, atol=1e-4)
    assert before.votes[1, 1].abs().max() == 0
