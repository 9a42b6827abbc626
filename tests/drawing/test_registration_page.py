"""Pictures of registrations show scan and body whole, and what fits in blue."""

import numpy as np
import pytest

from smilfit.scans.registration_page import draw_registration, error_colours

BOX = np.array([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 0.3) for z in (0.0, 0.2)])
FACES = np.array(
    [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1],
     [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
)  # fmt: skip


@pytest.mark.parametrize('along', range(3))
def test_what_lies_across_the_axes_of_the_file_is_not_cut_off(along):
    rotation = np.linalg.qr(np.random.default_rng(along).normal(size=(3, 3)))[0]
    scan = np.roll(BOX, along, 1) @ rotation * 40 + 7
    seen = draw_registration((scan, FACES), (scan, FACES), np.zeros(8), side_px=96)
    assert seen.shape == (192, 192, 3)
    paper = np.abs(seen.astype(int) - 245).max(-1) < 8
    for row in (0, 96):
        for column in (0, 96):
            # Below the words.
            tile = paper[row + 24 : row + 96, column : column + 96]
            assert not tile.all()
            assert tile[-1].all()
            assert tile[:, 0].all()
            assert tile[:, -1].all()


def test_what_fits_is_blue_what_does_not_red_and_what_has_no_distance_grey():
    fits, off, none = error_colours(np.array([0.0, 5.0, np.nan]), 1.0).astype(int)
    assert fits[2] > 180
    assert fits[2] > fits[0] + 100
    assert off[0] > off[2] + 100
    assert none.tolist() == [150, 150, 150]
