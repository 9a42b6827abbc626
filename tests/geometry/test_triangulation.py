import pytest
import torch

from smilfit.geometry.projection import project_points
from smilfit.geometry.triangulation import triangulate


def _views(ring, n_frames=6, n_points=9):
    K, R, t, _ = ring
    points = torch.randn(n_frames, n_points, 3, dtype=torch.float64)
    pixels, _, _ = project_points(points, K, R, t)
    return points, pixels, torch.ones(pixels.shape[:-1], dtype=torch.float64)


@pytest.mark.parametrize('n_refine', [0, 10])
@pytest.mark.parametrize('scale', [1.0, 1000.0, 1e-3])
def test_perfect_cameras_recover_the_points(ring, n_refine, scale):
    K, R, t, _ = ring
    points, pixels, confidence = _views(ring)
    result = triangulate(pixels, confidence, K, R, scale * t, n_refine=n_refine)
    assert result.valid.all()
    torch.testing.assert_close(result.points / scale, points, atol=1e-8, rtol=0)
    assert float(result.residual.max()) < 1e-7


def test_a_far_away_world_origin_costs_no_accuracy(ring):
    K, R, t, _ = ring
    points, pixels, confidence = _views(ring)
    shift = torch.tensor([1e5, -2e5, 3e4], dtype=torch.float64)
    result = triangulate(pixels, confidence, K, R, t - R @ shift)
    torch.testing.assert_close(result.points - shift, points, atol=1e-8, rtol=0)


def test_moves_with_the_world(ring):
    K, R, t, _ = ring
    _, pixels, confidence = _views(ring)
    pixels = pixels + torch.randn_like(pixels)
    Q = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q
    Q = Q * Q.det()
    plain = triangulate(pixels, confidence, K, R, t)
    turned = triangulate(pixels, confidence, K, R @ Q.T, t)
    torch.testing.assert_close(turned.points, plain.points @ Q.T, atol=1e-8, rtol=0)


def test_normalised_coordinates_will_do(ring):
    K, R, t, _ = ring
    points, pixels, confidence = _views(ring)
    normalised = (pixels - K[:, None, :2, 2]) / K[:, None, [0, 1], [0, 1]]
    identity = torch.eye(3, dtype=torch.float64).expand(4, 3, 3)
    result = triangulate(normalised, confidence, identity, R, t)
    torch.testing.assert_close(result.points, points, atol=1e-8, rtol=0)


def test_frames_may_have_cameras_of_their_own(ring):
    K, R, t, _ = ring
    points, pixels, confidence = _views(ring)
    result = triangulate(pixels, confidence, K.expand(6, 4, 3, 3), R.expand(6, 4, 3, 3), t.expand(6, 4, 3))
    torch.testing.assert_close(result.points, points, atol=1e-8, rtol=0)


def test_refinement_lowers_the_weighted_reprojection_error(ring):
    K, R, t, _ = ring
    _, pixels, _ = _views(ring)
    pixels = pixels + 3 * torch.randn_like(pixels)
    confidence = torch.rand(pixels.shape[:-1], dtype=torch.float64) + 0.05
    linear = triangulate(pixels, confidence, K, R, t, n_refine=0)
    refined = triangulate(pixels, confidence, K, R, t)

    def cost(points):
        error = project_points(points, K, R, t)[0] - pixels
        return (confidence * error.square().sum(-1)).sum((1, 2))

    assert (cost(refined.points) <= cost(linear.points)).all()
    # The start counts rows by their confidences, too.
    alike = triangulate(pixels, torch.ones_like(confidence), K, R, t, n_refine=0)
    assert cost(linear.points).sum() < cost(alike.points).sum()
    # A stationary point of the weighted cost, found without its gradient being given.
    at = refined.points.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cost(at).sum(), at)
    assert float(gradient.abs().max()) < 1e-4


def test_an_outlier_view_does_little_harm_with_huber(ring):
    K, R, t, _ = ring
    points, pixels, confidence = _views(ring)
    pixels = pixels + 0.5 * torch.randn_like(pixels)
    pixels[:, 2] += torch.tensor([150.0, -80.0], dtype=torch.float64)
    plain = triangulate(pixels, confidence, K, R, t)
    robust = triangulate(pixels, confidence, K, R, t, n_refine=30, huber_px=2.0)
    error = (robust.points - points).norm(dim=-1)
    # 1 px is 0.009 units here.
    assert float(error.median()) < 0.02
    assert float((plain.points - points).norm(dim=-1).median()) > 10 * float(error.median())


def test_confidence_zero_equals_absence(ring):
    K, R, t, _ = ring
    points, pixels, confidence = _views(ring)
    pixels[:, 1] = float('nan')
    confidence[:, 1] = 0
    result = triangulate(pixels, confidence, K, R, t)
    torch.testing.assert_close(result.points, points, atol=1e-8, rtol=0)
    assert float(result.residual[:, 1].abs().max()) == 0


def test_fewer_than_two_views_place_nothing(ring):
    K, R, t, _ = ring
    _, pixels, confidence = _views(ring)
    confidence[0, 1:, 0] = 0
    confidence[1, :, 1] = 0
    result = triangulate(pixels, confidence, K, R, t)
    assert not result.valid[0, 0]
    assert not result.valid[1, 1]
    assert int((~result.valid).sum()) == 2
    assert float(result.points[0, 0].abs().sum()) == 0
    assert result.points.isfinite().all()


def test_parallel_rays_place_nothing(ring):
    K, R, t, _ = ring
    _, pixels, confidence = _views(ring)
    # Two cameras in one place fix a direction only.
    K, R, t = K[[0, 0]], R[[0, 0]], t[[0, 0]]
    result = triangulate(pixels[:, [0, 0]], confidence[:, :2], K, R, t)
    assert not result.valid.any()
    noisy = pixels[:, [0, 0]] + torch.randn(6, 2, 9, 2, dtype=torch.float64)
    assert not triangulate(noisy, confidence[:, :2], K, R, t).valid.any()


def test_points_behind_all_cameras_are_invalid(ring):
    K, R, t, _ = ring
    # Rays of two cameras that meet behind both.
    pair = [0, 1]
    centres = -(R.transpose(-1, -2) @ t.unsqueeze(-1)).squeeze(-1)[pair]
    outward = centres.mean(0) * 3
    homogeneous = (K[pair] @ (R[pair] @ outward + t[pair]).unsqueeze(-1)).squeeze(-1)
    pixels = (homogeneous[:, :2] / homogeneous[:, 2:])[None, :, None]
    result = triangulate(pixels, torch.ones(1, 2, 1, dtype=torch.float64), K[pair], R[pair], t[pair])
    assert not result.valid.any()


def test_float32_comes_back_as_float32(ring):
    K, R, t, _ = ring
    points, pixels, confidence = _views(ring)
    result = triangulate(pixels.float(), confidence.float(), K.float(), R.float(), t.float())
    assert result.points.dtype == torch.float32
    torch.testing.assert_close(result.points, points.float(), atol=1e-4, rtol=0)


def test_the_linear_solution_is_as_good_a_start(ring):
    """Under noise it is no further from the truth than the refined one."""
    K, R, t, _ = ring
    points, pixels, confidence = _views(ring, n_frames=40)
    noisy = pixels + 2 * torch.randn_like(pixels)
    far = [
        (triangulate(noisy, confidence, K, R, t, n_refine=n).points - points).norm(dim=-1) for n in (0, 10)
    ]
    assert float(far[0].median()) < 1.05 * float(far[1].median())
