"""Train a regressor: a config and a dataset file become checkpoints."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.config import Config

from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input, check_output_folder
from smilfit.apis.run_options import TrainOptions
from smilfit.apis.shipped_configs import find_config
from smilfit.evaluation import mean_pose, trivial_baseline
from smilfit.networks.engine.checked_runner import CheckedRunner
from smilfit.networks.engine.configs import (
    building,
    load_experiment,
    set_mixed_precision,
    set_resume,
    set_tracking,
)
from smilfit.networks.engine.runner import build_train_runner, choose_device
from smilfit.networks.tasks.run_hooks import QUIET, add_listener, add_progress, hold_work_dir
from smilfit.networks.tasks.training_labels import add_pseudo_labels, add_targets, count_pseudo_labels
from smilfit.registry import ConfigError, UnknownNameError
from smilfit.solvers.processes import process_group


@dataclass(frozen=True)
class TrainRun:
    """What came out.

    Args:
        work_dir: the folder of the run.
        checkpoint: the newest, if one was written.
        best: the one that validation found best, if there was validation.
        log: the file with all that mmengine said.
    """

    work_dir: Path
    checkpoint: Path | None
    best: Path | None = None
    log: str | None = None


@with_options(TrainOptions, positional=('work_dir',))
def train(config: str | Path, options: TrainOptions) -> TrainRun | None:
    """Train from a config.

    Args:
        config: a config file, or a shipped one's name such as `train/multiview_demo.py`.

    Returns:
        What came out, in the first process; None in the others.

    Raises:
        ConfigError: the config does not run, or cannot be trained with.
        OutputHeldError: another run is in the work dir.
    """
    with _begun(config, options) as cfg:
        return _train(cfg, options)


@with_options(TrainOptions, positional=('work_dir',))
def check_training(config: str | Path, options: TrainOptions) -> int:
    """Build everything that `train` would of the same arguments, train nothing, and count what would be trained.

    Returns:
        How many numbers training would change.
    """
    with _begun(config, options, checked=True) as cfg:
        return _check(cfg, options)


@contextmanager
def _begun(config: str | Path, options: TrainOptions, checked: bool = False) -> Iterator[Config]:
    """Hold the work dir, among all processes, with labels of fits in the config that is trained with."""
    cfg, device = _experiment(config, options)
    with process_group(options.launcher, device), hold_work_dir(cfg.work_dir):
        _add_labels(cfg, options, checked)
        yield cfg


def _experiment(config: str | Path, options: TrainOptions) -> tuple[Config, str]:
    """Read the config, and decide on which kind of device it runs."""
    cfg = load_experiment(find_config(config), options.cfg_options, options.work_dir)
    check_output_folder(cfg.work_dir, '--work-dir')
    device = choose_device(options.device)
    cfg.launcher = options.launcher
    set_resume(cfg, options.resume)
    if options.track:
        set_tracking(cfg, options.track)
    if options.amp:
        set_mixed_precision(cfg, device)
    if options.auto_scale_lr:
        _scale_learning_rate(cfg)
    if not options.validate:
        for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
            cfg[key] = None
    check_not_an_input(cfg.work_dir, (*options.pseudo_labels, options.targets), '--work-dir', inside=True)
    return cfg, device


def _add_labels(cfg: Config, options: TrainOptions, checked: bool) -> None:
    """Let the datasets have what fits found."""
    if options.pseudo_labels and options.targets is not None:
        raise ConfigError(
            '--targets and --pseudo-labels: one of the two must be given, as both say what a frame’s body is; got '
            'both. Pseudo-labels take good frames of any recording, with keypoints; targets those of the dataset.'
        )
    add_pseudo_labels(cfg, options.pseudo_labels, options.pseudo_weight, checked)
    add_targets(cfg, options.targets, checked)


def _scale_learning_rate(cfg: Config) -> None:
    if cfg.get('auto_scale_lr') is None or 'base_batch_size' not in cfg.auto_scale_lr:
        raise UnknownNameError(
            f'--auto-scale-lr: the config must say auto_scale_lr = dict(base_batch_size=...); {cfg.filename} '
            f'does not. Add it, or leave the option out.'
        )
    cfg.auto_scale_lr.enable = True


# The runner holds the group of processes: it must be gone when that is left, so it lives in functions of their own.
def _train(cfg: Config, options: TrainOptions) -> TrainRun | None:
    runner = _runner(cfg, options, quiet=options.listener is not None)
    add_progress(runner, options.progress)
    add_listener(runner, options.listener)
    prepare_runner(runner)
    runner.train()
    if runner.rank != 0:
        return None
    last = Path(runner.work_dir) / 'last_checkpoint'
    checkpoint = Path(last.read_text(encoding='utf-8').strip()) if last.is_file() else None
    return TrainRun(Path(runner.work_dir), checkpoint, _best(runner), runner.logger.log_file)


def _runner(cfg: Config, options: TrainOptions, quiet: bool) -> CheckedRunner:
    runner = build_train_runner(
        cfg,
        body_model=options.body_model,
        device=options.device,
        summarise=keypoint_summaries,
        console_level=QUIET if quiet else None,
    )
    count_pseudo_labels(runner._train_dataloader.dataset)
    return runner


def _best(runner: CheckedRunner) -> Path | None:
    """Find the checkpoint that validation found best."""
    paths = [getattr(hook, 'best_ckpt_path', None) for hook in runner.hooks]
    return next((Path(path) for path in paths if path is not None and Path(path).is_file()), None)


def _check(cfg: Config, options: TrainOptions) -> int:
    runner = _runner(cfg, options, quiet=True)
    prepare_runner(runner)
    # What the runner builds only when it starts.
    if runner.param_schedulers is not None:
        runner.build_param_scheduler(runner.param_schedulers)
    runner.call_hook('before_run')
    return sum(p.numel() for p in runner.model.parameters() if p.requires_grad)


def keypoint_summaries(xyz: np.ndarray, visible: np.ndarray) -> dict[str, np.ndarray]:
    """Return the baselines that an evaluation compares with, from the training set's 3D keypoints."""
    return {'baseline': trivial_baseline(xyz, visible), 'mean_pose': mean_pose(xyz, visible)}


def prepare_runner(runner: CheckedRunner) -> None:
    """Build the loop and the optimiser, so that a config that cannot be trained with is refused before training.

    Raises:
        ConfigError: names the config.
    """
    with building(runner.cfg):
        runner._train_loop = runner.build_train_loop(runner._train_loop)
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
