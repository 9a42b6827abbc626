"""The score of several animals counts who was lost and who was exchanged."""

import numpy as np
import pytest

from benchmarks.several_animals import score


def test_lost_and_exchanged_animals_are_counted_and_errors_are_of_the_found():
    shape = np.random.default_rng(0).normal(size=(2, 1, 5, 3))
    truth = np.repeat(shape + np.array([[[[0.0, 0, 0]]], [[[20.0, 0, 0]]]]), 6, 1)
    found = truth + 0.1 * np.array([1.0, 0, 0])
    # From the third frame on each has the other's number; in the last the second is not there.
    found[:, 2:] = found[::-1, 2:]
    valid = np.ones((2, 6), bool)
    valid[1, 5] = False
    told = score(found, valid, truth)
    assert (told['frames'], told['frames_right']) == (6, 5)
    assert (told['animals_lost'], told['identity_switches']) == (1, 2)
    assert told['mean_error'] == pytest.approx(0.1)
