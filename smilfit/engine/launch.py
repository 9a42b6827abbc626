"""Devices and processes: what mmengine does for CUDA only, for the CPU too."""

import gc
import logging
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from mmengine.device import utils as mmengine_device
from torch.distributed.rendezvous import rendezvous

from smilfit.engine.heartbeat import LOST_AFTER, Heartbeat, gone_sentence
from smilfit.registry import UnknownNameError, reject_unknown

logger = logging.getLogger('smilfit')

LAUNCHERS = ('none', 'pytorch', 'slurm')
_DEFAULT_PORT = '29500'


def choose_device(name: str = 'auto') -> str:
    """Decide on which kind of device this process computes, and tell mmengine.

    Args:
        name: 'auto' (CUDA where there is one), 'cpu' or 'cuda'.

    Raises:
        ValueError: CUDA is asked for and absent.
    """
    reject_unknown('--device', 'device', [name], ('auto', 'cpu', 'cuda'))
    if name == 'auto':
        name = 'cuda' if torch.cuda.is_available() else 'cpu'
    if name == 'cuda' and not torch.cuda.is_available():
        raise ValueError('--device: cuda must be available; torch finds none. Use --device cpu.')
    # mmengine's Runner asks one module constant, set at its import, and offers no argument.
    mmengine_device.DEVICE = name
    return name


def rank_environment(launcher: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Read what a launcher says about this process, as torch.distributed's environment variables.

    Raises:
        KeyError: the process was not started by that launcher; names the missing variable.
    """
    reject_unknown('--launcher', 'launcher', [launcher], LAUNCHERS)
    if launcher == 'none':
        return {}
    names = {
        'pytorch': {'RANK': 'RANK', 'WORLD_SIZE': 'WORLD_SIZE', 'LOCAL_RANK': 'LOCAL_RANK'},
        'slurm': {'RANK': 'SLURM_PROCID', 'WORLD_SIZE': 'SLURM_NTASKS', 'LOCAL_RANK': 'SLURM_LOCALID'},
    }[launcher]
    for source in names.values():
        if source not in environment:
            start = {'pytorch': 'tools/dist_train.sh or python -m torch.distributed.run', 'slurm': 'srun'}[
                launcher
            ]
            raise UnknownNameError(
                f'--launcher {launcher}: {source} must be set in the environment; it is not. '
                f'Start the processes with {start}.'
            )
    found = {name: environment[source] for name, source in names.items()}
    found['MASTER_PORT'] = environment.get('MASTER_PORT', _DEFAULT_PORT)
    if 'MASTER_ADDR' in environment:
        found['MASTER_ADDR'] = environment['MASTER_ADDR']
    elif launcher == 'slurm' and 'SLURM_NODELIST' in environment:
        hosts = subprocess.run(
            ['scontrol', 'show', 'hostnames', environment['SLURM_NODELIST']],
            check=True,
            capture_output=True,
            text=True,
        )
        found['MASTER_ADDR'] = hosts.stdout.split()[0]
    else:
        found['MASTER_ADDR'] = '127.0.0.1'
    return found


@contextmanager
def process_group(
    launcher: str, device: str, patience: timedelta | None = None, lost_after: timedelta = LOST_AFTER
) -> Iterator[None]:
    """Join the other processes for the time of the context; does nothing for launcher 'none'.

    gloo on the CPU, nccl on CUDA. It is done before mmengine's Runner, whose own start calls CUDA always. Build what
    holds the group, such as a Runner, in a function of its own inside the context: it must be gone when the group
    is left.

    Args:
        launcher: what started the processes.
        device: the kind of device whose tensors are shared.
        patience: how long a process waits for one that works; torch's default (half an hour on the CPU) if None.
        lost_after: how long a process may not be heard before the others end, with exit code 1 and a sentence.

    Raises:
        ConnectionError: a connection broke; names the processes that are gone.
    """
    if launcher == 'none':
        yield
        return
    os.environ.update(rank_environment(launcher, os.environ))
    if device == 'cuda':
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
    dist.init_process_group('nccl' if device == 'cuda' else 'gloo', timeout=patience)
    logger.info('process %d of %d', dist.get_rank(), dist.get_world_size())
    # A connection of its own: the group's may be busy waiting.
    store, rank, count = next(rendezvous('env://'))
    heartbeat = Heartbeat(store, rank, count, lost_after).start()
    try:
        yield
        # The first process still writes when the others are done: none leaves before it.
        dist.barrier()
        heartbeat.stop()
    except (ConnectionError, RuntimeError) as error:
        if not _of_connections(error):
            raise
        raise ConnectionError(gone_sentence(heartbeat.silent(), _cut(error))) from error
    finally:
        # A model that still holds the group, in a cycle of references, would keep its threads alive until the
        # interpreter is gone, and end the process by SIGABRT.
        gc.collect()
        dist.destroy_process_group()
        heartbeat.stop()


def _of_connections(error: Exception) -> bool:
    """Say whether an error is of talking with other processes."""
    words = ('peer', 'gloo', 'onnection', 'NCCL', 'imed out', 'roken pipe')
    return isinstance(error, (ConnectionError, dist.DistError)) or any(w in str(error) for w in words)


def _cut(error: Exception) -> str:
    text = str(error.__cause__ or error).strip().splitlines()[-1:]
    return ''.join(text)[-160:]


def model_wrapper_config(device: str) -> dict[str, Any]:
    """Make the config of the distributed wrapper; without CUDA it must be given no device."""
    config: dict[str, Any] = {'type': 'MMDistributedDataParallel', 'broadcast_buffers': False}
    if device != 'cuda':
        config['device_ids'] = None
    return config
