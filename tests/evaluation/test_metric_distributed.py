"""Two processes that share a test set report what one reports."""

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

from smilfit.evaluation import MultiViewPoseMetric
from tests.evaluation.conftest import K, N, World

META = {
    'keypoint_names': tuple('abcde'),
    'camera_names': ('left', 'right'),
    'unit': 'mm',
    'baseline': [[0.0] * 3] * K,
}


def answers(world: World) -> tuple[torch.Tensor, torch.Tensor]:
    shift = torch.arange(N).double().reshape(N, 1, 1)
    return world.truth3d + shift, world.truth2d + shift.unsqueeze(-1)


def work(rank: int, port: int, folder: str) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    os.environ |= {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port), 'RANK': str(rank), 'WORLD_SIZE': '2'}
    torch.distributed.init_process_group('gloo', rank=rank, world_size=2)
    world = World()
    predicted3d, predicted2d = answers(world)
    metric = MultiViewPoseMetric(collect_dir=f'{folder}/meet', out_file=f'{folder}/b.npz')
    metric.dataset_meta = META
    # As a distributed sampler deals them, the first sample again at the end to make the shares equal.
    for i in [*range(rank, N - 1, 2), *([0] if rank == 1 else [])]:
        rows = slice(i, i + 1)
        outputs = world.outputs(predicted3d, predicted2d, rows)
        metric.process(world.batch(rows), outputs)
    found = metric.evaluate(N - 1)
    torch.save({k: torch.tensor(v) for k, v in found.items()}, f'{folder}/{rank}.pt')
    torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_two_processes_agree_with_one(tmp_path: Path):
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    mp.spawn(work, (port, str(tmp_path)), nprocs=2)
    torch.manual_seed(0)
    world = World()
    predicted3d, predicted2d = answers(world)
    metric = MultiViewPoseMetric()
    metric.dataset_meta = META
    rows = slice(0, N - 1)
    metric.process(world.batch(rows), world.outputs(predicted3d, predicted2d, rows))
    expected = metric.evaluate(N - 1)
    for rank in (0, 1):
        found = torch.load(tmp_path / f'{rank}.pt', weights_only=True)
        assert {k: v.item() for k, v in found.items()} == pytest.approx(expected, rel=1e-6)
    assert (tmp_path / 'b.npz').exists()
