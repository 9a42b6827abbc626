"""Which animal is which over time: followed from frame to frame, and over a whole recording."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Tracks:
    """What a tracker knows after a frame: N animals that live.

    `position` and `velocity` (a frame) are in the detections' space: points of the world, or boxes (x, y, side) px of
    one view. `missed` counts the frames since each was last seen; `next_identity` is the next newcomer's.
    """

    position: Float[Tensor, 'N D']
    velocity: Float[Tensor, 'N D']
    identity: Int[Tensor, ' N']
    missed: Int[Tensor, ' N']
    next_identity: int = 0

    @classmethod
    def none(cls, n_dims: int) -> 'Tracks':
        """Begin without animals."""
        whole = torch.zeros(0, dtype=torch.long)
        return cls(torch.zeros(0, n_dims), torch.zeros(0, n_dims), whole, whole)


@dataclass(frozen=True)
class Tracker:
    """Follow animals by where they should be by now: constant velocity, the assignment that costs least, a gate.

    Args:
        gate: distance from where an animal is expected beyond which a detection is not it, in the detections' unit.
            Half of an animal's length is a good start.
        max_missed: frames after which an animal that nobody sees is given up.
        position_gain: share of the difference between detection and expectation that the position takes on.
        velocity_gain: the same for the velocity.
        margin: an identity is sure if exchanging it with another's costs at least this share of the gate.
    """

    gate: float
    max_missed: int = 10
    position_gain: float = 0.85
    velocity_gain: float = 0.4
    margin: float = 0.25

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not self.gate > 0 or self.max_missed < 0:
            raise ValueError(
                f'Tracker: the gate must be positive and max_missed at least 0; got {self.gate} and '
                f'{self.max_missed}.'
            )

    def follow(
        self, tracks: Tracks, detections: Float[Tensor, 'A D']
    ) -> tuple[Tracks, Int[Tensor, ' A'], Bool[Tensor, ' A']]:
        """Take in a frame's detections.

        Args:
            tracks: after the frame before.
            detections: of this frame; there may be none.

        Returns:
            The tracks after this frame, each detection's identity, and whether it is sure: False in a frame in which
            two animals are so near to each other that they may have changed places.
        """
        expected = tracks.position + tracks.velocity
        distance = torch.cdist(expected, detections.to(expected))
        pairs = self._assign(distance)
        track, detection = pairs.unbind(-1)
        position, velocity = expected.clone(), tracks.velocity.clone()
        surprise = detections[detection].to(expected) - expected[track]
        position[track] += self.position_gain * surprise
        # What was not seen for a while moved by the surprise over all these frames.
        since = (tracks.missed[track] + 1).unsqueeze(-1)
        velocity[track] += self.velocity_gain * surprise / since
        missed = tracks.missed + 1
        missed[track] = 0
        identity = torch.full((len(detections),), -1, dtype=torch.long)
        identity[detection] = tracks.identity[track]
        sure = torch.ones(len(detections), dtype=torch.bool)
        sure[detection] = self._sure(distance, track, detection)
        born = (identity < 0).nonzero().flatten()
        identity[born] = tracks.next_identity + torch.arange(len(born))
        lives = missed <= self.max_missed
        new = detections[born].to(expected)
        return (
            replace(
                tracks,
                position=torch.cat((position[lives], new)),
                velocity=torch.cat((velocity[lives], torch.zeros_like(new))),
                identity=torch.cat((tracks.identity[lives], identity[born])),
                missed=torch.cat((missed[lives], torch.zeros_like(born))),
                next_identity=tracks.next_identity + len(born),
            ),
            identity,
            sure,
        )

    def _assign(self, distance: Float[Tensor, 'N A']) -> Int[Tensor, 'n 2']:
        """Pair tracks and detections within the gate: as many as can be, then the nearest."""
        # Beyond the gate a pair costs more than any number of pairs within it.
        beyond = (min(distance.shape) + 1) * self.gate
        cost = torch.where(distance <= self.gate, distance, torch.full_like(distance, beyond))
        # Imported late: it takes a third of a second.
        from scipy.optimize import linear_sum_assignment

        rows, columns = linear_sum_assignment(cost.double().numpy())
        pairs = torch.stack((torch.as_tensor(rows), torch.as_tensor(columns)), -1).long()
        return pairs[distance[pairs[:, 0], pairs[:, 1]] <= self.gate]

    def _sure(
        self, distance: Tensor, track: Int[Tensor, ' n'], detection: Int[Tensor, ' n']
    ) -> Bool[Tensor, ' n']:
        """Return which pairs would cost more by `margin` gates in any exchange of two."""
        own = distance[track, detection]
        across = distance[track][:, detection]
        rise = across + across.T - own - own.unsqueeze(-1)
        rise = rise.fill_diagonal_(torch.inf)
        return (rise >= self.margin * self.gate).all(-1)


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
    valid: Bool[np.ndarray, 'T S'],
    tracker: Tracker,
    n_animals: int | None = None,
) -> Identities:
    """Return who is who in all frames.

    A tracker follows the detections; then its tracks, the longest first, become those of N animals: of one that has
    none at the time, by preference the one that was last seen, or is next seen, nearest by. So one that leaves
    and comes back is the same, unless more than one was away: then it is a guess, and counted.

    Args:
        places: of the detections, in the tracker's unit.
        valid: which slots hold one.
        tracker: its gate and patience.
        n_animals: how many there are; None takes as many as are seen at once in a tenth of the frames.

    Returns:
        The animals in the order in which they appear; none where nothing was ever found.
    """
    tracks = _tracks(places, valid, tracker)
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


def _tracks(places: np.ndarray, valid: np.ndarray, tracker: Tracker) -> list[_Track]:
    known = Tracks.none(places.shape[-1])
    parts: dict[int, tuple[list[int], list[int], list[bool]]] = {}
    for frame, (row, mask) in enumerate(zip(places, valid)):
        used = np.flatnonzero(mask)
        known, identity, is_sure = tracker.follow(known, torch.from_numpy(row[used]).float())
        for slot, number, certain in zip(used.tolist(), identity.tolist(), is_sure.tolist()):
            frames_of, slots_of, sure_of = parts.setdefault(number, ([], [], []))
            frames_of.append(frame)
            slots_of.append(slot)
            sure_of.append(certain)
    return [
        _Track(frames, slots, sure, places[frames[0], slots[0]], places[frames[-1], slots[-1]])
        for frames, slots, sure in parts.values()
    ]


def _usual_count(tracks: Sequence[_Track], n_frames: int) -> int:
    """Return the most animals that are there at once in a share of the frames, and at least one."""
    count = np.zeros(n_frames, np.int64)
    for track in tracks:
        count[track.frames] += 1
    return max(1, int(np.sort(count)[::-1][int(USUAL_SHARE * n_frames)])) if n_frames else 1


def _overlaps(track: _Track, own: Sequence[_Track]) -> bool:
    return any(track.frames[0] <= t.frames[-1] and t.frames[0] <= track.frames[-1] for t in own)


def _neighbours(track: _Track, own: Sequence[_Track]) -> list[tuple[float, int]]:
    """Return distance and frames between a track and the ones before and after it in time."""
    before = [t for t in own if t.frames[-1] < track.frames[0]]
    after = [t for t in own if t.frames[0] > track.frames[-1]]
    result = []
    if before:
        last = max(before, key=lambda t: t.frames[-1])
        result.append((float(np.linalg.norm(track.first - last.last)), track.frames[0] - last.frames[-1]))
    if after:
        following = min(after, key=lambda t: t.frames[0])
        gap = following.frames[0] - track.frames[-1]
        result.append((float(np.linalg.norm(following.first - track.last)), gap))
    return result


def _jump(track: _Track, own: Sequence[_Track]) -> float:
    return min(distance for distance, _ in _neighbours(track, own))


def _reachable(track: _Track, own: Sequence[_Track], gate: float) -> bool:
    """Check whether an animal may have gone from its neighbouring tracks to this one: a gate a frame at most."""
    return all(distance <= gate * gap for distance, gap in _neighbours(track, own))
