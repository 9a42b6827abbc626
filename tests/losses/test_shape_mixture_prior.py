"""The prior over kinds of animals: a density's shape, its nearest kind, its derivative."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal
from torch.func import jacrev

from smilfit.body_models import ShapeMixture
from smilfit.losses import ShapeMixturePriorLoss, ShapePriorLoss
from smilfit.synthetic import make_quadruped

KINDS = ShapeMixture(
    ('small', 'large'),
    np.array([0.25, 0.75]),
    np.stack([np.zeros(6), np.full(6, 4.0)]),
    np.stack([np.diag(np.full(6, 0.5)), np.eye(6) + 0.3]),
)


@pytest.fixture(scope='module')
def loss():
    loss = ShapeMixturePriorLoss(reduction='sum').double()
    loss.bind_body(replace(make_quadruped(), shape_mixture=KINDS))
    return loss.double()


def betas(kind, n=5, seed=0):
    noise = np.random.default_rng(seed).standard_normal((n, 6)) * 0.3
    return torch.from_numpy(KINDS.means[kind] + noise)


def test_it_differs_from_the_density_by_a_constant(loss):
    every = torch.cat([betas(0), betas(1)])
    densities = torch.stack(
        [
            MultivariateNormal(torch.from_numpy(m), torch.from_numpy(c)).log_prob(every) + np.log(w)
            for w, m, c in zip(KINDS.weights, KINDS.means, KINDS.covs)
        ]
    )
    energy = loss(every, reduction_override='none').sum(1)
    constant = energy + 2 * densities.amax(0)
    # Of the floor under the variances.
    assert torch.allclose(constant, constant.mean().expand_as(constant), atol=0.02)
    assert torch.equal(loss.kind_of(every), densities.argmax(0))


def test_bodies_of_one_kind_share_one_slope(loss):
    alone, mixed = loss.residual(betas(1)), loss.residual(torch.cat([betas(0), betas(1)]))
    assert len(alone.slope) == 1
    assert len(mixed.slope) == 10
    for row in (0, 7):
        exact = jacrev(lambda b: loss.residual(b.unsqueeze(0)).value[0])(torch.cat([betas(0), betas(1)])[row])
        assert torch.allclose(mixed.slope[row], exact)


def test_a_model_of_one_kind_has_the_plain_prior():
    plain, kinds = ShapePriorLoss(), ShapeMixturePriorLoss()
    for one in (plain, kinds):
        one.bind_body(make_quadruped())
    x = betas(1)
    assert torch.equal(plain(x), kinds(x))
    assert not kinds.kind_of(x).any()
