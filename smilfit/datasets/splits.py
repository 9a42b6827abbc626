"""Divide samples into train, val and test by blocks of time or by session, never by shuffled neighbours."""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from smilfit.registry import did_you_mean

SPLITS = ('train', 'val', 'test')
SPLIT_BYS = ('time_block', 'session', 'auto')
# From so many sessions on 'auto' holds whole ones out.
LEAST_SESSIONS = 5


def split_samples(
    session: Int[np.ndarray, 'N'],
    frame: Int[np.ndarray, 'N'],
    session_names: Sequence[str],
    split_by: str = 'time_block',
    ratios: Sequence[float] = (0.85, 0.05, 0.1),
    block_size: int = 100,
    gap: int = 2,
    temporal: Sequence[bool] | None = None,
) -> dict[str, Int[np.ndarray, ' _n']]:
    """Give the sample numbers of each split, in order; the same in every run and on every machine.

    Args:
        session: each sample's session.
        frame: each sample's frame in its session.
        session_names: names of the sessions.
        split_by: 'time_block' lays all sessions end to end and repeats stretches of train, val and test over
            them; 'session' deals out whole sessions; 'auto' is 'session' for 5 sessions or more, else 'time_block'.
        ratios: shares of train, val and test; their sum is 1.
        block_size: least samples of the shortest stretch; where the file has fewer, each split is one stretch.
        gap: training samples within this many frames of a held-out one are in no split, and validation samples
            within it of a test sample; 0 keeps all.
        temporal: which sessions' samples follow one another; stills have no neighbours to keep a gap from. None
            for all.

    Raises:
        ValueError: ratios that are no shares, or sessions too few for 'session'.
    """
    if len(ratios) != 3 or any(r < 0 for r in ratios) or not math.isclose(sum(ratios), 1.0, abs_tol=1e-6):
        raise ValueError(
            f'split: ratios must be three shares (train, val, test) of sum 1; got {tuple(ratios)}.'
        )
    if block_size < 1 or gap < 0:
        raise ValueError(f'split: block_size must be at least 1 and gap 0; got {block_size} and {gap}.')
    split_by = chosen_split(split_by, len(session_names))
    if split_by == 'session':
        label = _by_session(session_names, ratios)[session]
    elif split_by == 'time_block':
        label = _by_time_block(len(session), ratios, block_size)
        in_time = [s for s in np.unique(session).tolist() if temporal is None or temporal[s]]
        label = _open_gaps(label, session, frame, gap, in_time)
    else:
        raise ValueError(
            f'split: split_by must be one of {SPLIT_BYS}; got {split_by!r}. {did_you_mean(split_by, SPLIT_BYS)}'
        )
    return {name: np.flatnonzero(label == i) for i, name in enumerate(SPLITS)}


def chosen_split(split_by: str, n_sessions: int) -> str:
    """Say what 'auto' is for so many sessions; others stay."""
    if split_by != 'auto':
        return split_by
    return 'session' if n_sessions >= LEAST_SESSIONS else 'time_block'


def _by_session(names: Sequence[str], ratios: Sequence[float]) -> np.ndarray:
    """Deal out sessions in an order that depends on their names only, one at least to each wanted split."""
    wanted = [i for i in range(3) if ratios[i] > 0]
    if len(names) < len(wanted):
        raise ValueError(
            f'split: sessions must be at least {len(wanted)} to split by session; got {len(names)}. '
            "Use split_by='time_block', or set the ratio of a split to 0."
        )
    # Recording order follows the date, and with it light and animal: a hash of the name does not.
    order = sorted(range(len(names)), key=lambda i: hashlib.sha256(names[i].encode()).hexdigest())
    counts = [max(1, round(ratios[i] * len(names))) if i in wanted else 0 for i in range(3)]
    while sum(counts) != len(names):
        change = 1 if sum(counts) < len(names) else -1
        best = max(
            wanted, key=lambda i: (change > 0 or counts[i] > 1, change * (ratios[i] * len(names) - counts[i]))
        )
        counts[best] += change
    label = np.empty(len(names), np.int64)
    label[order] = np.repeat([0, 1, 2], counts)
    return label


def _by_time_block(n: int, ratios: Sequence[float], block_size: int) -> np.ndarray:
    """Repeat a stretch of train, one of val and one of test over all sessions laid end to end.

    Few long stretches have few neighbours of another split, so that gaps cost few samples.
    """
    smallest = min(r for r in ratios if r > 0)
    periods = max(1, int(n * smallest / block_size))
    phase = (np.arange(n) + 0.5) / n * periods % 1.0
    return np.searchsorted(np.cumsum(ratios)[:2], phase, side='right')


def _open_gaps(
    label: np.ndarray, session: np.ndarray, frame: np.ndarray, gap: int, in_time: Sequence[int]
) -> np.ndarray:
    """Take samples near those of a later split out of all splits."""
    opened = label.copy()
    for s in in_time if gap else ():
        here = np.flatnonzero(session == s)
        for split in (0, 1):
            held = np.sort(frame[here][label[here] > split])
            mine = here[label[here] == split]
            if len(held) and len(mine):
                after = np.searchsorted(held, frame[mine])
                to_next = np.abs(held[np.minimum(after, len(held) - 1)] - frame[mine])
                to_last = np.abs(frame[mine] - held[np.maximum(after - 1, 0)])
                opened[mine[np.minimum(to_next, to_last) <= gap]] = -1
    return opened
