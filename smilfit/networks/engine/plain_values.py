"""Plain values in checkpoints: what mmengine keeps, and configs, of which nothing is ever run as python.

Types are registered names, never paths into modules: a file may choose among what is registered, and import nothing.
"""

import copy
import json
import logging
import re
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer

from smilfit.files import BadFileError, shorten
from smilfit.networks.engine.checkpoint_loader import read_checkpoint, smilfit_entry

_KIND = '__smilfit_kind__'


def to_plain(value: object, where: str = 'checkpoint') -> Any:
    """Replace history buffers, numpy values and mapping classes by what `weights_only=True` reads.

    Raises:
        TypeError: a value of a class that cannot be stored; says where it stands.
    """
    if value is None or (
        isinstance(value, (bool, int, float, str, bytes, torch.Tensor)) and not isinstance(value, np.generic)
    ):
        return value
    if isinstance(value, HistoryBuffer):
        history, count = value.data
        return {
            _KIND: 'HistoryBuffer',
            'history': history.tolist(),
            'count': count.tolist(),
            'max_length': value.max_length,
        }
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: to_plain(item, f'{where}.{key}') for key, item in value.items()}
    if isinstance(value, (list, deque)):
        return [to_plain(item, f'{where}[{i}]') for i, item in enumerate(value)]
    if isinstance(value, (tuple, set, frozenset)):
        return tuple(to_plain(item, f'{where}[{i}]') for i, item in enumerate(value))
    raise TypeError(
        f'{where}: a checkpoint must hold tensors, numbers, texts, lists and dicts; got {type(value).__name__}. '
        f'Store its numbers instead.'
    )


def from_plain(value: object) -> object:
    """Rebuild the history buffers in what `to_plain` gave; the rest stays plain."""
    if isinstance(value, Mapping):
        if value.get(_KIND) == 'HistoryBuffer':
            return HistoryBuffer(value['history'], value['count'], value['max_length'])
        return {key: from_plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    return value


logger = logging.getLogger('smilfit')

# What testing asks of a config; the rest of a stranger's has no say.
_KEPT = ('model', 'refinement', 'test_dataloader', 'test_cfg', 'test_evaluator', 'randomness')
# A registered name: mmengine would import and call whatever a dotted one names.
_NAME = re.compile(r'\w+')
# Arguments that would fetch weights which the checkpoint brings, or write to a place that a stranger chose.
_EMPTIED = {'pretrained': False, 'checkpoint': None, 'init_cfg': None, 'out_file': None, 'collect_dir': None}


def plain_config(cfg: Config) -> dict[str, object]:
    """Return a config as plain values, without the keys that hold classes, functions or objects of python."""
    result: dict[str, object] = {}
    for key, value in cfg.to_dict().items():
        try:
            result[key] = to_plain(value, f'config.{key}')
        except TypeError as error:
            logger.warning('the checkpoints hold the config without its %s: %s', key, error)
    return result


def config_of_checkpoint(path: str | Path) -> Config:
    """Return what testing needs of the config of a checkpoint's training.

    Raises:
        BadFileError: it holds none, or one that asks for more than registered classes.
    """
    entry = smilfit_entry(path, read_checkpoint(path))
    stored = entry.get('config')
    if not isinstance(stored, Mapping):
        raise BadFileError(
            f'{path}: a checkpoint that is tested alone must hold its config; this one does not. Give the config '
            f'before it, as CONFIG CHECKPOINT.'
        )
    kept = {key: stored[key] for key in _KEPT if stored.get(key) is not None}
    _check_types(path, kept, 'If you trust it, give the config before it, as CONFIG CHECKPOINT.')
    kept = without_fetching(kept)
    _find_data(kept, entry)
    return Config({**kept, 'default_scope': 'smilfit', 'default_hooks': {}, 'log_level': 'WARNING'})


def model_of_checkpoint(where: str, stored: object) -> dict[str, Any] | None:
    """Read a model's config as a checkpoint holds it, a dict or JSON; None where there is none.

    Raises:
        BadFileError: no config.
    """
    if not stored or stored == 'null':
        return None
    cfg = stored
    if isinstance(stored, str):
        try:
            cfg = json.loads(stored)
        except (ValueError, RecursionError) as error:
            raise BadFileError(
                f'{where}: the config of the model in a checkpoint must be JSON; got {shorten(error)}. Give --config.'
            ) from None
    if not isinstance(cfg, dict):
        raise BadFileError(
            f'{where}: the config of the model in a checkpoint must be a dict; got {shorten(cfg)}. Give --config.'
        )
    _check_types(where, cfg, 'Give --config.')
    return without_fetching(cfg)


def without_fetching(cfg: Mapping[str, object]) -> dict[str, Any]:
    """Return a config whose parts fetch no weights, which a checkpoint's replace, and write nothing."""
    kept = copy.deepcopy(dict(cfg))
    for _, node in _dicts(kept, ''):
        node.update({key: value for key, value in _EMPTIED.items() if key in node})
    return kept


def _check_types(path: str | Path, cfg: Mapping[str, object], advice: str) -> None:
    for where, node in _dicts(cfg, ''):
        name = node.get('type', 'x')
        if '_scope_' in node or not isinstance(name, str) or not _NAME.fullmatch(name):
            raise BadFileError(
                f'{path}: {where or "the config"}.type of a checkpoint must be the name of a registered class; got '
                f'{shorten(name)}, and registered names are single words. {advice}'
            )


def _dicts(value: object, where: str) -> Iterator[tuple[str, dict[str, object]]]:
    if isinstance(value, dict):
        yield where, value
        for key, item in value.items():
            yield from _dicts(item, f'{where}.{key}'.lstrip('.'))
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _dicts(item, f'{where}[{i}]')


def _find_data(kept: dict[str, Any], entry: Mapping[str, object]) -> None:
    """Take the training's file where the config's, by the same name, is not to be found from here."""
    dataset = (kept.get('test_dataloader') or {}).get('dataset')
    if not isinstance(dataset, dict) or not isinstance(dataset.get('data_path'), str):
        return
    path, trained = Path(dataset['data_path']), entry.get('data_path')
    if not path.exists() and isinstance(trained, str) and Path(trained).name == path.name:
        dataset['data_path'] = trained
