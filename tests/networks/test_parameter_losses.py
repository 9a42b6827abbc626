"""What the losses on parameters measure, by the kind that the table states."""

import torch

from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.networks.regressors import PARAMETER_KEYS, ParameterLosses
from tests.animals import random_params, small_animal

KNOWN = torch.tensor([True, False])


def losses(predicted, known):
    return ParameterLosses()(predicted, known, KNOWN, KNOWN, dict.fromkeys(PARAMETER_KEYS, 1.0))


def test_the_truth_costs_nothing_as_vectors_or_matrices():
    known = random_params(small_animal(), 2)
    matrices = known.rotations()
    predicted = known.replace(global_orient=matrices[:, 0], body_pose=matrices[:, 1:])
    result = losses(predicted, known)
    assert set(result) == {'global_orient', 'body_pose', 'betas', 'transl', 'scale'}
    assert all(float(value) < 1e-20 for value in result.values())


def test_each_kind_has_its_distance():
    known = random_params(small_animal(), 2)
    rotation = torch.tensor([[0.0, 0.0, 0.7]]).double()
    away = torch.tensor([[1.0, 2.0, 2.0]]).double()
    predicted = known.replace(
        global_orient=axis_angle_to_rotmat(rotation) @ known.rotations()[:, 0],
        transl=known.transl + away,
        scale=known.scale * 2,
        betas=known.betas + 3,
    )
    result = losses(predicted, known)
    # Of one turn by an angle: 8 sin^2 of its half. Of a place: the squared distance. Of coefficients: the mean.
    assert torch.isclose(result['global_orient'], 8 * torch.tensor(0.35).double().sin().square())
    assert torch.isclose(result['transl'], torch.tensor(9.0).double())
    assert torch.isclose(result['scale'], torch.tensor(2.0).double().log().square())
    assert torch.isclose(result['betas'], torch.tensor(9.0).double())
    # A sample of which nothing is known takes no part, whatever it holds.
    spoiled = known.map(lambda x: torch.where(KNOWN.reshape(2, *(1,) * (x.ndim - 1)), x, torch.nan))
    assert all(torch.equal(value, result[key]) for key, value in losses(predicted, spoiled).items())


def test_a_found_body_counts_by_its_weight():
    known = random_params(small_animal(), 2)
    predicted = known.replace(transl=known.transl + torch.tensor([[1.0], [3.0]]).double())
    every = torch.tensor([True, True])
    weights = dict.fromkeys(PARAMETER_KEYS, 1.0)
    result = ParameterLosses()(predicted, known, every, every, weights, torch.tensor([1.0, 0.25]))
    assert torch.isclose(result['transl'], torch.tensor((3.0 + 0.25 * 27.0) / 1.25).double())


def test_a_body_without_a_shape_space_has_no_loss_of_shape():
    known = random_params(small_animal(), 2).replace(betas=torch.zeros(2, 0).double())
    result = losses(known.replace(transl=known.transl + 1), known)
    assert 'betas' not in result
    assert all(bool(value.isfinite()) for value in result.values())
