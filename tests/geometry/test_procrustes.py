import pytest
import torch

from smilfit.geometry.alignment import procrustes, procrustes_shared_scale
from smilfit.geometry.rotation import axis_angle_to_rotmat

F64 = {'dtype': torch.float64}


def _problem(n_frames=5, n_points=8, scale=2.5):
    source = torch.randn(n_frames, n_points, 3, **F64)
    rotation = axis_angle_to_rotmat(torch.randn(n_frames, 3, **F64))
    translation = 10 * torch.randn(n_frames, 3, **F64)
    target = scale * source @ rotation.transpose(-1, -2) + translation[:, None]
    return source, target, rotation, translation


def test_recovers_a_similarity():
    source, target, rotation, translation = _problem()
    result = procrustes(source, target)
    torch.testing.assert_close(result.rotation, rotation, atol=1e-10, rtol=0)
    torch.testing.assert_close(result.translation, translation, atol=1e-9, rtol=0)
    torch.testing.assert_close(result.scale, torch.full((5,), 2.5, **F64))
    torch.testing.assert_close(result.apply(source), target)
    assert result.determined.all()


def test_without_scale_it_is_rigid():
    source, target, rotation, _ = _problem(scale=1.7)
    result = procrustes(source, target, with_scale=False)
    torch.testing.assert_close(result.rotation, rotation, atol=1e-10, rtol=0)
    assert torch.equal(result.scale, torch.ones(5, **F64))
    torch.testing.assert_close(result.apply(source).mean(1), target.mean(1))


def test_moves_with_the_target_and_against_the_source():
    source, target, _, _ = _problem()
    target = target + 0.3 * torch.randn_like(target)
    rotation = axis_angle_to_rotmat(torch.randn(5, 3, **F64))
    plain = procrustes(source, target)
    moved = procrustes(source, 3 * target @ rotation.transpose(-1, -2) + 7)
    torch.testing.assert_close(moved.rotation, rotation @ plain.rotation, atol=1e-9, rtol=0)
    torch.testing.assert_close(moved.scale, 3 * plain.scale)
    before = procrustes(0.5 * source @ rotation.transpose(-1, -2) - 4, target)
    torch.testing.assert_close(before.rotation @ rotation, plain.rotation, atol=1e-9, rtol=0)
    torch.testing.assert_close(before.scale, 2 * plain.scale)


def test_is_the_least_squares_solution():
    source, target, _, _ = _problem()
    target = target + 0.5 * torch.randn_like(target)
    weights = torch.rand(5, 8, **F64)
    result = procrustes(source, target, weights)

    def cost(rotation, translation, scale):
        moved = scale[:, None, None] * source @ rotation.transpose(-1, -2) + translation[:, None]
        return (weights * (moved - target).square().sum(-1)).sum()

    vector = torch.zeros(5, 3, **F64, requires_grad=True)
    translation, scale = result.translation.clone().requires_grad_(), result.scale.clone().requires_grad_()
    gradients = torch.autograd.grad(
        cost(axis_angle_to_rotmat(vector) @ result.rotation, translation, scale), (vector, translation, scale)
    )
    assert all(float(gradient.abs().max()) < 1e-9 for gradient in gradients)


def test_never_reflects():
    source = torch.randn(3, 6, 3, **F64)
    mirrored = source * torch.tensor([1.0, 1.0, -1.0], **F64)
    result = procrustes(source, mirrored)
    torch.testing.assert_close(torch.linalg.det(result.rotation), torch.ones(3, **F64))


def test_weight_zero_equals_absence_even_of_nan():
    source, target, rotation, _ = _problem()
    target[:, 0] = float('nan')
    source[:, 1] = float('nan')
    weights = torch.ones(5, 8, **F64)
    weights[:, :2] = 0
    torch.testing.assert_close(procrustes(source, target, weights).rotation, rotation, atol=1e-10, rtol=0)


def test_points_in_a_plane_are_enough():
    source, _, rotation, _ = _problem(n_points=3)
    target = source @ rotation.transpose(-1, -2)
    result = procrustes(source, target)
    torch.testing.assert_close(result.rotation, rotation, atol=1e-9, rtol=0)
    assert result.determined.all()


@pytest.mark.parametrize('n_points', [2, 5])
def test_a_line_is_turned_by_the_smallest_rotation(n_points):
    along = torch.linspace(-1, 2, n_points, **F64)[:, None]
    a = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 0, 1]], **F64)
    b = torch.tensor([[0.6, 0.8, 0], [-1, 0, 0], [0, 0, 1]], **F64)
    result = procrustes(along * a[:, None], 3 * along * b[:, None] + 1)
    torch.testing.assert_close(
        result.apply(along * a[:, None]), 3 * along * b[:, None] + 1, atol=1e-9, rtol=0
    )
    rotation = axis_angle_to_rotmat(
        torch.tensor([0.0, 0, torch.pi / 2], **F64) * 0.9272952180016122 / 1.5707963267948966
    )
    torch.testing.assert_close(result.rotation[0], rotation, atol=1e-9, rtol=0)
    torch.testing.assert_close(result.rotation[2], torch.eye(3, **F64), atol=1e-9, rtol=0)
    torch.testing.assert_close(torch.linalg.det(result.rotation), torch.ones(3, **F64))
    assert not result.determined.any()


def test_one_point_is_moved_and_none_stays():
    source, target = torch.randn(2, 4, 3, **F64), torch.randn(2, 4, 3, **F64)
    weights = torch.zeros(2, 4, **F64)
    weights[0, 2] = 1
    for result in (procrustes(source, target, weights), procrustes_shared_scale(source, target, weights)):
        torch.testing.assert_close(result.apply(source)[0, 2], target[0, 2])
        assert torch.equal(result.rotation, torch.eye(3, **F64).expand(2, 3, 3))
        assert torch.equal(result.scale, torch.ones(2, **F64))
        assert torch.equal(result.translation[1], torch.zeros(3, **F64))
        assert not result.determined.any()


def test_shared_scale_is_the_joint_least_squares_scale():
    source, target, _, _ = _problem()
    target = target + 0.5 * torch.randn_like(target)
    weights = torch.rand(5, 8, **F64)
    weights[3] = 0
    result = procrustes_shared_scale(source, target, weights)
    assert float(result.scale.std()) == 0

    def cost(scale):
        moved = scale * source @ result.rotation.transpose(-1, -2)
        translation = (weights[..., None] * (target - moved)).sum(1) / weights.sum(1)[:, None].clamp_min(
            1e-12
        )
        return (weights * (moved + translation[:, None] - target).square().sum(-1)).sum()

    scale = result.scale[0].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cost(scale), scale)
    assert abs(float(gradient)) < 1e-9
    torch.testing.assert_close(result.rotation, procrustes(source, target, weights).rotation)


def test_float32_comes_back_as_float32():
    source, target, rotation, _ = _problem()
    result = procrustes(source.float(), target.float())
    assert result.rotation.dtype == torch.float32
    torch.testing.assert_close(result.rotation, rotation.float(), atol=1e-5, rtol=0)
