"""Two processes that share a test set report what one reports."""

from pathlib import Path

import pytest
import torch

from smilfit.evaluation import MultiViewPoseMetric
from tests.evaluation.conftest import K, N, World
from tests.ranks import on_two_ranks

META = {
    'keypoint_names': tuple('abcde'),
    'camera_names': ('left', 'right'),
    'unit': 'mm',
    'baseline': [[0.0] * 3] * K,
}


def answers(world: World) -> tuple[torch.Tensor, torch.Tensor]:
    shift = torch.arange(N).double().reshape(N, 1, 1)
    return world.truth3d + shift, world.truth2d + shift.unsqueeze(-1)


def work(folder: str) -> None:
    torch.manual_seed(0)
    rank = torch.distributed.get_rank()
    world = World()
    predicted3d, predicted2d = answers(world)
    metric = MultiViewPoseMetric(collect_dir=f'{folder}/meet', out_file=f'{folder}/b.npz')
    metric.dataset_meta = META
    # As a distributed sampler deals them, the first sample again at the end to make the shares equal.
    for i in [*range(rank, N - 1, 2), *([0] if rank == 1 else [])]:
        rows = slice(i, i + 1)
        outputs = world.outputs(predicted3d, predicted2d, rows)
        metric.process(world.batch(rows), outputs)
    result = metric.evaluate(N - 1)
    torch.save({k: torch.tensor(v) for k, v in result.items()}, f'{folder}/{rank}.pt')


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_two_processes_agree_with_one(tmp_path: Path):
    on_two_ranks(work, str(tmp_path))
    torch.manual_seed(0)
    world = World()
    predicted3d, predicted2d = answers(world)
    metric = MultiViewPoseMetric()
    metric.dataset_meta = META
    rows = slice(0, N - 1)
    metric.process(world.batch(rows), world.outputs(predicted3d, predicted2d, rows))
    expected = metric.evaluate(N - 1)
    for rank in (0, 1):
        result = torch.load(tmp_path / f'{rank}.pt', weights_only=True)
        assert {k: v.item() for k, v in result.items()} == pytest.approx(expected, rel=1e-6)
    assert (tmp_path / 'b.npz').exists()
