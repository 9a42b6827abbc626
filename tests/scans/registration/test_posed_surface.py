"""Slopes of a surface, its weights by part, and its limbs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull

from smilfit.body_models import SMIL
from smilfit.geometry.surface_graph import find_limbs, mean_curvature, surface_graph
from smilfit.registry import UnknownNameError
from smilfit.scans.registration import PosedSurface, PriorSizes, clean_scan
from smilfit.scans.registration.limbs import exchanged_starts, limb_curves, rigid_starts
from smilfit.scans.registration.posed_surface import UNKNOWNS
from smilfit.scans.registration.registration_priors import RegistrationPriors
from smilfit.scans.registration.specimen import known_pairs, landmark_places
from smilfit.scans.registration.surface_terms import sample_by_part
from smilfit.scans.registration.template import LimbJoints
from smilfit.synthetic import make_insect


@pytest.fixture(scope='module', params=['local', 'inherited'])
def posed(request):
    body = SMIL(make_insect(), joint_scale_mode=request.param)
    surface = PosedSurface(body, (*UNKNOWNS, 'joint_offsets'))
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
    priors = RegistrationPriors(surface, PriorSizes(limit_sd=None, joint_offset_sd=0.1))
    way = torch.randn(surface.n_unknowns, generator=generator, dtype=torch.float64)
    state = surface.moved(surface.rest(), 1e-3 * way)
    hessian, gradient = priors.equations(state)
    ends = [priors.energy(surface.moved(state, h * way)) for h in (1e-5, -1e-5)]
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(2 * float(gradient @ way.numpy()), rel=1e-2)
    assert np.allclose(hessian, hessian.T)


def test_limbs_of_an_insect_are_its_legs_antennae_and_abdomen():
    data = make_insect()
    graph = surface_graph(data.v_template, data.faces)
    result = find_limbs(graph, 0.05)
    part = data.weights.to_dense().argmax(1)
    tips = {data.joint_names[part[limb.tip]] for limb in result.limbs}
    legs = {f'tarsus_{side}{n}' for side in 'LR' for n in (1, 2, 3)}
    assert tips == legs | {'flagellum_L', 'flagellum_R', 'abdomen_3'}
    # What is of a limb is of no other.
    every = np.concatenate([limb.vertices for limb in result.limbs])
    assert len(np.unique(every)) == len(every)


def test_a_turned_body_is_found_by_its_limbs():
    data = make_insect()
    graph = surface_graph(data.v_template, data.faces)
    own = limb_curves(data.v_template, graph)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    turned = 2.5 * data.v_template @ rotation.T + [3.0, -1.0, 2.0]
    other = limb_curves(turned, surface_graph(turned, data.faces))
    best = rigid_starts(own, other, float(np.ptp(turned, axis=0).max()), 1)[0]
    assert np.allclose(best.rotation, rotation, atol=0.05)
    assert best.scale == pytest.approx(2.5, rel=0.02)
    assert all(mine == theirs for mine, theirs in best.pairs)


def test_limbs_with_the_same_landmark_are_each_others():
    data = make_insect()
    own = limb_curves(data.v_template, surface_graph(data.v_template, data.faces))
    # Named wrongly on purpose: the names lead, not where limbs stand.
    first, second = own.limbs.limbs[0].tip, own.limbs.limbs[1].tip
    named = {str(first): data.v_template[second], str(second): data.v_template[first]}
    scan = clean_scan('scan', data.v_template, data.faces, landmarks=named)
    other = limb_curves(scan.vertices, scan.graph)
    pairs = known_pairs(landmark_places(scan, data, 3.0), own, scan, other)
    tips = {k: scan.vertices[other.limbs.limbs[k].tip] for _, k in pairs}
    assert len(pairs) == 2
    for mine, theirs in pairs:
        assert np.allclose(tips[theirs], data.v_template[second if mine == 0 else first])
    result = rigid_starts(own, other, scan.extent, 2, pairs)
    assert result
    assert all(set(pairs) <= set(start.pairs) for start in result)


def test_a_landmark_that_the_body_does_not_have_is_refused():
    data = make_insect()
    scan = clean_scan('scan', data.v_template, data.faces, landmarks={'wing': np.zeros(3)})
    with pytest.raises(UnknownNameError, match='wing'):
        landmark_places(scan, data, 3.0)


def test_a_limb_without_counterpart_may_take_its_neighbours():
    data = make_insect()
    graph = surface_graph(data.v_template, data.faces)
    own = limb_curves(data.v_template, graph)
    start = rigid_starts(own, own, 1.0, 1)[0]
    lacking = replace(start, pairs=start.pairs[1:])
    (gone, _) = start.pairs[0]
    result = exchanged_starts(lacking, own, own, 3)
    assert len(result) == 3
    assert [s.cost for s in result] == sorted(s.cost for s in result)
    for other in result:
        changed = set(other.pairs) - set(lacking.pairs)
        assert {mine for mine, _ in changed} == {gone}
    assert exchanged_starts(start, own, own, 3) == []


def test_curvature_of_a_ball_and_of_what_is_flat():
    # Evenly on a ball (Fibonacci's lattice).
    number = np.arange(800) + 0.5
    polar, around = np.arccos(1 - number / 400), np.pi * (1 + np.sqrt(5)) * number
    directions = np.stack([np.cos(around) * np.sin(polar), np.sin(around) * np.sin(polar), np.cos(polar)], 1)
    faces = ConvexHull(directions).simplices
    inwards = np.linalg.det(directions[faces]) < 0
    faces[inwards] = faces[inwards][:, ::-1]
    assert np.median(mean_curvature(2 * directions, faces, directions)) == pytest.approx(0.5, rel=0.02)
    flat = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]])
    fan = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1]])
    assert np.allclose(mean_curvature(flat, fan, np.tile([0.0, 0, 1], (5, 1))), 0)


def test_a_limb_that_lies_on_another_is_told():
    data = make_insect()
    part = data.weights.to_dense().argmax(1)
    curves = limb_curves(data.v_template, surface_graph(data.v_template, data.faces))
    joints = LimbJoints.of(data, part, curves)
    every = set(range(len(joints.of_limb)))
    assert joints.doubled(every, part, data.v_template, data.v_template) == set()
    first, second = (np.nonzero(np.isin(part, joints.of_limb[k]))[0] for k in (0, 1))
    laid = data.v_template.copy()
    laid[first] = data.v_template[np.resize(second, len(first))]
    laid[first] += np.random.default_rng(0).normal(0, 1e-4, (len(first), 3))
    scan = np.delete(data.v_template, first, 0)
    assert joints.doubled({0}, part, laid, scan) == {0}
    assert joints.doubled({2}, part, laid, scan) == set()
