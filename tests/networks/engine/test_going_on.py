"""A run that was stopped anywhere, by SIGKILL too, ends with the weights of an unbroken one, bit by bit."""

import copy
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

import tests.noisy_toys  # noqa: F401
from smilfit.networks.engine import build_train_runner, read_checkpoint, set_resume
from smilfit.networks.engine.data_loading import SeededLoader, seeded
from tests.ranks import fork_context
from tests.toy_experiment import experiment, keypoint_model

EMA = {'type': 'EMAHook', 'momentum': 0.1, 'update_buffers': True}
CURRICULUM = {'type': 'LossCurriculumHook', 'schedule': {0: {'transl': 0.5}, 1: {'keypoints3d': 2.0}}}


def _config(folder: Path, **changes):
    """Five batches an epoch, each with noise; batch normalisation, averages, steps of two batches."""
    folder.mkdir(exist_ok=True)
    given = {
        'train_dataloader.dataset': {'type': 'NoisyToys', 'data_path': str(folder), 'n': 10},
        'train_dataloader.batch_size': 2,
        'optim_wrapper.accumulative_counts': 2,
        'custom_hooks': [EMA, CURRICULUM],
        'default_hooks.checkpoint': {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 3},
        'val_dataloader': None,
        'val_cfg': None,
        'val_evaluator': None,
    }
    cfg = experiment(folder, 'test_resnet', **copy.deepcopy({**given, **changes}))
    cfg.model.body_model = str(folder / 'data' / 'toy.smil.json')
    return cfg


class _Stop(Hook):
    """Does something after so many batches, before a checkpoint of them would be written."""

    priority = 'HIGHEST'

    def __init__(self, after: int, do) -> None:
        self.after, self.do = after, do

    def after_train_iter(self, runner, batch_idx, **_):
        if runner.iter + 1 == self.after:
            self.do()


def _interrupt() -> None:
    raise KeyboardInterrupt


def _train(cfg, stop: _Stop | None = None):
    runner = build_train_runner(cfg, device='cpu')
    if stop is not None:
        runner.register_hook(stop)
    runner.train()
    return runner


def _same(a, b) -> None:
    for name, value in a.model.state_dict().items():
        assert torch.equal(value, b.model.state_dict()[name]), name
    ours, theirs = (
        next(h for h in r.hooks if type(h).__name__ == 'EMAHook').ema_model.state_dict() for r in (a, b)
    )
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    x, y = (r.optim_wrapper.state_dict()['state'] for r in (a, b))
    assert all(torch.equal(x[i][k], y[i][k]) for i in x for k in x[i])
    assert a.optim_wrapper.get_lr() == b.optim_wrapper.get_lr()
    assert a.model.loss_weights == b.model.loss_weights
    curves = [r.message_hub.get_scalar('train/loss').data[0] for r in (a, b)]
    np.testing.assert_array_equal(*curves)


AMP = {
    'optim_wrapper.type': 'AmpOptimWrapper',
    'optim_wrapper.dtype': 'float16',
    'optim_wrapper.loss_scale': 64.0,
}
BY_ITER = {
    'train_cfg': {'type': 'IterBasedTrainLoop', 'max_iters': 10, '_delete_': True},
    'custom_hooks': [EMA],
    'param_scheduler': [{'type': 'LinearLR', 'start_factor': 0.1, 'begin': 0, 'end': 8, 'by_epoch': False}],
}


@pytest.mark.parametrize(
    ('changes', 'workers'),
    [({}, 0), ({}, 2), (AMP, 0), (BY_ITER, 0)],
    ids=['plain', 'workers', 'float16', 'iterations'],
)
def test_a_run_stopped_inside_an_epoch_goes_on(tmp_path, changes, workers):
    loader = {'train_dataloader.num_workers': workers, 'train_dataloader.persistent_workers': workers > 0}
    whole = _train(_config(tmp_path / 'whole', **changes, **loader))
    cfg = _config(tmp_path / 'broken', **changes, **loader)
    # The last checkpoint is of the 6th batch, the first one of the second epoch; or of the 3rd, in a step of two.
    for after in (5, 8):
        with pytest.raises(KeyboardInterrupt):
            _train(cfg, _Stop(after, _interrupt))
        torch.manual_seed(after)
        set_resume(cfg, 'auto')
    assert cfg.load_from.endswith('iter_6.pth')
    place = read_checkpoint(cfg.load_from)['smilfit']['place']
    assert place == {'round': 1, 'batch': 1, 'n_batches': 5}
    _same(whole, _train(cfg))


def test_the_end_of_an_epoch_is_no_different_place(tmp_path):
    every = {'default_hooks.checkpoint.interval': 5}
    whole = _train(_config(tmp_path / 'whole', **every))
    cfg = _config(tmp_path / 'broken', **every)
    with pytest.raises(KeyboardInterrupt):
        _train(cfg, _Stop(7, _interrupt))
    set_resume(cfg, 'auto')
    _same(whole, _train(cfg))


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_in_the_next_long_write() -> None:
    """The system ends a process that writes beyond this size, in the middle of the write."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))


def _killed(folder: str, after: int, how) -> None:
    torch.set_num_threads(1)
    cfg = _config(Path(folder))
    if after > 3:
        set_resume(cfg, 'auto')
    _train(cfg, _Stop(after, how))


def _checkpoints(work: Path) -> list[str]:
    return sorted(p.name for p in work.glob('[!.]*.pth'))


def test_a_run_killed_in_an_epoch_and_in_a_write_goes_on(tmp_path):
    whole = _train(_config(tmp_path / 'whole'))
    _config(tmp_path / 'killed')
    work = tmp_path / 'killed' / 'work'
    for after, how, by in ((3, _kill_in_the_next_long_write, signal.SIGXFSZ), (2, _kill, signal.SIGKILL)):
        process = fork_context().Process(target=_killed, args=(str(tmp_path / 'killed'), after, how))
        process.start()
        process.join(120)
        assert process.exitcode == -by
        # What was cut in the middle has not got a checkpoint's name.
        assert not _checkpoints(work)
    for after, how, by in ((5, _kill, signal.SIGKILL), (6, _kill_in_the_next_long_write, signal.SIGXFSZ)):
        if not _checkpoints(work):
            with pytest.raises(KeyboardInterrupt):
                _train(_config(tmp_path / 'killed'), _Stop(4, _interrupt))
        process = fork_context().Process(target=_killed, args=(str(tmp_path / 'killed'), after, how))
        process.start()
        process.join(120)
        assert process.exitcode == -by
        assert _checkpoints(work) == ['iter_3.pth']
    cfg = _config(tmp_path / 'killed')
    set_resume(cfg, 'auto')
    _same(whole, _train(cfg))


def _keypoints(folder: Path):
    """The same for a keypoint regressor, whose crops and poses are drawn at random too."""
    cfg = _config(folder)
    cfg.model = keypoint_model(
        cfg.model.body_model,
        boxes={'type': 'GivenBoxes'},
        lifter={'type': 'PointLifter', 'dim': 32, 'n_blocks': 1, 'sampler': {'type': 'PoseSampler'}},
        augment={'type': 'CropAugment', 'side': 32, 'mirror': 0.0},
        lifter_samples=8,
    )
    cfg.custom_hooks = [
        EMA,
        {'type': 'LossCurriculumHook', 'schedule': {0: {'heatmap': 0.5}, 1: {'lifter': 2.0}}},
    ]
    return cfg


def test_a_lifter_that_is_to_see_pictures_goes_on_from_one_that_did_not(tmp_path):
    cfg = _keypoints(tmp_path)
    cfg.custom_hooks = []
    learnt = _train(copy.deepcopy(cfg)).model.state_dict()
    cfg.model.feature_map = -1
    cfg.load_from = str(tmp_path / 'work' / 'iter_6.pth')
    runner = build_train_runner(cfg, device='cpu')
    runner.load_or_resume()
    begun = runner.model.state_dict()
    added = {'lifter.features.project.weight', 'lifter.features.out.weight'}
    assert begun.keys() - learnt.keys() == added
    assert not begun['lifter.features.out.weight'].any()
    # To go on with a run that was stopped, everything must be there.
    cfg.resume = True
    with pytest.raises(ValueError, match=r'lifter\.features'):
        build_train_runner(cfg, device='cpu').load_or_resume()


def _kill_in_the_next_write() -> None:
    """SIGKILL when half of the next file is on the disk."""

    def killed(number: int) -> None:
        os.ftruncate(number, os.fstat(number).st_size // 2)
        _kill()

    os.fsync = killed


def _keypoints_run(folder: str, after: int = 0, how=None) -> None:
    torch.set_num_threads(1)
    cfg = _keypoints(Path(folder))
    if _checkpoints(Path(folder) / 'work'):
        set_resume(cfg, 'auto')
    _train(cfg, _Stop(after, how) if after else None)


def test_a_keypoint_regressor_killed_in_an_epoch_and_in_a_write_goes_on(tmp_path):
    killed, whole = tmp_path / 'killed', tmp_path / 'whole'
    # In the second epoch, then while the checkpoint of the 6th batch is written; all in processes that start alike.
    runs = [(killed, 5, _kill), (killed, 6, _kill_in_the_next_write), (killed,), (whole,)]
    for folder, *stop in runs:
        process = fork_context().Process(target=_keypoints_run, args=(str(folder), *stop))
        process.start()
        process.join(120)
        assert process.exitcode == (-signal.SIGKILL if stop else 0)
        assert not stop or _checkpoints(folder / 'work') == ['iter_3.pth']
    ours, theirs = (read_checkpoint(folder / 'work' / 'iter_10.pth') for folder in (killed, whole))
    for part in ('state_dict', 'ema_state_dict'):
        assert all(torch.equal(value, theirs[part][name]) for name, value in ours[part].items()), part
    x, y = (result['optimizer']['state'] for result in (ours, theirs))
    assert all(torch.equal(x[i][k], y[i][k]) for i in x for k in x[i])


class _Drawn(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.stack((torch.tensor(float(index)), torch.rand(()), torch.tensor(np.random.rand())))  # noqa: NPY002


@pytest.mark.parametrize('workers', [0, 2])
def test_a_batch_is_the_same_wherever_an_epoch_begins(workers):
    loader = SeededLoader(_Drawn(), 3, batch_size=2, num_workers=workers, persistent_workers=workers > 0)
    before = torch.get_rng_state()
    alone = list(SeededLoader(_Drawn(), 3, batch_size=2))
    first = list(loader)
    torch.set_rng_state(before)
    assert all(torch.equal(a, b) for a, b in zip(first, alone, strict=True))
    assert len(loader) == len(first) == 4
    loader.begin(0, 2)
    assert all(torch.equal(a, b) for a, b in zip(loader, first[2:], strict=True))
    loader.begin(1)
    assert not torch.equal(next(iter(loader))[:, 1], first[0][:, 1])
    assert loader.dataset[0][0] == 0


def test_a_seeded_context_gives_the_generators_back():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    with seeded(2**62):
        a = torch.rand(3)
    with seeded(2**62):
        assert torch.equal(a, torch.rand(3))
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002
