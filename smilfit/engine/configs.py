"""Read an experiment's config and lay the command line over it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from smilfit.engine.config_options import merge_options
from smilfit.registry import read_config


def load_experiment(
    path: str | Path, options: Mapping[str, Any] | None = None, work_dir: str | Path | None = None
) -> Config:
    """Read a config file; options with unknown keys are refused.

    The work dir is the argument, else the config's, else `work_dirs/<config name>`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such config. The shipped ones are in configs/train/.')
    cfg = read_config(path)
    if options:
        merge_options(cfg, options)
    if work_dir is not None:
        cfg.work_dir = str(work_dir)
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / path.stem)
    return cfg


def set_resume(cfg: Config, resume: str | None) -> None:
    """Make a run go on: `resume` is a checkpoint, or 'auto' for the latest in the work dir."""
    if resume is None:
        return
    cfg.resume = True
    cfg.load_from = None if resume == 'auto' else resume
    if resume == 'auto' and not (Path(cfg.work_dir) / 'last_checkpoint').is_file():
        raise FileNotFoundError(
            f'--resume: {cfg.work_dir} must hold a checkpoint; it holds none. '
            f'Give the checkpoint, or leave --resume out to begin anew.'
        )


def set_mixed_precision(cfg: Config, device: str) -> None:
    """Train in mixed precision: bfloat16; float16 with scaled loss on CUDA devices without bfloat16."""
    if device == 'cuda' and not torch.cuda.is_bf16_supported():
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'
    else:
        cfg.optim_wrapper.type = 'AutocastOptimWrapper'
        cfg.optim_wrapper.dtype = 'bfloat16'
