"""Which animal is which over a whole recording: tracks of a tracker, joined where an animal was away."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from smilfit.models.tracking import Tracker, Tracks

# A track of fewer frames is taken for an error, where the recording has more.
LEAST_FRAMES = 3
# Of a recording that does not say how many animals it shows: as many as are seen at once in this share of the frames.
USUAL_SHARE = 0.1


@dataclass(frozen=True)
class Identities:
    """N animals over T frames.

    Args:
        slot: which detection of a frame is the animal; -1 where it was not found.
        sure: False where two animals are so near to each other that they may have changed places.
        joined: how often each was lost and taken up again.
        guessed: how often a returning animal could as well have been another that was away.
        surplus: detections that are no animal's: of tracks too short, or of more animals than there are.
    """

    slot: Int[np.ndarray, 'N T']
    sure: Bool[np.ndarray, 'N T']
    joined: Int[np.ndarray, ' N']
    guessed: Int[np.ndarray, ' N']
    surplus: int


@dataclass(frozen=True)
class _Track:
    """A stretch of time in which a tracker did not lose an animal: its frames, slots, sureness and ends."""

    frames: list[int]
    slots: list[int]
    sure: list[bool]
    first: Float[np.ndarray, ' D']
    last: Float[np.ndarray, ' D']


def identify(
    places: Float[np.ndarray, 'T S D'],
    there: Bool[np.ndarray, 'T S'],
    tracker: Tracker,
    n_animals: int | None = None,
) -> Identities:
    """Say who is who in all frames.

    A tracker follows the detections; then its tracks, the longest first, become those of N animals: of one that has
    none at the time, by preference the one that was last seen, or is next seen, nearest by. So one that leaves
    and comes back is the same, unless more than one was away: then it is a guess, and counted.

    Args:
        places: of the detections, in the tracker's unit.
        there: which slots hold one.
        tracker: its gate and patience.
        n_animals: how many there are; None takes as many as are seen at once in a tenth of the frames.

    Returns:
        The animals in the order in which they appear; none where nothing was ever found.
    """
    tracks = _tracks(places, there, tracker)
    least = min(LEAST_FRAMES, len(places))
    kept = sorted((t for t in tracks if len(t.frames) >= least), key=lambda t: -len(t.frames))
    count = _usual_count(kept, len(places)) if n_animals is None else n_animals
    animals: list[list[_Track]] = [[] for _ in range(count)]
    guessed = [0] * count
    surplus = sum(len(t.frames) for t in tracks) - sum(len(t.frames) for t in kept)
    for track in kept:
        away = [i for i, own in enumerate(animals) if own and not _overlaps(track, own)]
        near = [i for i in away if _reachable(track, animals[i], tracker.gate)]
        new = [i for i, own in enumerate(animals) if not own]
        if near:
            chosen = min(near, key=lambda i: _jump(track, animals[i]))
            guessed[chosen] += len(near) > 1
        elif new:
            chosen = new[0]
        elif away:
            chosen = min(away, key=lambda i: _jump(track, animals[i]))
            guessed[chosen] += len(away) > 1
        else:
            surplus += len(track.frames)
            continue
        animals[chosen].append(track)
    order = sorted(
        (i for i, own in enumerate(animals) if own), key=lambda i: min(t.frames[0] for t in animals[i])
    )
    return _joined([animals[i] for i in order], [guessed[i] for i in order], len(places), surplus)


def _joined(
    animals: Sequence[list[_Track]], guessed: Sequence[int], n_frames: int, surplus: int
) -> Identities:
    slot = np.full((len(animals), n_frames), -1)
    sure = np.ones(slot.shape, np.bool_)
    for i, own in enumerate(animals):
        for track in own:
            slot[i, track.frames], sure[i, track.frames] = track.slots, track.sure
    joined = np.array([len(own) - 1 for own in animals], np.int64)
    return Identities(slot, sure, joined, np.array(guessed, np.int64), surplus)


def _tracks(places: np.ndarray, there: np.ndarray, tracker: Tracker) -> list[_Track]:
    """Follow all detections."""
    known = Tracks.none(places.shape[-1])
    seen: dict[int, list[tuple[int, int, bool]]] = {}
    for frame, (row, mask) in enumerate(zip(places, there)):
        slots = np.flatnonzero(mask)
        known, identity, sure = tracker.follow(known, torch.from_numpy(row[slots]).float())
        for slot, number, certain in zip(slots.tolist(), identity.tolist(), sure.tolist()):
            seen.setdefault(number, []).append((frame, slot, certain))
    tracks = []
    for parts in seen.values():
        frames, slots, sure = (list(x) for x in zip(*parts))
        ends = (places[frames[0], slots[0]], places[frames[-1], slots[-1]])
        tracks.append(_Track(frames, slots, sure, *ends))
    return tracks


def _usual_count(tracks: Sequence[_Track], n_frames: int) -> int:
    """Give the most animals that are there at once in a share of the frames, and at least one."""
    count = np.zeros(n_frames, np.int64)
    for track in tracks:
        count[track.frames] += 1
    return max(1, int(np.sort(count)[::-1][int(USUAL_SHARE * n_frames)])) if n_frames else 1


def _overlaps(track: _Track, own: Sequence[_Track]) -> bool:
    return any(track.frames[0] <= t.frames[-1] and t.frames[0] <= track.frames[-1] for t in own)


def _neighbours(track: _Track, own: Sequence[_Track]) -> list[tuple[float, int]]:
    """Give distance and frames between a track and the ones before and after it in time."""
    before = [t for t in own if t.frames[-1] < track.frames[0]]
    after = [t for t in own if t.frames[0] > track.frames[-1]]
    found = []
    if before:
        last = max(before, key=lambda t: t.frames[-1])
        found.append((float(np.linalg.norm(track.first - last.last)), track.frames[0] - last.frames[-1]))
    if after:
        following = min(after, key=lambda t: t.frames[0])
        gap = following.frames[0] - track.frames[-1]
        found.append((float(np.linalg.norm(following.first - track.last)), gap))
    return found


def _jump(track: _Track, own: Sequence[_Track]) -> float:
    return min(distance for distance, _ in _neighbours(track, own))


def _reachable(track: _Track, own: Sequence[_Track], gate: float) -> bool:
    """Say whether an animal may have gone from its neighbouring tracks to this one: a gate a frame at most."""
    return all(distance <= gate * gap for distance, gap in _neighbours(track, own))
