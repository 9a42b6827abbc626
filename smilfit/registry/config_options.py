"""`--cfg-options`: an unknown key is an error, where mmengine accepts it in silence."""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import OPTIMIZERS, PARAM_SCHEDULERS, Registry
from torch.utils.data import DataLoader

from smilfit.registry.build import accepted_arguments
from smilfit.registry.config_file import shorten_error
from smilfit.registry.registries import REGISTRIES
from smilfit.registry.spelling import UnknownNameError, did_you_mean

# What a config of a data loader may say: what `build_data_loader` takes itself, and what it hands to torch.
LOADER_KEYS = (
    *('dataset', 'sampler', 'batch_size', 'num_workers'),
    *list(inspect.signature(DataLoader.__init__).parameters)[3:],
)
_MORE_REGISTRIES: tuple[Registry, ...] = (OPTIMIZERS, PARAM_SCHEDULERS, MMENGINE_OPTIM_WRAPPERS)


def merge_options(cfg: Config, options: Mapping[str, object]) -> None:
    """Write `a.b.c=value` options into a config.

    Raises:
        KeyError: a key that neither the config nor the class it belongs to knows; names the near ones.
        ValueError: a value that cannot stand there.
    """
    for key in options:
        _check(cfg, key)
    try:
        cfg.merge_from_dict(dict(options), allow_list_keys=True)
    except (TypeError, AttributeError, AssertionError, IndexError) as error:
        raise ValueError(
            f'--cfg-options: the values must fit into the config; got {type(error).__name__}: '
            f'{shorten_error(error)}. Name a value that is no dict or list.'
        ) from error


def _check(cfg: Config, dotted: str) -> None:
    node, parts = cfg, dotted.split('.')
    for depth, part in enumerate(parts):
        where = '.'.join(parts[:depth]) or 'the config'
        if isinstance(node, (list, tuple)):
            if not part.isdigit() or int(part) >= len(node):
                raise UnknownNameError(
                    f'--cfg-options {dotted}: {where} is a list of {len(node)}; got index {part!r}.'
                )
            node = node[int(part)]
            continue
        if not isinstance(node, Mapping) and not isinstance(node, Config):
            raise UnknownNameError(
                f'--cfg-options {dotted}: {where} is a {type(node).__name__} and has no keys.'
            )
        if part not in node:
            known = set(node) | _accepted(node, parts[:depth])
            if part not in known:
                raise UnknownNameError(
                    f'--cfg-options {dotted}: no {part!r} in {where}. {did_you_mean(part, known)}'
                )
            return
        node = node[part]


def _accepted(node: Mapping[Any, object] | Config, path: Iterable[str]) -> set[str]:
    """Collect what the class of a dict takes beyond what the config says."""
    path = list(path)
    if not path and not isinstance(node.get('type'), str):
        # Imported where it is used: it brings half of torch with it, and a fit has no use for it.
        from mmengine.runner import Runner

        return set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'}
    if path and path[-1].endswith('_dataloader'):
        return set(LOADER_KEYS)
    stage = path[-2:-1] == ['stages']
    if stage or (path and path[-1] in ('schedule', 'loss_weights', 'options')) or 'schedule' in path:
        # Free-form tables; the class that takes them checks their keys.
        return _Anything()
    name = node.get('type')
    for registry in (*REGISTRIES, *_MORE_REGISTRIES) if isinstance(name, str) else ():
        cls = registry.get(name)
        if cls is not None:
            return accepted_arguments(cls)
    return accepted_arguments(name) if inspect.isclass(name) else set()


class _Anything(set):
    def __contains__(self, item: object) -> bool:
        return True

    def __or__(self, other: object) -> '_Anything':
        return self

    __ror__ = __or__
