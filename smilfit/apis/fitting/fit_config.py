"""The config of a fit: read, with the masks that are asked for, and with lengths in shares of the animal."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from mmengine.config import Config

from smilfit.apis.shipped_configs import find_config
from smilfit.evaluation.point_fit import extent
from smilfit.registrants import SMPLify
from smilfit.registrants.segmentation import MASK_ARGUMENTS, MaskSMPLify
from smilfit.registry import REGISTRANTS, ConfigError, read_config
from smilfit.registry.build import find_class
from smilfit.registry.config_options import merge_options
from smilfit.structures import RecordedData

# A registrant's config: a file, a shipped one's name, or what stands in one.
ConfigSource: TypeAlias = str | Path | Mapping[str, Any]
FitConfig: TypeAlias = dict[str, Any]

# Ends a length that is a share of the animal's size.
SHARE = 'L'
FOUND_BY = {'grabcut': 'GrabCutSegmenter', 'background': 'BackgroundSubtraction'}
# Of files of several sessions in one folder.
FILES = '{session}/{camera}/{frame:06d}.png'


def load_fit_config(config: ConfigSource, options: Mapping[str, object]) -> FitConfig:
    """Read a registrant's config, with overrides by dotted key.

    Raises:
        ConfigError: one without a type.
    """
    if isinstance(config, Mapping):
        where, cfg = 'fit', Config(copy.deepcopy(dict(config)))
    else:
        where, cfg = str(config), read_config(find_config(config))
    merge_options(cfg, options)
    if 'type' not in cfg:
        raise ConfigError(
            f'{where}: the config of a fit must have a type, such as "SMPLify"; got '
            f'{sorted(cfg)[:20]}. Is it one of configs/fit/?'
        )
    # Imported when the file was read; not arguments of the registrant.
    return {k: v for k, v in cfg.to_dict().items() if k not in ('custom_imports', 'default_scope')}


def with_body_lengths(cfg: FitConfig, dataset: RecordedData, sessions: Sequence[str]) -> FitConfig:
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


def _relative(cfg: FitConfig) -> dict[str, str]:
    """Return the lengths that are text, by handler key."""
    return {
        handler.get('handler_key', ''): handler['mse_loss']['sigma']
        for handler in cfg.get('handlers', ())
        if isinstance(handler, Mapping)
        and isinstance(handler.get('mse_loss'), Mapping)
        and isinstance(handler['mse_loss'].get('sigma'), str)
    }


def of_size(cfg: FitConfig, size: float) -> FitConfig:
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


def with_masks(config: FitConfig, masks: str | Path | None) -> FitConfig:
    """Return a fit's config with the segmenter that is asked for; as it is if None.

    Args:
        config: the registrant's.
        masks: 'grabcut', 'background', or a folder that holds SESSION/CAMERA/000000.png and so on.

    Raises:
        ConfigError: a registrant that takes no masks.
    """
    if masks is None:
        return dict(config)
    kind = find_class(config['type'], REGISTRANTS)
    if not issubclass(kind, MaskSMPLify):
        raise ConfigError(
            f'--masks: the config must be of a fit with mask_stages (MaskSMPLify), such as fit/multiview_masks.py; '
            f'got {kind.__name__}. Take that config, or leave --masks out.'
        )
    if str(masks) in FOUND_BY:
        return {**config, 'segmenter': {'type': FOUND_BY[str(masks)]}}
    return {**config, 'segmenter': {'type': 'MaskFiles', 'folder': str(masks), 'pattern': FILES}}


def without_masks(config: FitConfig) -> FitConfig:
    """Return the part of a fit's config that keypoints alone need: a `MaskSMPLify` without what it does with
    masks."""
    if not issubclass(find_class(config['type'], REGISTRANTS), MaskSMPLify):
        return dict(config)
    own = {'type': SMPLify.__name__}
    return {k: v for k, v in config.items() if k not in MASK_ARGUMENTS} | own
