"""The pose that one far view tells."""

import roma
import torch

from smilfit.geometry.projection import scaled_orthographic


def _scene(n=16, k=9):
    source = torch.randn(k, 3, dtype=torch.float64).expand(n, -1, -1)
    rotation = roma.random_rotmat(n, dtype=torch.float64)
    scale, shift = 0.5 + torch.rand(n, dtype=torch.float64), torch.randn(n, 2, dtype=torch.float64)
    target = scale[:, None, None] * (source @ rotation.transpose(1, 2))[..., :2] + shift[:, None]
    return source, target, rotation, scale, shift


def test_an_exact_picture_gives_the_exact_pose():
    source, target, rotation, scale, shift = _scene()
    weights = torch.rand(source.shape[:2], dtype=torch.float64)
    # What has no weight may stand anywhere.
    weights[:, 0], target[:, 0] = 0, 1e3
    result = scaled_orthographic(source, target, weights, n_steps=50)
    torch.testing.assert_close(result.rotation, rotation, atol=1e-6, rtol=0)
    torch.testing.assert_close(result.scale, scale, atol=1e-6, rtol=0)
    torch.testing.assert_close(result.translation, shift, atol=1e-6, rtol=0)


def test_more_steps_lower_the_distance_in_a_noisy_picture():
    source, target, *_ = _scene()
    target = target + 0.2 * torch.randn_like(target)
    weights = torch.ones(source.shape[:2], dtype=torch.float64)

    def distance(n_steps):
        result = scaled_orthographic(source, target, weights, n_steps)
        flat = (source @ result.rotation.transpose(1, 2))[..., :2]
        return (
            (result.scale[:, None, None] * flat + result.translation[:, None] - target).square().sum((1, 2))
        )

    first, more, most = (distance(n) for n in (1, 4, 20))
    assert (more <= first + 1e-9).all()
    assert (most <= more + 1e-9).all()


def test_a_rolled_picture_rolls_the_pose():
    source, target, *_ = _scene()
    weights = torch.ones(source.shape[:2], dtype=torch.float64)
    roll = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, 0.7], dtype=torch.float64))
    first = scaled_orthographic(source, target, weights)
    rolled = scaled_orthographic(source, target @ roll[:2, :2].T, weights)
    torch.testing.assert_close(rolled.rotation, roll @ first.rotation)
