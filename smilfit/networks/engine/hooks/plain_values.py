"""Write what mmengine keeps as plain lists, numbers and texts, and rebuild it."""

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

_KIND = '__smilfit_kind__'


def to_plain(value: Any, where: str = 'checkpoint') -> Any:
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


def from_plain(value: Any) -> Any:
    """Rebuild the history buffers in what `to_plain` gave; the rest stays plain."""
    if isinstance(value, Mapping):
        if value.get(_KIND) == 'HistoryBuffer':
            return HistoryBuffer(value['history'], value['count'], value['max_length'])
        return {key: from_plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    return value
