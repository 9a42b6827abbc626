"""Read an experiment's config and lay the command line over it."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from smilfit.files import shorten
from smilfit.networks.engine.checkpoint_loader import (
    LAST,
    latest_whole_checkpoint,
    read_checkpoint,
    smilfit_entry,
)
from smilfit.registry import ConfigError, UnknownNameError, read_config, reject_unknown
from smilfit.registry.config_options import merge_options

logger = logging.getLogger('smilfit')

# The config of one part: its type, and arguments.
PartConfig = Mapping[str, Any]

# `Class: ...` or `Class 'key': ...`, as our own messages begin; python's begin with several words.
_SENTENCE = re.compile(r"[\w.\[\]]+(?: '[^']*')?: ")
# Where curves go beside the log.
TRACKERS = {'tensorboard': 'TensorboardVisBackend', 'wandb': 'WandbVisBackend'}
# What mmengine's backends import at their first figure.
_PACKAGES = {
    'TensorboardVisBackend': 'tensorboard',
    'WandbVisBackend': 'wandb',
    'MLflowVisBackend': 'mlflow',
    'ClearMLVisBackend': 'clearml',
    'NeptuneVisBackend': 'neptune',
    'DVCLiveVisBackend': 'dvclive',
    'AimVisBackend': 'aim',
}


def load_experiment(
    path: str | Path, options: Mapping[str, object] | None = None, work_dir: str | Path | None = None
) -> Config:
    """Read a config file; options with unknown keys are refused.

    The work dir is the argument, else the config's, else `work_dirs/<config name>`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'{path}: no such config. The shipped ones are in configs/train/.')
    cfg = read_config(path)
    if options:
        merge_options(cfg, options)
    if not isinstance(cfg.get('work_dir'), (str, type(None))):
        raise ValueError(f'work_dir must be a path; got {shorten(cfg.work_dir)}. Correct it in {path}.')
    if work_dir is not None:
        cfg.work_dir = str(work_dir)
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / path.stem)
    return cfg


def require_keys(cfg: Config, keys: Iterable[str], purpose: str) -> None:
    """Check that a config has the parts that a command needs, each a dict (an evaluator: also a list).

    Raises:
        ConfigError: one is missing, or of another kind.
    """
    where = cfg.filename or 'the config'
    for key in keys:
        value = cfg.get(key)
        if value is None:
            raise ConfigError(
                f'{where}: a config for {purpose} must say {key}; it does not. Is it the right config?'
            )
        kinds = (Mapping, list, tuple) if key.endswith('_evaluator') else (Mapping,)
        if not isinstance(value, kinds):
            raise ConfigError(f'{where}: {key} must be a dict; got {shorten(value)}. Correct it there.')
        dataset = value.get('dataset') if isinstance(value, Mapping) else None
        if key.endswith('_dataloader') and not isinstance(dataset, Mapping):
            got = shorten(dataset)
            raise ConfigError(f'{where}: {key}.dataset must be a dict; got {got}. Correct it there.')


@contextmanager
def building(cfg: Config) -> Iterator[None]:
    """Build what a config describes inside this context: values of a wrong kind are errors that name the config.

    Raises:
        ConfigError: an error that is no sentence of its own, such as a text where a number belongs.
    """
    try:
        yield
    except (
        AttributeError,
        AssertionError,
        IndexError,
        ZeroDivisionError,
        TypeError,
        KeyError,
        re.error,
    ) as error:
        plain = type(error) is KeyError and ' ' not in str(error)
        if isinstance(error, (TypeError, KeyError)) and not plain and _ours(error):
            raise
        raise ConfigError(
            f'{cfg.filename or "the config"}: its values must be of the right kinds; got {type(error).__name__}: '
            f'{shorten(error, 300)}. Correct them, or --cfg-options; --traceback shows where it was noticed.'
        ) from error


def _ours(error: Exception) -> bool:
    """Check whether an error is a sentence of ours or of a registry: `<where>: ...`."""
    message = str(error.args[0]) if error.args else ''
    return isinstance(error, KeyError) or _SENTENCE.match(message) is not None


def set_refinement(cfg: Config) -> None:
    """Have the model refine its predictions as the config's `refinement` says.

    Raises:
        UnknownNameError: a config without one.
    """
    if not cfg.get('refinement'):
        raise UnknownNameError(
            '--refine: the config must say how, as refinement = dict(type="Refinement", registrant=...); this one '
            'does not. See configs/_base_/models/keypoint_regressor.py.'
        )
    cfg.model.refine = cfg.refinement


def set_resume(cfg: Config, resume: str | None) -> None:
    """Make a run go on: `resume` is a checkpoint, or 'auto' for the newest whole one in the work dir.

    A work dir without any begins anew, which is told: a run that is killed before its first checkpoint goes on by the
    same command as one that is killed later.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        BadFileError: none that can be read.
    """
    if resume is None:
        return
    if resume != 'auto':
        smilfit_entry(resume, read_checkpoint(resume))
        cfg.resume, cfg.load_from = True, resume
        return
    out_dir = (cfg.get('default_hooks') or {}).get('checkpoint', {}).get('out_dir')
    try:
        cfg.resume, cfg.load_from = True, str(latest_whole_checkpoint(cfg.work_dir, out_dir))
    except FileNotFoundError:
        if (Path(cfg.work_dir) / LAST).is_file():
            # It had one.
            raise
        cfg.resume = False
        logger.warning('--resume: %s holds no checkpoint yet; the training begins anew.', cfg.work_dir)


def set_mixed_precision(cfg: Config, device: str) -> None:
    """Train in mixed precision: bfloat16, or float16 with scaled loss on CUDA devices that have no bfloat16.

    A `dtype` that the config's `optim_wrapper` says holds.
    """
    without = device == 'cuda' and not torch.cuda.is_bf16_supported()
    cfg.optim_wrapper.type = 'AutocastOptimWrapper'
    cfg.optim_wrapper.setdefault('dtype', 'float16' if without else 'bfloat16')


def set_tracking(cfg: Config, trackers: Sequence[str]) -> None:
    """Add backends to a config's visualizer; what is there already stays."""
    reject_unknown('--track', 'tracker', trackers, TRACKERS)
    visualizer: dict = dict(cfg.get('visualizer') or {'type': 'Visualizer'})
    backends = list(visualizer.get('vis_backends') or [{'type': 'LocalVisBackend'}])
    valid = {backend['type'] for backend in backends}
    backends += [{'type': TRACKERS[t]} for t in dict.fromkeys(trackers) if TRACKERS[t] not in valid]
    cfg.visualizer = {**visualizer, 'vis_backends': backends}


def check_tracking(cfg: Config) -> None:
    """Refuse backends whose package is absent; mmengine would notice after the first batches.

    Raises:
        ConfigError: names what to install.
    """
    for backend in (cfg.get('visualizer') or {}).get('vis_backends') or ():
        package = _PACKAGES.get(str(backend.get('type')))
        if package is not None and find_spec(package) is None:
            raise ConfigError(
                f'visualizer: {backend["type"]} must have the package {package}, which is not installed. Run '
                f'pip install {package}, or leave it out.'
            )
