"""The distance-transform loss: its formula on a mask whose distances are known, and where its gradient is zero."""

import pytest
import torch

from smilfit.losses import SilhouetteDistanceTransformLoss
from smilfit.losses.silhouette import outline_distance


def band(width=40, height=20, start=10, stop=30):
    """A mask between two columns."""
    mask = torch.zeros(1, 1, height, width).double()
    mask[..., start:stop] = 1
    return mask


def test_distances_of_a_band_are_those_of_its_columns():
    columns = torch.arange(40).double()
    expected = torch.minimum((columns - 9.5).abs(), (columns - 29.5).abs()) / 10
    torch.testing.assert_close(outline_distance(band())[0, 0], expected.expand(20, 40))


def test_it_is_its_formula_and_follows_the_mask():
    loss = SilhouetteDistanceTransformLoss(outside_weight=2.0, inside_weight=0.5)
    for mask in (band(), band(start=5), band()):
        alpha = torch.rand_like(mask)
        factor = torch.where(mask > 0, 0.5, 2.0)
        expected = (factor * outline_distance(mask) * (alpha - mask).abs()).mean()
        torch.testing.assert_close(loss(alpha, mask), expected)
        assert loss(mask, mask) == 0


def test_the_energy_of_a_wrong_place_grows_with_its_square():
    loss = SilhouetteDistanceTransformLoss()
    energy = [loss(band(start=10 + shift), band()).item() for shift in (-4, -2, 0, 2, 4)]
    torch.testing.assert_close(energy[0], 4 * energy[1])
    torch.testing.assert_close(energy[4], 4 * energy[3])
    torch.testing.assert_close(energy[0], energy[4])
    assert energy[2] == 0


def test_masks_without_an_outline_pay_the_diagonal():
    diagonal = (20**2 + 40**2) ** 0.5 / 10
    loss = SilhouetteDistanceTransformLoss()
    nothing = torch.zeros(1, 1, 20, 40).double()
    for mask in (nothing, 1 - nothing):
        assert loss(1 - mask, mask).item() == pytest.approx(diagonal)
    with pytest.raises(ValueError, match='must not be negative'):
        SilhouetteDistanceTransformLoss(inside_weight=-1.0)
