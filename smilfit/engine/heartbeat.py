"""Processes that hear from each other while they work, so that none waits for one that is gone."""

import logging
import os
import threading
from collections.abc import Sequence
from datetime import timedelta

from torch.distributed import Store

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
        """Give the ranks that miss their beats, waiting for a few where all were heard just now."""
        for _ in range(3 * SUSPECTED):
            found = self._silent_for(SUSPECTED)
            if found:
                return found
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
    """Say that processes are gone, and what to do."""
    who = f'rank {", ".join(map(str, ranks))}' if ranks else 'rank unknown'
    return (
        f'Processes: a process of this run is gone ({who}): {how}. Look at its messages and its machine, and give '
        'the same command again: what is finished is kept.'
    )


def _key(rank: int) -> str:
    return f'smilfit/beat/{rank}'
