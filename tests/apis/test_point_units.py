"""The unit of points is told by the length of the animal, where it can be told."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.apis.preprocessing.lookup_proposal import likely_unit
from smilfit.structures import Keypoints3d
from tests.rigs.test_checking import CLEAN


def points(length):
    xyz = np.zeros((3, 3, 3))
    xyz[:, 1, 0] = length
    xyz[:, 2, 0] = 100 * length
    known = torch.ones(3, 3)
    known[:, 2] = 0
    return Keypoints3d(xyz=torch.as_tensor(xyz), confidence=known, names=('a', 'b', 'c'))


@pytest.mark.parametrize(
    ('length', 'unit'), [(7.0, 'mm'), (0.7, 'cm'), (0.008, 'm'), (5000.0, 'um'), (40.0, None), (0.0, None)]
)
def test_points_are_as_long_as_the_model_in_their_unit(length, unit):
    """The model's joints span 8 mm; 40 mm is no size of it, nor 4 mm of one in cm."""
    result = likely_unit([points(length)], CLEAN)
    assert (result and result.unit) == unit


def test_a_model_without_a_unit_tells_nothing():
    assert likely_unit([points(7.0)], replace(CLEAN, unit=None)) is None
    assert likely_unit([], CLEAN) is None
