"""Smoothing over time: no lag, nothing invented, the same in every frame of reference."""

import pytest
import torch

from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle
from smilfit.geometry.smoothing import smooth_numbers, smooth_rotations

TIMES = torch.arange(40).double() / 25
ALL = torch.ones(40, dtype=torch.bool)


def _noisy(count=40, size=0.2):
    steps = torch.randn(count, 3, 3).double() * size
    return axis_angle_to_rotmat(torch.tensor([0.4, -1.0, 2.0]).double() + steps.cumsum(0) * 0.3 + steps)


def test_constants_and_straight_lines_stay_at_the_ends_and_beside_gaps_too():
    slope = torch.tensor([3.0, -2.0, 0.0]).double()
    line = 1e3 + TIMES[:, None] * slope
    valid = ALL.clone()
    valid[5:17] = False
    for mask in (ALL, valid):
        torch.testing.assert_close(smooth_numbers(line, TIMES, 0.2, mask), line, atol=1e-9, rtol=0)
    kept = torch.randn(40, 3).double()
    torch.testing.assert_close(smooth_numbers(kept, TIMES, 0.2, valid)[5:17], kept[5:17])


def test_an_even_turn_stays():
    axis = torch.tensor([0.3, -0.8, 0.5]).double()
    start = axis_angle_to_rotmat(torch.tensor([1.0, 2.0, -0.5]).double())
    turning = start @ axis_angle_to_rotmat(2.5 * TIMES[:, None] * axis)
    torch.testing.assert_close(smooth_rotations(turning, TIMES, 0.15, ALL), turning, atol=1e-9, rtol=0)
    still = start.expand(40, 2, 3, 3).contiguous()
    torch.testing.assert_close(smooth_rotations(still, TIMES, 0.15, ALL), still, atol=1e-12, rtol=0)


def test_rotations_turn_with_the_data():
    data = _noisy()
    left, right = (axis_angle_to_rotmat(torch.randn(3).double()) for _ in range(2))
    smooth = smooth_rotations(data, TIMES, 0.1, ALL)
    turned = smooth_rotations(left @ data @ right, TIMES, 0.1, ALL)
    torch.testing.assert_close(turned, left @ smooth @ right, atol=1e-6, rtol=0)
    eye = torch.eye(3).double().expand_as(smooth)
    torch.testing.assert_close(smooth @ smooth.mT, eye, atol=1e-9, rtol=0)


def test_time_backwards_gives_the_same_backwards():
    values = torch.randn(40, 2).double()
    forwards = smooth_numbers(values, TIMES, 0.1, ALL)
    backwards = smooth_numbers(values.flip(0), TIMES, 0.1, ALL).flip(0)
    torch.testing.assert_close(forwards, backwards)


def test_noise_becomes_less():
    truth = torch.sin(2 * TIMES)[:, None]
    seen = truth + 0.1 * torch.randn(40, 1).double()
    assert (smooth_numbers(seen, TIMES, 0.1, ALL) - truth).std() < 0.6 * (seen - truth).std()
    still = torch.eye(3).double()
    noise = axis_angle_to_rotmat(0.2 * torch.randn(40, 3).double())
    smooth = rotmat_to_axis_angle(still.mT @ smooth_rotations(noise, TIMES, 0.2, ALL))
    assert smooth.norm(dim=-1).mean() < 0.6 * rotmat_to_axis_angle(noise).norm(dim=-1).mean()


@pytest.mark.parametrize('count', [1, 2])
def test_few_frames_and_no_width(count):
    values = torch.randn(count, 2).double()
    mask = torch.ones(count, dtype=torch.bool)
    torch.testing.assert_close(smooth_numbers(values, TIMES[:count], 0.1, mask), values)
    assert smooth_numbers(values, TIMES[:count], 0.0, mask) is values
    assert smooth_rotations(_noisy(count), TIMES[:count], 0.1, mask).isfinite().all()


def test_chunks_change_nothing(monkeypatch):
    data = _noisy()
    whole = smooth_rotations(data, TIMES, 0.1, ALL)
    monkeypatch.setattr('smilfit.geometry.smoothing._CHUNK', 1)
    torch.testing.assert_close(smooth_rotations(data, TIMES, 0.1, ALL), whole, atol=1e-6, rtol=0)
