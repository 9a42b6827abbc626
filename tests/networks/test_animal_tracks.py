"""Who is who over a whole recording: animals that leave and come back, errors, and more than there should be."""

import numpy as np
import pytest

from smilfit.networks.animals.animal_tracks import Tracker, identify
from tests.networks.test_several_animals import _crossing

TRACKER = Tracker(gate=15.0, max_missed=4)


def _detections(n_animals=2, away=(), ghosts=(), seed=0):
    """Slots in an order of their own in each frame: places (T, S, 3), whether there, and who (T, S), -1 for a ghost.

    `away` are (animal, first, last) frames; `ghosts` (frame, place).
    """
    paths = _crossing()[:, :n_animals].double().numpy()
    rng = np.random.default_rng(seed)
    T, S = len(paths), n_animals + 1
    places, valid, who = np.zeros((T, S, 3)), np.zeros((T, S), bool), np.full((T, S), -1)
    for t in range(T):
        slots = rng.permutation(S)
        for a in range(n_animals):
            if not any(a == i and first <= t <= last for i, first, last in away):
                places[t, slots[a]], valid[t, slots[a]], who[t, slots[a]] = paths[t, a], True, a
        for frame, place in ghosts:
            if frame == t:
                places[t, slots[-1]], valid[t, slots[-1]] = place, True
    return places, valid, who


def _found(identities, who):
    """Whose detection each animal has in each frame (N, T); -2 where it has none."""
    rows = np.arange(identities.slot.shape[1])
    return np.where(identities.slot >= 0, who[rows, identities.slot.clip(0)], -2)


@pytest.mark.parametrize('n_animals', [2, 3])
@pytest.mark.parametrize('told', [True, False])
def test_identities_are_kept_through_a_crossing(n_animals, told):
    places, valid, who = _detections(n_animals)
    result = identify(places, valid, TRACKER, n_animals if told else None)
    mine = _found(result, who)
    assert mine.shape == (n_animals, 40)
    assert (mine == mine[:, :1]).all()
    assert sorted(mine[:, 0]) == list(range(n_animals))
    assert result.surplus == 0
    assert not result.joined.any()


def test_one_that_leaves_and_comes_back_is_the_same_and_counted():
    # Longer away than the tracker waits.
    places, valid, who = _detections(away=[(1, 22, 32)])
    result = identify(places, valid, TRACKER, 2)
    mine = _found(result, who)
    for row in mine:
        assert len(set(row[row >= 0])) == 1
    assert ((mine == -2).sum(1) == [0, 11]).all() or ((mine == -2).sum(1) == [11, 0]).all()
    assert sorted(result.joined) == [0, 1]
    assert not result.guessed.any()


def test_two_that_were_away_together_are_told_to_be_a_guess():
    places, valid, _ = _detections(away=[(0, 14, 26), (1, 14, 26)])
    result = identify(places, valid, TRACKER, 2)
    assert result.joined.tolist() == [1, 1]
    assert result.guessed.any()


def test_more_animals_than_there_should_be_and_flashes_are_left_out_and_counted():
    flash = [(5, (200.0, 0, 0)), (6, (200.0, 0, 0))]
    places, valid, who = _detections(ghosts=flash)
    result = identify(places, valid, TRACKER, 2)
    assert result.surplus == 2
    assert (_found(result, who) >= 0).all()
    places, valid, who = _detections(3, away=[(2, 0, 9)])
    result = identify(places, valid, TRACKER, 2)
    assert result.surplus == 30
    assert sorted(_found(result, who)[:, 0]) == [0, 1]


def test_nothing_seen_is_no_animal():
    result = identify(np.zeros((5, 2, 3)), np.zeros((5, 2), bool), TRACKER, 2)
    assert result.slot.shape == (0, 5)
