"""Lengths of a config in shares of the animal: one config of points in space serves a mouse in mm and a cow in m."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from smilfit.evaluation.point_fit import extent
from smilfit.registry import ConfigError

# Ends a length that is a share of the animal's size.
SHARE = 'L'


def with_body_lengths(cfg: Mapping[str, Any], dataset: Any, sessions: Sequence[str]) -> dict[str, Any]:
    """Turn `sigma='0.05L'` of keypoint losses into the points' unit, and with it the weights of their handlers.

    Where sigma is a share of the animal's size, the handler's weights are of squared shares, too. The size is the
    sessions' median of the 90th percentile of the box diagonal of their 3D points. A config without such lengths
    stays as it is.

    Raises:
        ConfigError: a length that is none, or no session with 3D points.
    """
    if not _relative(cfg):
        return dict(cfg)
    points = [dataset.keypoints3d(session) for session in sessions]
    sizes = [float(extent(p)) for p in points if p is not None]
    if not sizes:
        raise ConfigError(
            f'{dataset.path}: lengths in shares of the animal ({SHARE}) need 3D points; no session has any. Fit 2D '
            'keypoints with configs/fit/multiview_keypoints_lm.py.'
        )
    return of_size(cfg, float(np.median(sizes)))


def _relative(cfg: Mapping[str, Any]) -> dict[str, str]:
    """Give the lengths that are text, by handler key."""
    return {
        handler.get('handler_key', ''): handler['mse_loss']['sigma']
        for handler in cfg.get('handlers', ())
        if isinstance(handler, Mapping)
        and isinstance(handler.get('mse_loss'), Mapping)
        and isinstance(handler['mse_loss'].get('sigma'), str)
    }


def of_size(cfg: Mapping[str, Any], size: float) -> dict[str, Any]:
    """Turn lengths that are shares of an animal into those of one of a size, world unit."""
    relative = _relative(cfg)
    handlers = [
        {**h, 'mse_loss': {**h['mse_loss'], 'sigma': size * _share(h['mse_loss']['sigma'])}}
        if isinstance(h, Mapping) and h.get('handler_key', '') in relative
        else h
        for h in cfg['handlers']
    ]
    weights = {f'{key}_weight' for key in relative}
    stages = [{k: v / size**2 if k in weights else v for k, v in stage.items()} for stage in cfg['stages']]
    return {**cfg, 'handlers': handlers, 'stages': stages}


def _share(text: str) -> float:
    try:
        share = float(text.removesuffix(SHARE))
    except ValueError:
        share = 0.0
    if not text.endswith(SHARE) or not 0 < share < 100:
        raise ConfigError(
            f"sigma must be a length in the points' unit, or a share of the animal such as '0.05{SHARE}'; got "
            f'{text!r}.'
        )
    return share
