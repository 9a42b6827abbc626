import numpy as np
import pytest
import roma
import torch
from scipy.spatial.transform import Rotation

from smilfit.geometry.rotation import (
    axis_angle_to_rotmat,
    geodesic_angle,
    quat_wxyz_to_rotmat,
    rot6d_to_rotmat,
    rotmat_to_axis_angle,
    rotmat_to_quat_wxyz,
    rotmat_to_rot6d,
)


def _rotations(n: int = 200) -> tuple[Rotation, torch.Tensor]:
    # Directions in four dimensions are rotations, evenly spread.
    scipys = Rotation.from_quat(np.random.default_rng(0).normal(size=(n, 4)))
    return scipys, torch.from_numpy(scipys.as_matrix())


def test_axis_angles_agree_with_scipy():
    scipys, matrices = _rotations()
    vectors = torch.from_numpy(scipys.as_rotvec())
    torch.testing.assert_close(axis_angle_to_rotmat(vectors), matrices, atol=1e-12, rtol=0)
    torch.testing.assert_close(rotmat_to_axis_angle(matrices), vectors, atol=1e-10, rtol=0)


def test_quaternions_agree_with_scipy():
    scipys, matrices = _rotations()
    quats = torch.from_numpy(np.roll(scipys.as_quat(), 1, axis=-1))
    torch.testing.assert_close(quat_wxyz_to_rotmat(quats), matrices, atol=1e-12, rtol=0)
    torch.testing.assert_close(
        quat_wxyz_to_rotmat(rotmat_to_quat_wxyz(matrices)), matrices, atol=1e-12, rtol=0
    )


def test_rot6d_round_trip_and_scale_freedom():
    _, matrices = _rotations()
    six = rotmat_to_rot6d(matrices)
    torch.testing.assert_close(six, torch.cat((matrices[..., 0], matrices[..., 1]), -1))
    torch.testing.assert_close(rot6d_to_rotmat(six), matrices, atol=1e-12, rtol=0)
    torch.testing.assert_close(rot6d_to_rotmat(3.7 * six), matrices, atol=1e-12, rtol=0)


def test_rot6d_identity_is_the_identity():
    identity = torch.tensor([1.0, 0, 0, 0, 1, 0])
    assert torch.equal(rot6d_to_rotmat(identity), torch.eye(3))
    assert torch.equal(rotmat_to_rot6d(torch.eye(3)), identity)


@pytest.mark.parametrize('angle', [0.0, 1e-8, 1e-4, 3.1415926])
def test_small_and_large_angles_are_exact_and_have_a_gradient(angle):
    vector = torch.tensor([0.6, -0.64, 0.48], dtype=torch.float64) * angle
    vector.requires_grad_()
    matrix = axis_angle_to_rotmat(vector)
    torch.testing.assert_close(
        matrix.detach(),
        torch.from_numpy(Rotation.from_rotvec(vector.detach().numpy()).as_matrix()),
        atol=1e-9,
        rtol=0,
    )
    jacobian = torch.autograd.functional.jacobian(axis_angle_to_rotmat, vector.detach())
    assert jacobian.isfinite().all()
    if angle == 0.0:
        # The generators of rotation: dR/dx = [e_x]x.
        assert jacobian[2, 1, 0] == pytest.approx(1.0)
        assert jacobian[1, 2, 0] == pytest.approx(-1.0)


def test_gradient_of_the_exponential():
    vectors = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(axis_angle_to_rotmat, vectors)


def test_geodesic_angle_is_the_angle_between():
    axis = torch.tensor([[0.0, 0, 1]], dtype=torch.float64)
    a, b = axis_angle_to_rotmat(0.3 * axis), axis_angle_to_rotmat(-0.5 * axis)
    assert float(geodesic_angle(a, b)) == pytest.approx(0.8)


@pytest.mark.parametrize('angle', [0.0, 1e-9, 1e-4, 1e-3, 1.0, 3.14159])
def test_values_and_gradients_are_those_of_roma(angle):
    vectors = torch.nn.functional.normalize(torch.randn(20, 3, dtype=torch.float64), dim=-1) * angle
    matrices, other = roma.rotvec_to_rotmat(vectors), roma.random_rotmat(20, dtype=torch.float64)
    pairs = (
        (rotmat_to_axis_angle, roma.rotmat_to_rotvec),
        (rotmat_to_quat_wxyz, lambda r: roma.quat_xyzw_to_wxyz(roma.rotmat_to_unitquat(r))),
        (lambda r: rot6d_to_rotmat(rotmat_to_rot6d(r)), roma.special_gramschmidt),
        (lambda r: geodesic_angle(r, other), lambda r: roma.rotmat_geodesic_distance(r, other)),
    )
    for ours, theirs in pairs:
        slopes, values = [], []
        for function in (ours, theirs):
            leaf = matrices.clone().requires_grad_()
            value = function(leaf)
            (slope,) = torch.autograd.grad(
                (value * torch.arange(1.0, 1 + value.numel()).reshape(value.shape)).sum(), leaf
            )
            values.append(value.detach())
            slopes.append(slope)
        torch.testing.assert_close(*values, atol=1e-12, rtol=1e-12)
        torch.testing.assert_close(*slopes, atol=1e-6, rtol=1e-6)
