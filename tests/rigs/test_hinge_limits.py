"""What a box of limits makes of hinges one after the other, against turns that are put together by hand."""

import numpy as np

from smilfit.rigs.mjcf.skeleton import box_error

X, Y, Z = np.eye(3)


def test_small_ranges_are_nearly_a_box_and_large_ones_are_none():
    small = box_error((X, Y), [(-0.1, 0.1), (-0.1, 0.1)])
    # Half of the product of the angles, in the third component.
    np.testing.assert_allclose(small.lost, 0.005, rtol=0.02)
    np.testing.assert_allclose(small.beyond, 0.005, rtol=0.02)
    large = box_error((X, Y, Z), [(-1.5, 1.5), (-1, 1), (-1, 1)])
    assert min(large) > np.radians(25)


def test_left_handed_hinges_are_those_of_the_other_side():
    spans = [(-0.3, 0.5), (-0.2, 0.9), (-1.0, 0.4)]
    mirrored = [spans[0], tuple(-s for s in spans[1][::-1]), tuple(-s for s in spans[2][::-1])]
    np.testing.assert_allclose(box_error((X, Y, Z), spans), box_error((X, -Y, -Z), mirrored), atol=1e-9)
    np.testing.assert_allclose(
        box_error((X, Y, -Z), [*spans[:2], mirrored[2]]), box_error((X, Y, Z), spans), atol=1e-9
    )
