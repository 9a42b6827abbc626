"""Train a regressor: a config and a dataset file become checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from smilfit.apis.output_paths import check_not_an_input, check_output_folder
from smilfit.apis.progress import ProgressCallback
from smilfit.apis.pseudo_label_training import WEIGHT, add_pseudo_labels, count_pseudo_labels
from smilfit.apis.run_hooks import QUIET, add_listener, add_progress, hold_work_dir
from smilfit.apis.run_reports import RunListener
from smilfit.apis.shipped_configs import find_config
from smilfit.apis.training_targets import add_targets
from smilfit.engine import (
    build_train_runner,
    building,
    choose_device,
    load_experiment,
    set_mixed_precision,
    set_resume,
    set_tracking,
)
from smilfit.evaluation import mean_pose, trivial_baseline
from smilfit.registry import ConfigError, UnknownNameError
from smilfit.solvers.process_group import process_group


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


def train(
    config: str | Path,
    work_dir: str | Path | None = None,
    *,
    cfg_options: Mapping[str, Any] | None = None,
    body_model: str | Path | None = None,
    device: str = 'auto',
    launcher: str = 'none',
    resume: str | None = None,
    amp: bool = False,
    track: Sequence[str] = (),
    auto_scale_lr: bool = False,
    validate: bool = True,
    pseudo_labels: Sequence[str | Path] = (),
    pseudo_weight: float = WEIGHT,
    targets: str | Path | None = None,
    progress: ProgressCallback | None = None,
    listener: RunListener | None = None,
) -> TrainRun | None:
    """Train from a config.

    Args:
        config: a config file, or a shipped one's name such as `train/multiview_demo.py`.
        work_dir: where to write; else the config's, else `work_dirs/<config name>`.
        cfg_options: overrides of the config by dotted key.
        body_model: a body model file or a shipped model's name, instead of the one that the dataset names.
        device: 'auto', 'cpu' or 'cuda'.
        launcher: what started the processes of a distributed run: 'none', 'pytorch' or 'slurm'.
        resume: a checkpoint to go on from, or 'auto' for the newest whole one in the work dir.
        amp: mixed precision.
        track: 'tensorboard', 'wandb': where curves go beside the log.
        auto_scale_lr: scale the learning rate by the batch size over the config's base_batch_size.
        validate: validate while training.
        pseudo_labels: bodies found in unlabelled frames: folders of `infer --refine` or `fit`, or files of
            `make_pseudo_labels`; see `read_pseudo_labels`.
        pseudo_weight: how much these count beside known ones.
        targets: a folder of `fit` of the training's dataset, whose parameters are taken as known; see `read_targets`.
        progress: called with a `Progress` after every step, by the first process.
        listener: hears what is trained and how it goes; what mmengine says goes to the log file alone then.

    Returns:
        What came out, in the first process; None in the others.

    Raises:
        ConfigError: the config does not run, or cannot be trained with.
        OutputHeldError: another run is in the work dir.
    """
    cfg, chosen = _experiment(config, work_dir, cfg_options, device, launcher, resume)
    _adjust(cfg, chosen, amp, track, auto_scale_lr, validate)
    check_not_an_input(cfg.work_dir, (*pseudo_labels, targets), '--work-dir', inside=True)
    with process_group(launcher, chosen), hold_work_dir(cfg.work_dir):
        _add_found(cfg, pseudo_labels, pseudo_weight, targets)
        return _train(cfg, body_model, device, progress, listener)


def check_training(
    config: str | Path,
    work_dir: str | Path | None = None,
    *,
    cfg_options: Mapping[str, Any] | None = None,
    body_model: str | Path | None = None,
    device: str = 'auto',
    launcher: str = 'none',
    resume: str | None = None,
    amp: bool = False,
    track: Sequence[str] = (),
    auto_scale_lr: bool = False,
    validate: bool = True,
    pseudo_labels: Sequence[str | Path] = (),
    pseudo_weight: float = WEIGHT,
    targets: str | Path | None = None,
) -> int:
    """Build everything that `train` would of the same arguments, train nothing, and count what would be trained.

    Returns:
        How many numbers training would change.
    """
    cfg, chosen = _experiment(config, work_dir, cfg_options, device, launcher, resume)
    _adjust(cfg, chosen, amp, track, auto_scale_lr, validate)
    check_not_an_input(cfg.work_dir, (*pseudo_labels, targets), '--work-dir', inside=True)
    with process_group(launcher, chosen), hold_work_dir(cfg.work_dir):
        _add_found(cfg, pseudo_labels, pseudo_weight, targets, checked=True)
        return _check(cfg, body_model, device)


def _add_found(
    cfg: Config,
    pseudo_labels: Sequence[str | Path],
    weight: float,
    targets: str | Path | None,
    checked: bool = False,
) -> None:
    """Let the datasets have what fits found."""
    if pseudo_labels and targets is not None:
        raise ConfigError(
            '--targets and --pseudo-labels: one of the two must be given, as both say what a frame’s body is; got '
            'both. Pseudo-labels take good frames of any recording, with keypoints; targets those of the dataset.'
        )
    add_pseudo_labels(cfg, pseudo_labels, weight, checked)
    add_targets(cfg, targets, checked)


def _experiment(
    config: str | Path,
    work_dir: str | Path | None,
    cfg_options: Mapping[str, Any] | None,
    device: str,
    launcher: str,
    resume: str | None,
) -> tuple[Config, str]:
    """Read the config, and decide on which kind of device it runs."""
    cfg = load_experiment(find_config(config), cfg_options, work_dir)
    check_output_folder(cfg.work_dir, '--work-dir')
    chosen = choose_device(device)
    cfg.launcher = launcher
    set_resume(cfg, resume)
    return cfg, chosen


def _adjust(
    cfg: Config, device: str, amp: bool, track: Sequence[str], auto_scale_lr: bool, validate: bool
) -> None:
    if track:
        set_tracking(cfg, track)
    if amp:
        set_mixed_precision(cfg, device)
    if auto_scale_lr:
        _scale_learning_rate(cfg)
    if not validate:
        for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
            cfg[key] = None


def _scale_learning_rate(cfg: Config) -> None:
    if cfg.get('auto_scale_lr') is None or 'base_batch_size' not in cfg.auto_scale_lr:
        raise UnknownNameError(
            f'--auto-scale-lr: the config must say auto_scale_lr = dict(base_batch_size=...); {cfg.filename} '
            f'does not. Add it, or leave the option out.'
        )
    cfg.auto_scale_lr.enable = True


# The runner holds the group of processes: it must be gone when that is left, so it lives in a function of its own.
def _train(
    cfg: Config,
    body_model: str | Path | None,
    device: str,
    progress: ProgressCallback | None,
    listener: RunListener | None,
) -> TrainRun | None:
    runner = build_train_runner(
        cfg,
        body_model=body_model,
        device=device,
        summarise=keypoint_summaries,
        console_level=None if listener is None else QUIET,
    )
    count_pseudo_labels(runner._train_dataloader.dataset)
    add_progress(runner, progress)
    add_listener(runner, listener)
    prepare_runner(runner)
    runner.train()
    if runner.rank != 0:
        return None
    last = Path(runner.work_dir) / 'last_checkpoint'
    checkpoint = Path(last.read_text(encoding='utf-8').strip()) if last.is_file() else None
    return TrainRun(Path(runner.work_dir), checkpoint, _best(runner), runner.logger.log_file)


def _best(runner: Any) -> Path | None:
    """Find the checkpoint that validation found best."""
    paths = [getattr(hook, 'best_ckpt_path', None) for hook in runner.hooks]
    return next((Path(path) for path in paths if path is not None and Path(path).is_file()), None)


def _check(cfg: Config, body_model: str | Path | None, device: str) -> int:
    runner = build_train_runner(
        cfg, body_model=body_model, device=device, summarise=keypoint_summaries, console_level=QUIET
    )
    count_pseudo_labels(runner._train_dataloader.dataset)
    prepare_runner(runner)
    # What the runner builds only when it starts.
    if runner.param_schedulers is not None:
        runner.build_param_scheduler(runner.param_schedulers)
    runner.call_hook('before_run')
    return sum(p.numel() for p in runner.model.parameters() if p.requires_grad)


def keypoint_summaries(xyz: Any, seen: Any) -> dict[str, Any]:
    """Give the baselines that an evaluation compares with, from the training set's 3D keypoints."""
    return {'baseline': trivial_baseline(xyz, seen), 'mean_pose': mean_pose(xyz, seen)}


def prepare_runner(runner: Any) -> None:
    """Build the loop and the optimiser, so that a config that cannot be trained with is refused before training.

    Raises:
        ConfigError: names the config.
    """
    with building(runner.cfg):
        runner._train_loop = runner.build_train_loop(runner._train_loop)
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
