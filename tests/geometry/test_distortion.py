import cv2
import numpy as np
import pytest
import torch

from smilfit.geometry.projection import distort, fold_radius, undistort

LENSES = {
    'barrel': (-0.285, 0.0, 0.0, 0.0, 0.0),
    'pincushion': (0.2, 0.05, 0.0, 0.0, 0.0),
    'five': (-0.3, 0.12, 0.001, -0.0015, -0.02),
    'tangential': (0.0, 0.0, 0.003, -0.002, 0.0),
}


def _lens(name: str) -> torch.Tensor:
    return torch.tensor(LENSES[name], dtype=torch.float64)


def _disc(lens: torch.Tensor, share: float, n: int = 2000) -> torch.Tensor:
    """Ideal coordinates within a share of the fold (or of radius 0.9 without one)."""
    radius = min(float(fold_radius(lens)), 0.9) * share
    angle, r = 2 * torch.pi * torch.rand(n, dtype=torch.float64), torch.rand(n, dtype=torch.float64).sqrt()
    return radius * r[:, None] * torch.stack((angle.cos(), angle.sin()), -1)


@pytest.mark.parametrize('name', LENSES)
def test_distort_agrees_with_opencv(name):
    lens = _lens(name)
    points = _disc(lens, 0.95)
    flat = torch.cat((points, torch.ones(len(points), 1, dtype=torch.float64)), -1).numpy()
    theirs, _ = cv2.projectPoints(flat, np.zeros(3), np.zeros(3), np.eye(3), lens.numpy())
    torch.testing.assert_close(distort(points, lens), torch.from_numpy(theirs[:, 0]), atol=1e-12, rtol=0)


@pytest.mark.parametrize('name', LENSES)
def test_undistort_is_the_inverse_inside_the_fold(name):
    lens = _lens(name)
    points = _disc(lens, 0.99)
    result, valid = undistort(distort(points, lens), lens)
    assert valid.all()
    # 1e-6 px at a focal length of 1000 px.
    torch.testing.assert_close(result, points, atol=1e-9, rtol=0)


@pytest.mark.parametrize('name', LENSES)
def test_undistort_agrees_with_converged_opencv(name):
    lens = _lens(name)
    seen = distort(_disc(lens, 0.8), lens)
    K = np.array([[770.0, 0, 640], [0, 770, 512], [0, 0, 1]])
    pixels = seen.numpy() * 770 + [640, 512]
    # OpenCV 4 has the converging one under a name of its own.
    theirs = getattr(cv2, 'undistortPointsIter', cv2.undistortPoints)(
        pixels[:, None], K, lens.numpy(), R=np.eye(3), P=K, criteria=(3, 500, 1e-13)
    )[:, 0]
    result, valid = undistort(seen, lens)
    assert valid.all()
    torch.testing.assert_close(
        result * 770 + torch.tensor([640.0, 512.0]), torch.from_numpy(theirs), atol=1e-6, rtol=0
    )


def test_fold_is_where_the_radial_polynomial_turns():
    lens = _lens('barrel')
    fold = float(fold_radius(lens))
    assert fold == pytest.approx((1 / (3 * 0.285)) ** 0.5)
    radii = torch.linspace(0, 1.2 * fold, 2001, dtype=torch.float64)
    mapped = distort(torch.stack((radii, torch.zeros_like(radii)), -1), lens)[:, 0]
    assert float(radii[mapped.argmax()]) == pytest.approx(fold, abs=1e-3)
    assert fold_radius(_lens('pincushion')).isinf()


def test_the_fold_is_the_first_of_two():
    # 1 - 1.5 s + 0.25 s^2 is zero at two radii: the map falls back after the first.
    lens = torch.tensor([-0.5, 0.05, 0.0, 0.0, 0.0], dtype=torch.float64)
    fold = float(fold_radius(lens))
    assert fold == pytest.approx((3 - 5**0.5) ** 0.5)
    at = distort(
        torch.tensor([[fold * 0.99, 0.0], [fold, 0.0], [fold * 1.01, 0.0]], dtype=torch.float64), lens
    )[:, 0]
    assert at[1] > at[0]
    assert at[1] > at[2]


def test_beyond_the_fold_there_is_nothing():
    lens = _lens('barrel')
    edge = distort(torch.tensor([[float(fold_radius(lens)), 0.0]], dtype=torch.float64), lens)
    result, valid = undistort(torch.cat((edge * 1.001, edge * 2, edge * 0.999)), lens)
    assert valid.tolist() == [False, False, True]
    assert torch.equal(result[:2], torch.zeros(2, 2, dtype=torch.float64))


def test_missing_pixels_are_invalid_and_finite():
    points = torch.tensor([[float('nan'), 0.1], [float('inf'), 0.0], [0.1, 0.1]], dtype=torch.float64)
    result, valid = undistort(points, _lens('barrel'))
    assert valid.tolist() == [False, False, True]
    assert result.isfinite().all()


def test_float32_comes_back_as_float32():
    points = torch.tensor([[0.2, -0.1]])
    result, valid = undistort(points, _lens('five').float())
    assert result.dtype == torch.float32
    assert valid.all()


def test_gradient_of_distort():
    points = (0.3 * torch.randn(6, 2, dtype=torch.float64)).requires_grad_()
    lens = _lens('five').repeat(6, 1).requires_grad_()
    assert torch.autograd.gradcheck(distort, (points, lens))
