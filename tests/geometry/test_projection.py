import cv2
import numpy as np
import pytest
import torch

from smilfit.geometry.projection import project_points
from smilfit.geometry.rotation import rotmat_to_axis_angle
from tests.animals import ring_of_cameras

LENS = torch.tensor([-0.285, 0.05, 0.001, -0.0005, 0.0], dtype=torch.float64)


def test_agrees_with_opencv(ring):
    K, R, t, _ = ring
    points = torch.randn(50, 3, dtype=torch.float64)
    pixels, depth, valid = project_points(points, K, R, t, LENS.expand(4, 5))
    assert valid.all()
    for c in range(4):
        theirs, _ = cv2.projectPoints(
            points.numpy(), rotmat_to_axis_angle(R[c]).numpy(), t[c].numpy(), K[c].numpy(), LENS.numpy()
        )
        np.testing.assert_allclose(pixels[c].numpy(), theirs[:, 0], atol=1e-8)
        np.testing.assert_allclose(depth[c].numpy(), (points @ R[c].T + t[c])[:, 2].numpy(), atol=1e-12)


def test_frames_may_have_cameras_of_their_own(ring):
    K, R, t, _ = ring
    points = torch.randn(3, 7, 3, dtype=torch.float64)
    shared, _, _ = project_points(points, K, R, t)
    own, _, _ = project_points(points, K.expand(3, 4, 3, 3), R.expand(3, 4, 3, 3), t.expand(3, 4, 3))
    assert shared.shape == (3, 4, 7, 2)
    torch.testing.assert_close(own, shared)


def test_behind_the_camera_is_invalid_with_finite_value_and_gradient(ring):
    K, R, t, _ = ring
    centre = -(R[0].T @ t[0])
    behind = torch.stack((2 * centre, centre, centre + R[0, 0], 100 * centre)).requires_grad_()
    for dist in (None, LENS.expand(1, 5)):
        pixels, _, valid = project_points(behind, K[:1], R[:1], t[:1], dist)
        assert not valid.any()
        assert pixels.isfinite().all()
        (gradient,) = torch.autograd.grad(pixels.sum(), behind)
        assert gradient.isfinite().all()


def test_beyond_the_fold_is_invalid_and_never_inside_again():
    K = torch.tensor([[[770.0, 0, 640], [0, 770, 512], [0, 0, 1]]], dtype=torch.float64)
    R, t = torch.eye(3, dtype=torch.float64)[None], torch.zeros(1, 3, dtype=torch.float64)
    lens = torch.tensor([[-0.285, 0, 0, 0, 0]], dtype=torch.float64)
    x = torch.linspace(0, 5, 101, dtype=torch.float64)
    points = torch.stack((x, torch.zeros_like(x), torch.ones_like(x)), -1).requires_grad_()
    pixels, _, valid = project_points(points, K, R, t, lens)
    fold = (1 / (3 * 0.285)) ** 0.5
    assert torch.equal(valid[0], x < fold)
    assert (pixels[0, 1:, 0] >= pixels[0, :-1, 0] - 1e-9).all()
    (gradient,) = torch.autograd.grad(pixels.sum(), points)
    assert gradient.isfinite().all()


def test_gradients_agree_with_finite_differences(ring):
    K, R, t, _ = ring
    points = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)

    def project(points, K, R, t, dist):
        pixels, depth, _ = project_points(points, K, R, t, dist)
        return pixels, depth

    dist = LENS.expand(4, 5).clone().requires_grad_()
    arguments = (points, K.requires_grad_(), R.clone().requires_grad_(), t.clone().requires_grad_(), dist)
    assert torch.autograd.gradcheck(project, arguments, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize('lens', [0.0, -0.2])
def test_linearised_projection_is_the_derivative(lens):
    cameras = ring_of_cameras(dist=lens)
    points = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(3)).double().requires_grad_()
    # One point beyond the first camera, where a stand-in is seen.
    with torch.no_grad():
        points[0, 0] = 2.5 * cameras.centres()[0]
    pixels, slope = cameras.linearise(points)
    expected, _, _ = cameras.project(points)
    torch.testing.assert_close(pixels, expected)
    for i in (0, 1):
        for c in range(len(cameras)):
            (row,) = torch.autograd.grad(expected[:, c, :, i].sum(), points, retain_graph=True)
            torch.testing.assert_close(slope[:, c, :, i], row)
