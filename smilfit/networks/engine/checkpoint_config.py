"""The configs that a checkpoint holds, as plain values: nothing of them is ever run as python.

Types are registered names, never paths into modules: a file may choose among what is registered, and import nothing.
"""

import copy
import json
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from smilfit.files import BadFileError, shorten
from smilfit.networks.engine.checkpoint_loader import read_checkpoint, smilfit_entry
from smilfit.networks.engine.hooks.plain_values import to_plain

logger = logging.getLogger('smilfit')

# What testing asks of a config; the rest of a stranger's has no say.
_KEPT = ('model', 'refinement', 'test_dataloader', 'test_cfg', 'test_evaluator', 'randomness')
# A registered name: mmengine would import and call whatever a dotted one names.
_NAME = re.compile(r'\w+')
# Arguments that would fetch weights which the checkpoint brings, or write to a place that a stranger chose.
_EMPTIED = {'pretrained': False, 'checkpoint': None, 'init_cfg': None, 'out_file': None, 'collect_dir': None}


def plain_config(cfg: Config) -> dict[str, Any]:
    """Return a config as plain values, without the keys that hold classes, functions or objects of python."""
    result: dict[str, Any] = {}
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


def model_of_checkpoint(where: str, stored: Any) -> dict[str, Any] | None:
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


def without_fetching(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config whose parts fetch no weights, which a checkpoint's replace, and write nothing."""
    kept = copy.deepcopy(dict(cfg))
    for _, node in _dicts(kept, ''):
        node.update({key: value for key, value in _EMPTIED.items() if key in node})
    return kept


def _check_types(path: str | Path, cfg: Mapping[str, Any], advice: str) -> None:
    for where, node in _dicts(cfg, ''):
        name = node.get('type', 'x')
        if '_scope_' in node or not isinstance(name, str) or not _NAME.fullmatch(name):
            raise BadFileError(
                f'{path}: {where or "the config"}.type of a checkpoint must be the name of a registered class; got '
                f'{shorten(name)}, and registered names are single words. {advice}'
            )


def _dicts(value: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        yield where, value
        for key, item in value.items():
            yield from _dicts(item, f'{where}.{key}'.lstrip('.'))
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _dicts(item, f'{where}[{i}]')


def _find_data(kept: dict[str, Any], entry: Mapping[str, Any]) -> None:
    """Take the training's file where the config's, by the same name, is not to be found from here."""
    dataset = (kept.get('test_dataloader') or {}).get('dataset')
    if not isinstance(dataset, dict) or not isinstance(dataset.get('data_path'), str):
        return
    path, trained = Path(dataset['data_path']), entry.get('data_path')
    if not path.exists() and isinstance(trained, str) and Path(trained).name == path.name:
        dataset['data_path'] = trained
