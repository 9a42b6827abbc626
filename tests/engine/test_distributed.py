"""Two gloo processes have the gradients of one process with the joined batch, and a whole run works."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.model import MMDistributedDataParallel
from torch import nn
from torch.utils.data import default_collate

from smilfit.engine import read_checkpoint
from smilfit.handlers import BetasPriorHandler, BodyPosePriorHandler, Keypoint2dHandler, Keypoint3dHandler
from smilfit.losses import KeypointMSELoss
from smilfit.models import (
    CameraHead,
    CrossViewFusion,
    MultiViewRegressor,
    TimmBackbone,
    TransformerDecoderHead,
)
from tests.toy_experiment import experiment
from tests.toy_samples import toy_body, toy_sample

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = dict.fromkeys(
    ('keypoints2d_mse', 'keypoints3d_mse', 'body_pose_prior', 'betas_prior'), 0.5
) | dict.fromkeys(('global_orient', 'body_pose', 'betas', 'transl', 'scale', 'camera'), 0.5)


def _regressor() -> MultiViewRegressor:
    torch.manual_seed(0)
    network = TimmBackbone('test_convnext')
    model = MultiViewRegressor(
        network,
        CrossViewFusion(network.dim, 32, 1, 4),
        TransformerDecoderHead(5, 2, 32, 32, 1, 4),
        toy_body(),
        [
            Keypoint2dHandler(KeypointMSELoss(sigma=100.0)),
            Keypoint3dHandler(),
            BodyPosePriorHandler(),
            BetasPriorHandler(),
        ],
        camera_head=CameraHead(32, 16),
        loss_weights={**WEIGHTS, 'keypoints2d_mse': 1e-3},
    )
    for layer in (model.head.correct, model.camera_head.out):
        nn.init.normal_(layer.weight, std=0.03)
    return model


def _samples() -> list[dict]:
    """Four samples whose truth is missing unevenly: a mean by each process's own weights would be another."""
    samples = [toy_sample(0), toy_sample(1, missing=2), toy_sample(2, missing=0), toy_sample(3)]
    samples[0]['data_samples']['has_params'] = torch.tensor(False)
    samples[1]['data_samples']['has_params'] = torch.tensor(False)
    samples[2]['data_samples']['confidence3d'] = torch.zeros(5)
    samples[3]['data_samples']['confidence3d'][:3] = 0
    samples[3]['data_samples']['confidence2d'] = torch.rand(3, 5, generator=torch.Generator().manual_seed(1))
    return samples


def _gradients(model: nn.Module, samples: list[dict]) -> dict[str, torch.Tensor]:
    inner = getattr(model, 'module', model)
    batch = inner.data_preprocessor(default_collate(samples), True)
    loss, _ = inner.parse_losses(model(**batch, mode='loss'))
    loss.backward()
    return {n: p.grad.clone() for n, p in inner.named_parameters() if p.requires_grad}


def _one_process(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE='2')
    dist.init_process_group('gloo')
    model = MMDistributedDataParallel(_regressor(), device_ids=None, broadcast_buffers=False)
    torch.save(_gradients(model, _samples()[2 * rank : 2 * rank + 2]), f'{folder}/{rank}.pth')
    dist.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def test_two_processes_have_the_gradients_of_one_with_the_joined_batch(tmp_path):
    mp.spawn(_one_process, (_free_port(), str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f'{rank}.pth', weights_only=True) for rank in (0, 1))
    joined = _gradients(_regressor(), _samples())
    assert first.keys() == joined.keys()
    largest = max(float(g.abs().max()) for g in joined.values())
    for name, gradient in joined.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], gradient, atol=1e-5 * largest, rtol=1e-3, msg=name)
    # Not because the halves are alike.
    half = _gradients(_regressor(), _samples()[:2])
    assert max(float((half[n] - joined[n]).abs().max()) for n in joined) > 0.01 * largest


def test_a_distributed_run_trains_validates_and_resumes(tmp_path):
    experiment(tmp_path)
    script = tmp_path / 'run.py'
    script.write_text(_SCRIPT.format(root=ROOT, folder=tmp_path))
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2'),
            *(f'--master_port={_free_port()}', str(script)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    checkpoint = read_checkpoint(tmp_path / 'work' / 'epoch_2.pth')
    # 8 samples, 4 a process.
    assert checkpoint['meta']['iter'] == 2
    assert len(checkpoint['smilfit']['random_state']) == 2


_SCRIPT = """
import gc
import sys
sys.path.insert(0, '{root}')
from pathlib import Path
from torch.nn.parallel import DistributedDataParallel
from smilfit.engine import build_train_runner, process_group, set_resume
from tests.toy_experiment import experiment

if __name__ == '__main__':
    with process_group('pytorch', 'cpu'):
        for epochs in (1, 2):
            cfg = experiment(Path('{folder}'), **{{'train_cfg.max_epochs': epochs, 'launcher': 'pytorch'}})
            set_resume(cfg, 'auto' if epochs == 2 else None)
            build_train_runner(cfg, device='cpu').train()
    # What still held the group now would end the process by SIGABRT, sometimes.
    held = [type(x) for x in gc.get_objects() if issubclass(type(x), DistributedDataParallel)]
    assert not held, held
"""
