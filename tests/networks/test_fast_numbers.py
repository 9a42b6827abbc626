"""What a device is fast with computes the same network."""

import torch

from smilfit.networks import SmallUNet
from smilfit.networks.keypoints.two_passes import fast_numbers


def test_the_choice_runs_here_and_agrees_with_plain_numbers():
    choice = fast_numbers('cpu')
    torch.manual_seed(0)
    backbone, images = SmallUNet((8, 16), 8).eval(), torch.rand(2, 3, 32, 32)
    plain = backbone(images)
    backbone = backbone.to(memory_format=choice.memory_format)
    with torch.autocast('cpu', choice.autocast or torch.bfloat16, enabled=choice.autocast is not None):
        fast = backbone(images.contiguous(memory_format=choice.memory_format))
    for expected, result in zip(plain, fast):
        torch.testing.assert_close(result.float(), expected, atol=0.05, rtol=0.05)


def test_a_device_of_which_nothing_is_known_gets_plain_numbers():
    choice = fast_numbers('meta')
    assert choice.autocast is None
    assert choice.memory_format == torch.contiguous_format
