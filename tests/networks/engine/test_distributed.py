"""Two gloo processes have the gradients of one process with the joined batch, and a whole run works."""

import gc
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.model import MMDistributedDataParallel
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import default_collate

from smilfit.handlers import BetasPriorHandler, BodyPosePriorHandler, Keypoint2dHandler, Keypoint3dHandler
from smilfit.losses import KeypointMSELoss
from smilfit.networks import (
    CameraHead,
    CropAugment,
    CrossViewFusion,
    KeypointRegressor,
    MultiViewRegressor,
    PointLifter,
    TimmBackbone,
    TransformerDecoderHead,
)
from smilfit.networks.engine import SkippingOptimWrapper, build_train_runner, read_checkpoint, set_resume
from smilfit.solvers.processes import process_group
from tests.ranks import on_two_ranks
from tests.toy_experiment import experiment
from tests.toy_keypoint_regressor import make_keypoint_regressor
from tests.toy_samples import toy_body, toy_sample

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


def _one_process(folder: str) -> None:
    rank = dist.get_rank()
    model = MMDistributedDataParallel(_regressor(), device_ids=None, broadcast_buffers=False)
    torch.save(_gradients(model, _samples()[2 * rank : 2 * rank + 2]), f'{folder}/{rank}.pth')


def test_two_processes_have_the_gradients_of_one_with_the_joined_batch(tmp_path):
    on_two_ranks(_one_process, str(tmp_path))
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


def _keypoint_regressor() -> KeypointRegressor:
    """Without what depends on the batch: normalisation by it, and random crops."""
    model = make_keypoint_regressor(mirror=0.0)
    model.augment = CropAugment(
        side=64, zoom=0.0, shift=0.0, rotation_deg=0.0, mirror=0.0, whole=1.0, noise=nn.Identity()
    )
    for layer in list(model.modules()):
        for child, norm in list(layer.named_children()):
            if isinstance(norm, nn.BatchNorm2d):
                setattr(layer, child, nn.GroupNorm(1, norm.num_features))
    return model


def _one_process_of_keypoints(folder: str) -> None:
    rank = dist.get_rank()
    model = MMDistributedDataParallel(_keypoint_regressor(), device_ids=None, broadcast_buffers=False)
    torch.manual_seed(rank)
    torch.save(_gradients(model, _samples()[2 * rank : 2 * rank + 2]), f'{folder}/{rank}.pth')


def test_two_processes_teach_one_keypoint_regressor(tmp_path):
    """Labels are as uneven as above: the maps' gradients are those of the joined batch, the lifter's agree."""
    on_two_ranks(_one_process_of_keypoints, str(tmp_path))
    first, second = (torch.load(tmp_path / f'{rank}.pth', weights_only=True) for rank in (0, 1))
    joined = _gradients(_keypoint_regressor(), _samples())
    largest = max(float(g.abs().max()) for n, g in joined.items() if n.startswith('vision'))
    for name, gradient in joined.items():
        assert torch.equal(first[name], second[name]), name
        if name.startswith('vision'):
            torch.testing.assert_close(first[name], gradient, atol=1e-5 * largest, rtol=1e-3, msg=name)


def _train_and_resume(folder: str) -> None:
    with process_group('pytorch', 'cpu'):
        for epochs in (1, 2):
            cfg = experiment(Path(folder), **{'train_cfg.max_epochs': epochs, 'launcher': 'pytorch'})
            set_resume(cfg, 'auto' if epochs == 2 else None)
            runner = build_train_runner(cfg, device='cpu')
            runner.train()
        weights = {name: p.detach() for name, p in runner.model.module.named_parameters()}
        torch.save(weights, f'{folder}/weights_{runner.rank}.pth')
        del runner
    # What still held the group now would end the process by SIGABRT, sometimes.
    held = [type(x) for x in gc.get_objects() if issubclass(type(x), DistributedDataParallel)]
    assert not held, held


def test_a_distributed_run_trains_validates_and_resumes(tmp_path):
    experiment(tmp_path)
    on_two_ranks(_train_and_resume, str(tmp_path), grouped=False)
    checkpoint = read_checkpoint(tmp_path / 'work' / 'epoch_2.pth')
    # 8 samples, 4 a process.
    assert checkpoint['meta']['iter'] == 2
    states = checkpoint['smilfit']['random_state']
    assert len(states) == 2
    # Each draws augmentations of its own.
    assert not torch.equal(states[0]['torch'], states[1]['torch'])
    # Each process sees samples of its own: weights that are the same were taught by all.
    first, second = (torch.load(tmp_path / f'weights_{rank}.pth', weights_only=True) for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)


N_STEPS = 4


def _steps(model: nn.Module, batches: list[list[dict]]) -> dict[str, torch.Tensor]:
    """Train by a few steps; gives the weights."""
    inner = getattr(model, 'module', model)
    wrapper = SkippingOptimWrapper(torch.optim.SGD(inner.parameters(), lr=0.02, momentum=0.9))
    for number, samples in enumerate(batches):
        # All draw the same poses, so the mean over processes is that of one.
        poses = torch.Generator().manual_seed(number)
        inner.lifter.loss = partial(PointLifter.loss, inner.lifter, generator=poses)
        model.train_step(inner.data_preprocessor(default_collate(samples), True), wrapper)
    return {n: p.detach().clone() for n, p in inner.named_parameters()}


def _uneven_batches() -> list[list[dict]]:
    """Other samples in every step, with fewer and fewer keypoints in one half."""
    result = []
    for step in range(N_STEPS):
        samples = [toy_sample(4 * step + i) for i in range(4)]
        for sample in samples[2:]:
            truth = sample['data_samples']
            truth['confidence2d'][:, : step + 1] = 0
            truth['confidence3d'] = torch.zeros(5)
        result.append(samples)
    return result


def _some_steps(folder: str) -> None:
    rank = dist.get_rank()
    model = MMDistributedDataParallel(_keypoint_regressor(), device_ids=None, broadcast_buffers=False)
    halves = [samples[2 * rank : 2 * rank + 2] for samples in _uneven_batches()]
    torch.save(_steps(model, halves), f'{folder}/{rank}.pth')


def test_two_processes_take_the_steps_of_one_with_the_joined_batches(tmp_path):
    on_two_ranks(_some_steps, str(tmp_path))
    first, second = (torch.load(tmp_path / f'{rank}.pth', weights_only=True) for rank in (0, 1))
    joined = _steps(_keypoint_regressor(), _uneven_batches())
    start = {n: p.detach() for n, p in _keypoint_regressor().named_parameters()}
    for name, weight in joined.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], weight, atol=1e-6, rtol=1e-5, msg=name)
    assert max(float((joined[n] - start[n]).abs().max()) for n in joined) > 1e-2
    halves = _steps(_keypoint_regressor(), [samples[:2] for samples in _uneven_batches()])
    assert max(float((joined[n] - halves[n]).abs().max()) for n in joined) > 1e-3
