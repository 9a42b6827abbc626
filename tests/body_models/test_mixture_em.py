"""Learning kinds of animals: a step by hand, no step is a step back, kinds are found, and none collapses."""

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from smilfit.body_models import ShapeMixture
from smilfit.body_models.shape_mixture import EMRules, em_step, log_densities

RNG = np.random.default_rng(0)


def two(weights=(0.5, 0.5), means=((0.0,), (4.0,)), cov=1.0) -> ShapeMixture:
    n = len(means[0])
    return ShapeMixture(('a', 'b'), np.array(weights), np.array(means), np.stack([cov * np.eye(n)] * 2))


def many(n=3, count=60, off=4.0, seed=1) -> tuple[np.ndarray, np.ndarray]:
    """Draw samples of kinds apart from one another; the shapes and each one's kind."""
    rng = np.random.default_rng(seed)
    means = off * rng.standard_normal((n, 5))
    kind = np.repeat(np.arange(n), count)
    return means[kind] + rng.standard_normal((n * count, 5)) * 0.7, kind


def test_a_step_by_hand():
    """Samples at 0, 2 and 4 between kinds at 0 and 4: the middle one is half of each."""
    betas = np.array([[0.0], [2.0], [4.0]])
    step = em_step(two(), betas, EMRules(floor=1e-6, least=0.1))
    far = np.exp(-8.0) / (1 + np.exp(-8.0))
    np.testing.assert_allclose(step.shares, [[1 - far, far], [0.5, 0.5], [far, 1 - far]], rtol=1e-12)
    count = 1.5
    mean = (0.5 * 2 + far * 4) / count
    var = ((1 - far) * mean**2 + 0.5 * (2 - mean) ** 2 + far * (4 - mean) ** 2) / count
    np.testing.assert_allclose(step.mixture.means[:, 0], [mean, 4 - mean], rtol=1e-12)
    np.testing.assert_allclose(step.mixture.covs[:, 0, 0], [var, var], rtol=1e-12)
    np.testing.assert_allclose(step.mixture.weights, [0.5, 0.5])
    density = np.exp(-0.5 * np.array([[0, 16], [4, 4], [16, 0]])).sum(1) * 0.5 / np.sqrt(2 * np.pi)
    assert step.log_likelihood == pytest.approx(np.log(density).sum(), rel=1e-12)
    assert step.empty == ()


def test_priors_count_as_samples():
    betas = np.array([[0.0], [2.0], [4.0]])
    rules = EMRules(floor=1e-6, cov=np.array([[3.0]]), cov_count=2.0, weight_count=5.0, least=0.1)
    plain, drawn = em_step(two(), betas, EMRules(floor=1e-6, least=0.1)), em_step(two(), betas, rules)
    expected = (1.5 * plain.mixture.covs + 2.0 * 3.0) / 3.5
    np.testing.assert_allclose(drawn.mixture.covs, expected, rtol=1e-12)
    uneven = em_step(two((0.9, 0.1)), betas[:1], rules).mixture.weights
    share = em_step(two((0.9, 0.1)), betas[:1], rules).shares[0, 0]
    np.testing.assert_allclose(uneven, [(share + 5) / 11, (1 - share + 5) / 11])


def test_densities_are_those_of_scipy():
    betas, _ = many()
    cov = np.cov(betas.T)
    mixture = ShapeMixture(('a', 'b'), np.array([0.2, 0.8]), betas[:2], np.stack([cov, 2 * cov]))
    expected = [
        np.log(w) + multivariate_normal(m, c).logpdf(betas)
        for w, m, c in zip(mixture.weights, mixture.means, mixture.covs)
    ]
    np.testing.assert_allclose(log_densities(mixture, betas, 1e-9), np.stack(expected, 1), rtol=1e-9)


@pytest.mark.parametrize('cov_count', [0.0, 8.0])
@pytest.mark.parametrize('floor', [1e-6, 0.3])
@pytest.mark.parametrize('seed', range(3))
def test_no_step_lowers_the_objective(cov_count, floor, seed):
    """Of samples in a plane, so that the floor holds; without priors it is the likelihood."""
    betas, _ = many(seed=seed)
    betas[:, 4] = betas[:, 0] - betas[:, 1]
    mixture = ShapeMixture.drawn(4, betas.mean(0), np.cov(betas.T), seed)
    rules = EMRules(floor, cov=np.eye(5), cov_count=cov_count, weight_count=cov_count / 4, least=1e-3)
    steps = []
    for _ in range(25):
        steps.append(em_step(mixture, betas, rules))
        mixture = steps[-1].mixture
    objective = np.array([step.objective for step in steps])
    assert (np.diff(objective) > -1e-9 * np.abs(objective[0])).all()
    assert objective[-1] > objective[0]
    assert min(np.linalg.eigvalsh(cov)[0] for cov in mixture.covs) > floor * (1 - 1e-9)
    if not cov_count:
        assert [s.log_likelihood for s in steps] == objective.tolist()


def test_kinds_are_found_from_a_wrong_start():
    betas, kind = many()
    mixture = ShapeMixture.drawn(3, betas.mean(0), np.cov(betas.T), seed=1)
    rules = EMRules(1e-3, cov=np.eye(5), cov_count=5.0, weight_count=1.0)
    for _ in range(40):
        step = em_step(mixture, betas, rules)
        mixture = step.mixture
    named = step.shares.argmax(1)
    assert max(np.mean(np.array(order)[named] == kind) for order in permutations(range(3))) > 0.98
    np.testing.assert_allclose(mixture.weights, 1 / 3, atol=0.02)
    for cov in mixture.covs:
        np.testing.assert_allclose(cov, 0.49 * np.eye(5), atol=0.35)


@pytest.mark.parametrize('empty', ['keep', 'reseed'])
def test_an_empty_kind_is_kept_or_begins_again(empty):
    betas = np.concatenate((RNG.normal(0, 0.5, (20, 1)), [[9.0]]))
    start = two(means=((0.0,), (-50.0,)))
    step = em_step(start, betas, EMRules(1e-3, empty=empty))
    assert step.empty == ('b',)
    if empty == 'keep':
        assert step.mixture.means[1] == -50.0
        assert step.mixture.covs[1] == 1.0
        assert 0 < step.mixture.weights[1] < 1e-5
    else:
        assert step.mixture.means[1] == 9.0
        assert step.mixture.weights[1] == pytest.approx(0.5 / 1.5)
    # Where all are empty there is nothing to begin from.
    alone = em_step(start, betas[:1], EMRules(1e-3, least=2.0, empty=empty))
    assert alone.empty == ('a', 'b')
    assert np.array_equal(alone.mixture.means, start.means)


def test_one_kind_is_the_samples_gaussian():
    betas, _ = many()
    step = em_step(ShapeMixture.drawn(1, np.zeros(5), np.eye(5)), betas, EMRules(1e-6))
    assert step.mixture.names == ('all',)
    np.testing.assert_allclose(step.mixture.means[0], betas.mean(0))
    np.testing.assert_allclose(step.mixture.covs[0], np.cov(betas.T, bias=True), atol=1e-12)


@pytest.mark.parametrize(
    ('rules', 'message'),
    [
        ({'floor': 0.0}, 'floor and least must be above 0'),
        ({'floor': 1.0, 'cov_count': 1.0}, 'cov_count needs a cov'),
        ({'floor': 1.0, 'empty': 'drop'}, "must be 'keep' or 'reseed'"),
    ],
)
def test_rules_without_a_meaning(rules, message):
    with pytest.raises(ValueError, match=message):
        EMRules(**rules)


@pytest.mark.parametrize('betas', [np.zeros((0, 1)), np.zeros((2, 3)), np.full((2, 1), np.nan)])
def test_samples_must_be_of_the_shape_space(betas):
    with pytest.raises(ValueError, match=r'samples must be \(N, 1\)'):
        em_step(two(), betas, EMRules(1.0))
