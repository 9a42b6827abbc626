"""Where a training's curves go beside its log: TensorBoard, Weights and Biases."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from mmengine.config import Config

from smilfit.registry import ConfigError, reject_unknown

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


def set_tracking(cfg: Config, trackers: Sequence[str]) -> None:
    """Add backends to a config's visualizer; what is there already stays."""
    reject_unknown('--track', 'tracker', trackers, TRACKERS)
    visualizer: dict[str, Any] = dict(cfg.get('visualizer') or {'type': 'Visualizer'})
    backends = list(visualizer.get('vis_backends') or [{'type': 'LocalVisBackend'}])
    there = {backend['type'] for backend in backends}
    backends += [{'type': TRACKERS[t]} for t in dict.fromkeys(trackers) if TRACKERS[t] not in there]
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
