"""Slopes of a surface, its weights by part, and its limbs."""

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.geometry.surface_graph import find_limbs, surface_graph
from smilfit.registrants.registration import PosedSurface, PriorSizes
from smilfit.registrants.registration.limb_matching import limb_curves, rigid_starts
from smilfit.registrants.registration.priors import RegistrationPriors
from smilfit.registrants.registration.sampling import sample_by_part
from smilfit.synthetic import make_insect


@pytest.fixture(scope='module', params=['local', 'inherited'])
def posed(request):
    surface = PosedSurface(SMIL(make_insect(), joint_scale_mode=request.param))
    generator = torch.Generator().manual_seed(0)
    step = 0.2 * torch.randn(surface.n_unknowns, generator=generator, dtype=torch.float64)
    return surface, surface.moved(surface.rest(), step), generator


def test_vertices_are_the_body_models(posed):
    surface, state, _ = posed
    expected = surface.body(state.params(), need={'vertices'}).vertices[0]
    assert torch.allclose(surface.vertices(state), expected, atol=1e-12)


def test_slopes_are_those_of_differences(posed):
    surface, state, generator = posed
    samples = sample_by_part(
        surface.data.v_template, surface.faces, surface.part, 3, np.random.default_rng(0)
    )
    way = torch.randn(surface.n_unknowns, generator=generator, dtype=torch.float64)
    ends = [surface.vertices(surface.moved(state, h * way)) for h in (1e-6, -1e-6)]
    numeric = samples.rows @ (ends[0] - ends[1]).numpy() / 2e-6
    assert np.allclose(surface.slopes(state).at(samples.rows) @ way.numpy(), numeric, atol=1e-7)
    sums = np.bincount(samples.part, samples.weight)
    assert np.allclose(sums[sums > 0], 1)


def test_the_priors_equations_are_their_slopes_near_rest(posed):
    surface, _, generator = posed
    priors = RegistrationPriors(surface, PriorSizes(limit_sd=None))
    way = torch.randn(surface.n_unknowns, generator=generator, dtype=torch.float64)
    state = surface.moved(surface.rest(), 1e-3 * way)
    hessian, gradient = priors.equations(state)
    ends = [priors.energy(surface.moved(state, h * way)) for h in (1e-5, -1e-5)]
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(2 * float(gradient @ way.numpy()), rel=1e-2)
    assert np.allclose(hessian, hessian.T)


def test_limbs_of_an_insect_are_its_legs_antennae_and_abdomen():
    data = make_insect()
    graph = surface_graph(data.v_template, data.faces)
    found = find_limbs(graph, 0.05)
    part = data.weights.to_dense().argmax(1)
    tips = {data.joint_names[part[limb.tip]] for limb in found.limbs}
    legs = {f'tarsus_{side}{n}' for side in 'LR' for n in (1, 2, 3)}
    assert tips == legs | {'flagellum_L', 'flagellum_R', 'abdomen_3'}
    # What is of a limb is of no other.
    every = np.concatenate([limb.vertices for limb in found.limbs])
    assert len(np.unique(every)) == len(every)


def test_a_turned_body_is_found_by_its_limbs():
    data = make_insect()
    graph = surface_graph(data.v_template, data.faces)
    own = limb_curves(data.v_template, graph)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    turned = 2.5 * data.v_template @ turn.T + [3.0, -1.0, 2.0]
    other = limb_curves(turned, surface_graph(turned, data.faces))
    best = rigid_starts(own, other, float(np.ptp(turned, axis=0).max()), 1)[0]
    assert np.allclose(best.turn, turn, atol=0.05)
    assert best.scale == pytest.approx(2.5, rel=0.02)
    assert all(mine == theirs for mine, theirs in best.pairs)
