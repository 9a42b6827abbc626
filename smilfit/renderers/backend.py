"""Which code does the work: NVIDIA Warp's kernels where it is installed, else tensor operations."""

import logging
from importlib.util import find_spec

BACKENDS = ('auto', 'warp', 'torch')


def choose_backend(backend: str, where: str) -> str:
    """Turn `'auto'` into what is installed, and tell if that is the slow one.

    Args:
        backend: `'auto'`, `'warp'` or `'torch'`.
        where: who asks, for messages.

    Raises:
        ValueError: another name.
        ImportError: `'warp'` where it is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f'{where}: backend must be one of {BACKENDS}; got {backend!r}.')
    installed = find_spec('warp') is not None
    if backend == 'warp' and not installed:
        raise ImportError(f'{where}: warp must be installed; it is not. Run: pip install warp-lang')
    if backend == 'auto' and not installed:
        logging.getLogger('smilfit').warning(
            '%s: warp-lang is not installed, so tensor operations do the work, more slowly.', where
        )
    return backend if backend != 'auto' else ('warp' if installed else 'torch')
