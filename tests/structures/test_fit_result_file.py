"""What a fit's file keeps beside the parameters."""

from dataclasses import replace

import pytest
import torch

from smilfit.structures import FitResult
from tests.animals import random_params, ring_of_cameras, small_animal


@pytest.fixture
def result():
    params = random_params(small_animal(), 3, seed=1)
    done = torch.ones(3)
    return FitResult(params, done, done.bool())


def test_cameras_and_start_come_back(result, tmp_path):
    rig = ring_of_cameras(2)
    lens = replace(rig, dist=torch.full((2, 5), 0.01).to(rig.K), unit='mm')
    start = result.params.replace(transl=result.params.transl + 1)
    told = replace(result, cameras=lens, start=start)
    back = FitResult.load(told.save(tmp_path / 'fit.npz'))
    assert back.cameras.names == lens.names
    assert back.cameras.unit == 'mm'
    for name in ('K', 'R', 't', 'size', 'dist'):
        assert torch.equal(getattr(back.cameras, name), getattr(lens, name))
    for name, value in start.as_dict().items():
        assert torch.equal(getattr(back.start, name), value)
    plain = FitResult.load(result.save(tmp_path / 'plain.npz'))
    assert plain.cameras is None
    assert plain.start is None


def test_cameras_of_their_own_stay_with_their_frames(result):
    rig = ring_of_cameras(1)
    own = rig.map(lambda x: torch.stack([x, 2 * x, 3 * x]))
    spread = replace(result, cameras=own, start=result.params).expanded(
        torch.tensor([True, False, True, True]), rig
    )
    assert torch.equal(spread.cameras.K[[0, 2, 3]], own.K)
    # Where nothing was fitted, the camera is what it was.
    assert torch.equal(spread.cameras.K[1], rig.K)
    assert torch.equal(spread.start.transl[[0, 2, 3]], result.params.transl)
    assert spread.fitted.tolist() == [True, False, True, True]
