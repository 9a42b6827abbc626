"""The quick skeleton against its readable twin, gradients included."""

import math

import pytest
import torch

from smilfit.geometry.posing import KinematicTree, forward_kinematics, pose_skeleton
from smilfit.geometry.rotation import axis_angle_to_rotmat

# A chain of twelve, a fork and a leaf on the root.
PARENTS = [-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 3, 12, 0]


@pytest.fixture
def tree():
    tree = KinematicTree.from_parents(PARENTS)
    return tree.to(torch.float64)


@pytest.mark.parametrize('n_rest', [1, 4])
@pytest.mark.parametrize('use', ['both', 'joints', 'linear'])
def test_equals_forward_kinematics(tree, n_rest, use):
    pose = torch.randn(4, 15, 3).double().requires_grad_()
    rest = torch.randn(n_rest, 15, 3).double().requires_grad_()
    fast = pose_skeleton(pose, rest, tree)
    slow = forward_kinematics(axis_angle_to_rotmat(pose), rest, tree)
    probes = [torch.randn_like(x) for x in slow]
    kept = {'both': (0, 1), 'linear': (0,), 'joints': (1,)}[use]
    gradients = []
    for outputs in (fast, slow):
        total = sum((outputs[i] * probes[i]).sum() for i in kept)
        gradients.append(torch.autograd.grad(total, (pose, rest), allow_unused=True, materialize_grads=True))
    assert all(torch.allclose(f, s, atol=1e-12) for f, s in zip(fast, slow))
    assert all(torch.allclose(f, s, atol=1e-10) for f, s in zip(*gradients))


@pytest.mark.parametrize('angle', [0.0, 1e-9, 1e-4, 0.0999, 0.1001, 3.0, math.pi, 6.0])
def test_gradient_is_right_at_any_angle(tree, angle):
    axis = torch.nn.functional.normalize(torch.randn(1, 15, 3).double(), dim=-1)
    pose = (angle * axis).requires_grad_()
    rest = torch.randn(1, 15, 3).double()
    assert torch.autograd.gradcheck(lambda p: pose_skeleton(p, rest, tree), (pose,), atol=1e-7)


def test_a_deep_chain_keeps_its_digits_in_float32():
    tree = KinematicTree.from_parents([-1, *range(59)])
    pose, rest = 0.2 * torch.randn(2, 60, 3), 0.1 * torch.randn(1, 60, 3).cumsum(1)
    exact = pose_skeleton(pose.double(), rest.double(), tree.to(torch.float64))[1]
    assert (pose_skeleton(pose, rest, tree)[1] - exact).abs().max() < 1e-5


def test_no_frame_is_posed_to_none(tree):
    linear, joints = pose_skeleton(torch.zeros(0, 15, 3).double(), torch.zeros(1, 15, 3).double(), tree)
    assert linear.shape == (0, 15, 3, 3)
    assert joints.shape == (0, 15, 3)
