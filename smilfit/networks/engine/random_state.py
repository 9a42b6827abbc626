"""The state of all random number generators, as tensors and lists."""

import random
from typing import Any

import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """Read the state of python's, numpy's and torch's generators (of CUDA's too, where there is one)."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - what transforms use
    state = {
        'python': {'version': version, 'numbers': list(numbers), 'gauss': gauss},
        'numpy': {
            'name': name,
            'keys': [int(key) for key in keys],
            'position': int(position),
            'has_gauss': int(has_gauss),
            'cached': float(cached),
        },
        'torch': torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Set all generators to a state read by `random_state`."""
    python, numpy = state['python'], state['numpy']
    random.setstate((python['version'], tuple(python['numbers']), python['gauss']))
    keys = np.asarray(numpy['keys'], dtype=np.uint32)
    np.random.set_state(  # noqa: NPY002
        (numpy['name'], keys, numpy['position'], numpy['has_gauss'], numpy['cached'])
    )
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


def seed_worker(worker_id: int) -> None:
    """Seed a data loader's worker from torch's seed of this epoch.

    mmengine's own function gives a worker the same numpy seed in every epoch, so that every epoch sees the
    same augmentations.
    """
    seed = torch.initial_seed() % 2**32
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
