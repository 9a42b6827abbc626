"""The joint choice of candidates: distances decide where heat maps do not, and nothing but distances matters."""

import itertools
from functools import partial

import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.body_models.pose_sampling import PoseSampler
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.networks import KeypointDistances
from smilfit.synthetic import make_quadruped


def _animal(batch: int = 3, n_points: int = 6) -> torch.Tensor:
    return 10 * torch.randn(batch, n_points, 3, generator=torch.Generator().manual_seed(4))


def _distances(points: torch.Tensor, **options: float) -> KeypointDistances:
    """Return those of the first animal, which the others are grown copies of."""
    mean = torch.cdist(points[0], points[0])
    return KeypointDistances(mean, 0.02 * mean, **options)


def _exchanged() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Let the heat maps of keypoint 1 prefer the place of keypoint 4: truth, candidates, votes."""
    truth = _animal()[:1] * torch.tensor([1.0, 0.6, 2.5])[:, None, None]
    generator = torch.Generator().manual_seed(5)
    points = truth.unsqueeze(2) + 8 * torch.randn(3, 6, 4, 3, generator=generator)
    points[:, :, 0] = truth
    votes = torch.full((3, 6, 4), -6.0)
    votes[:, :, 0] = -1.0
    points[:, 1, 1], votes[:, 1, 1] = truth[:, 4], -0.5
    return truth, points, votes


def _worth(votes: torch.Tensor, fits: torch.Tensor, choice: tuple[int, ...]) -> float:
    own = sum(float(votes[0, k, n]) for k, n in enumerate(choice))
    pairs = itertools.combinations(enumerate(choice), 2)
    return own + sum(float(fits[a, i, b, j]) for (a, i), (b, j) in pairs)


def test_a_keypoint_that_looks_like_another_is_told_by_its_distances():
    truth, points, votes = _exchanged()
    alone = points.gather(2, votes.argmax(-1)[..., None, None].expand(-1, -1, 1, 3)).squeeze(2)
    torch.testing.assert_close(alone[:, 1], truth[:, 4])
    torch.testing.assert_close(_distances(truth).choose(points, votes), truth)


def test_without_weight_each_keypoint_takes_its_own_best():
    truth, points, votes = _exchanged()
    chosen = _distances(truth, weight=1e-6).choose(points, votes)
    torch.testing.assert_close(chosen[:, 1], truth[:, 4])


def test_moved_turned_and_grown_candidates_are_chosen_alike():
    truth, points, votes = _exchanged()
    rotation = axis_angle_to_rotmat(torch.tensor([0.3, -1.0, 0.5]))
    moved = 0.01 * points @ rotation.T + torch.tensor([5.0, -2.0, 1.0])
    expected = 0.01 * truth @ rotation.T + torch.tensor([5.0, -2.0, 1.0])
    torch.testing.assert_close(_distances(truth).choose(moved, votes), expected, atol=1e-4, rtol=0)


def test_a_keypoint_that_was_seen_nowhere_moves_no_other():
    truth, points, votes = _exchanged()
    votes[:, 3], points[:, 3] = -torch.inf, 0.0
    chosen = _distances(truth).choose(points, votes)
    others = [0, 1, 2, 4, 5]
    torch.testing.assert_close(chosen[:, others], truth[:, others])
    assert bool(chosen.isfinite().all())
    nothing = torch.full_like(votes, -torch.inf)
    assert bool(_distances(truth).choose(torch.zeros_like(points), nothing).isfinite().all())


def test_is_worth_as_much_as_the_best_of_all_choices():
    generator = torch.Generator().manual_seed(8)
    truth, result = _animal(1, 5), 0
    distances = _distances(truth, weight=1.0)
    for _ in range(20):
        points = truth.unsqueeze(2) + 6 * torch.randn(1, 5, 3, 3, generator=generator)
        points[:, :, 0] = truth
        votes = -1.5 * torch.rand(1, 5, 3, generator=generator)
        alone = tuple(votes[0].argmax(-1).tolist())
        size = distances.size(points[:, range(5), alone], torch.ones(1, 5, dtype=torch.bool))
        fits = distances._fits(points, votes, size)[0].unflatten(0, (5, 3)).unflatten(2, (5, 3))

        best = max(itertools.product(range(3), repeat=5), key=partial(_worth, votes, fits))
        chosen = distances.choose(points, votes)[0].unsqueeze(1)
        choice = tuple((points[0] - chosen).norm(dim=-1).argmin(-1).tolist())
        assert _worth(votes, fits, choice) >= _worth(votes, fits, alone) - 1e-5
        result += choice == best
    # Messages go round in circles, so now and then it is only a good one.
    assert result >= 16


def test_distances_of_a_body_are_the_same_each_time_and_of_any_scale():
    body = SMIL(make_quadruped())
    names = tuple(body.joint_names[:8])
    small, large = (
        KeypointDistances.of_body(PoseSampler(body, scale=scale), body, names) for scale in (1.0, 50.0)
    )
    torch.testing.assert_close(small.mean, large.mean, rtol=1e-4, atol=1e-5)
    again = KeypointDistances.of_body(PoseSampler(body, scale=1.0), body, names)
    assert torch.equal(small.mean, again.mean)
    # A bone is rigid; points of two limbs are not.
    child = next(k for k in range(1, 8) if 0 <= int(body.data.parents[k]) < 8)
    assert small.sd[child, int(body.data.parents[child])] < small.sd.max() / 3


@pytest.mark.parametrize('options', [{'weight': 0.0}, {'n_candidates': 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match='KeypointDistances: tolerance, cap, weight'):
        _distances(_animal(), **options)
    with pytest.raises(ValueError, match=r'must be \(K, K\) distances'):
        KeypointDistances(torch.zeros(3, 3), torch.zeros(3, 3))
