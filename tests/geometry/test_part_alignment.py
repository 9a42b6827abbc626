"""Parts turned, shape and place solved for, each in closed form."""

import torch

from smilfit.body_models import SMIL
from smilfit.geometry.alignment import (
    few_of_each,
    fit_shape,
    inherited,
    local_rotations,
    part_rotations,
    posed_directions,
)
from smilfit.geometry.posing import KinematicTree, chain_products
from smilfit.geometry.rotation import axis_angle_to_rotmat
from tests.animals import random_params, small_animal


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_rigid_parts_are_turned_exactly_whatever_lies_elsewhere() -> None:
    source = draw(2, 30, 3)
    shares = torch.nn.functional.one_hot(torch.arange(30) % 3, 3).double()
    turns = axis_angle_to_rotmat(draw(2, 3, 3, seed=1))
    target = torch.einsum('np,bpac,bnc->bna', shares, turns, source) + draw(2, 1, 3, seed=2)
    confidence = torch.ones(2, 30).double()
    confidence[:, 3], target[:, 3] = 0, torch.nan
    result, known = part_rotations(source, target, shares, confidence)
    assert bool(known.all())
    torch.testing.assert_close(result, turns)


def test_a_part_on_a_line_is_not_determined_and_goes_with_its_parent() -> None:
    tree = KinematicTree.from_parents([-1, 0, 1, 0])
    turns = axis_angle_to_rotmat(draw(1, 4, 3))
    line = draw(1, 1, 3, seed=3) * torch.arange(5).double()[None, :, None]
    _, known = part_rotations(line, line, torch.ones(5, 1).double(), torch.ones(1, 5).double())
    assert not bool(known.any())
    result = inherited(turns, torch.tensor([[False, True, False, False]]), tree)
    eye = torch.eye(3).double()
    torch.testing.assert_close(result[0], torch.stack((eye, turns[0, 1], turns[0, 1], eye)))


def test_local_rotations_undo_the_chain() -> None:
    tree = KinematicTree.from_parents([-1, 0, 1, 0]).to(torch.float64)
    local = axis_angle_to_rotmat(draw(2, 4, 3))
    torch.testing.assert_close(local_rotations(chain_products(local, tree), tree), local)


def test_posed_directions_are_how_vertices_move_with_shape() -> None:
    data = small_animal()
    body = SMIL(data).double()
    params = random_params(data, 2).replace(
        betas=torch.zeros(2, 3).double(), log_joint_scales=None, joint_offsets=None, expression=None
    )
    linear = chain_products(params.rotations(), body.tree)
    nothing = torch.zeros(1, 3, 6, 3).double()
    change = (body.vertex_directions('betas')[None], body.joint_directions('betas')[None], nothing)
    result = posed_directions(linear, *change, body.weights, body.tree)
    for s in range(3):
        moved = params.replace(betas=torch.eye(3).double()[s].expand(2, 3))
        gone = body(moved, need=('vertices',)).vertices - body(params, need=('vertices',)).vertices
        torch.testing.assert_close(params.scale[:, None, None] * result[:, s], gone)


def test_shape_scale_and_place_are_found_exactly() -> None:
    points, directions = draw(2, 40, 3), draw(2, 4, 40, 3, seed=1)
    betas, scale, transl = draw(2, 4, seed=2), torch.tensor([0.5, 2.0]).double(), draw(2, 3, seed=3)
    body = points + torch.einsum('bs,bsnc->bnc', betas, directions)
    target = scale[:, None, None] * body + transl[:, None]
    confidence = torch.rand(2, 40).double()
    confidence[:, 0], target[:, 0] = 0, 1e9
    result = fit_shape(points, directions, target, confidence, with_scale=True, shared=False)
    for got, true in zip(result[:3], (betas, scale, transl)):
        torch.testing.assert_close(got, true, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(result.points[:, 1:], target[:, 1:], rtol=1e-4, atol=1e-4)
    # Frames of one body have one shape, and places of their own.
    body = points + torch.einsum('s,bsnc->bnc', betas[0], directions)
    target = body + transl[:, None]
    shared = fit_shape(points, directions, target, confidence, with_scale=False, shared=True)
    torch.testing.assert_close(shared.coefficients, betas[:1].expand(2, -1), rtol=1e-4, atol=1e-5)
    assert bool((shared.scale == 1).all())


def test_a_few_points_of_every_part_are_picked() -> None:
    part = torch.tensor([0] * 100 + [3] * 2 + [1] * 7)
    picked = few_of_each(part, 5)
    assert torch.bincount(part[picked], minlength=4).tolist() == [5, 4, 0, 2]
