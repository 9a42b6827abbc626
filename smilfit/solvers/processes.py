"""The processes that share a fit: one, or those of torch.distributed, which hear from each other."""

import gc
import logging
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import Store
from torch.distributed.rendezvous import rendezvous

from smilfit.registry import UnknownNameError, reject_unknown

Item = TypeVar('Item')


class Processes:
    """One process alone, which holds everything."""

    rank = 0
    count = 1

    def sum(self, value: Tensor) -> Tensor:
        """Sum a tensor over all processes."""
        return value

    def gather(self, rows: Tensor) -> Tensor:
        """Join the rows of all processes, in the order of their ranks."""
        return rows

    def gather_list(self, items: list[Item]) -> list[Item]:
        """Join the lists of all processes, in the order of their ranks."""
        return items

    def share(self, n: int) -> slice:
        """Return this process's part of n rows: contiguous, and as equal as can be."""
        return slice(self.rank * n // self.count, (self.rank + 1) * n // self.count)


class DistributedProcesses(Processes):
    """The processes of torch.distributed, whose default group must be there.

    Sums are taken in float64, so that they hardly depend on how many processes share the work. Where another process
    is gone, sums and gatherings raise ConnectionError.
    """

    def __init__(self) -> None:
        if not torch.distributed.is_initialized():
            raise RuntimeError(
                'DistributedProcesses: the process group must be there; it is not. Call '
                'torch.distributed.init_process_group first, or start with a --launcher.'
            )
        self.rank = torch.distributed.get_rank()
        self.count = torch.distributed.get_world_size()

    def sum(self, value: Tensor) -> Tensor:
        """Sum a tensor over all processes."""
        whole = value.detach().double().clone(memory_format=torch.contiguous_format)
        with _all_present():
            torch.distributed.all_reduce(whole)
        return whole.to(value.dtype)

    def gather(self, rows: Tensor) -> Tensor:
        """Join the rows of all processes, in the order of their ranks."""
        parts: list[Tensor | None] = [None] * self.count
        with _all_present():
            torch.distributed.all_gather_object(parts, rows.detach().cpu().numpy())
        return torch.cat([torch.from_numpy(part) for part in parts]).to(rows)

    def gather_list(self, items: list[Item]) -> list[Item]:
        """Join the lists of all processes, in the order of their ranks."""
        parts: list[list[Item] | None] = [None] * self.count
        with _all_present():
            torch.distributed.all_gather_object(parts, items)
        return [item for part in parts for item in part or []]


@contextmanager
def _all_present() -> Iterator[None]:
    """Describe in words that another process does not take part any more."""
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError(
            f'Processes: all processes of this run must be there; one is gone or does not answer: '
            f'{str(error)[-160:]}. Look at its messages, and give the same command again.'
        ) from error


logger = logging.getLogger('smilfit')

# A process that was not heard for so long counts as lost.
LOST_AFTER = timedelta(seconds=45)
# How often it beats in that time.
BEATS = 9
# After so many of its beats that were missed a process is suspected, where a connection broke as well.
SUSPECTED = 2


class Heartbeat:
    """Counts up in a store, reads the others' counts, and ends this process when one of them stays the same.

    Two threads: one talks with the store, which may never answer; the other judges. Time is counted in the judge's
    own rounds, so that a process that was held up itself blames nobody for it.

    Args:
        store: of the process group, on a connection of its own.
        rank: this process's.
        count: how many processes there are.
        lost_after: how long one may be silent.
    """

    def __init__(self, store: Store, rank: int, count: int, lost_after: timedelta = LOST_AFTER) -> None:
        self.store, self.rank, self.count = store, rank, count
        self.interval_s = lost_after.total_seconds() / BEATS
        self._counts = [0] * count
        self._judged = [0] * count
        self._missed = [0] * count
        self._rounds = self._rounds_judged = self._rounds_missed = 0
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=f, daemon=True) for f in (self._talk, self._judge)]

    def start(self) -> 'Heartbeat':
        """Begin to beat and to listen."""
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """Be silent; the others take this process for lost if they still work."""
        self._stopped.set()
        for thread in self._threads:
            # One that the store never answers is left behind.
            thread.join(self.interval_s)

    def silent(self) -> list[int]:
        """Return the ranks that miss their beats, waiting for a few where all were heard just now."""
        for _ in range(3 * SUSPECTED):
            result = self._silent_for(SUSPECTED)
            if result:
                return result
            self._stopped.wait(self.interval_s)
        return self._silent_for(SUSPECTED)

    def _talk(self) -> None:
        while not self._stopped.is_set():
            try:
                self.store.add(_key(self.rank), 1)
                self._counts = [self.store.add(_key(rank), 0) for rank in range(self.count)]
                self._rounds += 1
            except RuntimeError as error:
                # The judge counts rounds that do not come about.
                logger.debug('heartbeat: the store does not answer: %s', error)
            self._stopped.wait(self.interval_s)

    def _judge(self) -> None:
        while not self._stopped.wait(self.interval_s):
            heard, rounds = self._counts, self._rounds
            self._rounds_missed = 0 if rounds != self._rounds_judged else self._rounds_missed + 1
            if rounds != self._rounds_judged:
                pairs = zip(heard, self._judged, self._missed)
                self._missed = [0 if now != before else n + 1 for now, before, n in pairs]
            self._judged, self._rounds_judged = heard, rounds
            gone = self._silent_for(BEATS)
            if gone and not self._stopped.is_set():
                self._end(gone)

    def _silent_for(self, beats: int) -> list[int]:
        # The first process holds the store.
        if self._rounds_missed >= beats:
            return [0] if self.rank else []
        return [r for r, missed in enumerate(self._missed) if missed >= beats and r != self.rank]

    def _end(self, gone: Sequence[int]) -> None:
        """End this process, whose main thread may wait in a library that no exception reaches."""
        logger.error('error: %s', gone_sentence(gone, f'not heard for {BEATS * self.interval_s:.0f} s'))
        os._exit(1)


def gone_sentence(ranks: Sequence[int], how: str) -> str:
    """Report that processes are gone, and what to do."""
    who = f'rank {", ".join(map(str, ranks))}' if ranks else 'rank unknown'
    return (
        f'Processes: a process of this run is gone ({who}): {how}. Look at its messages and its machine, and give '
        'the same command again: what is finished is kept.'
    )


def _key(rank: int) -> str:
    return f'smilfit/beat/{rank}'


LAUNCHERS = ('none', 'pytorch', 'slurm')
_DEFAULT_PORT = '29500'


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
    result = {name: environment[source] for name, source in names.items()}
    result['MASTER_PORT'] = environment.get('MASTER_PORT', _DEFAULT_PORT)
    if 'MASTER_ADDR' in environment:
        result['MASTER_ADDR'] = environment['MASTER_ADDR']
    elif launcher == 'slurm' and 'SLURM_NODELIST' in environment:
        hosts = subprocess.run(
            ['scontrol', 'show', 'hostnames', environment['SLURM_NODELIST']],
            check=True,
            capture_output=True,
            text=True,
        )
        result['MASTER_ADDR'] = hosts.stdout.split()[0]
    else:
        result['MASTER_ADDR'] = '127.0.0.1'
    return result


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
    """Check whether an error is of talking with other processes."""
    words = ('peer', 'gloo', 'onnection', 'NCCL', 'imed out', 'roken pipe')
    return isinstance(error, (ConnectionError, dist.DistError)) or any(w in str(error) for w in words)


def _cut(error: Exception) -> str:
    text = str(error.__cause__ or error).strip().splitlines()[-1:]
    return ''.join(text)[-160:]
