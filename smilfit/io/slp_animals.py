"""Which animal the instances of a SLEAP multi-view project are of: by identities, groups of instances, or tracks."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from smilfit.io.sleap_labels import track_of

# What says which animal an instance is of, from the surest to the least sure.
IDENTITIES, GROUPS, TRACKS = 'identities', 'groups of instances', 'tracks'


@dataclass(frozen=True)
class SlpAnimals:
    """The animals of a session.

    Args:
        names: of those in each camera, in the order in which they appear.
        told_by: what tells them apart.
        found: the animal by the `id` of the instance; an instance that is of nobody known is not among them.
        contradicted: instances by camera that the file's groups give to another animal than their track.
    """

    names: Mapping[str, tuple[str, ...]]
    told_by: str
    found: Mapping[int, str]
    contradicted: Mapping[str, int] = field(default_factory=dict)

    def of(self, instance: Any) -> str | None:
        """Name the animal of an instance; None where nothing says."""
        return self.found.get(id(instance))

    def of_group(self, group: Any) -> str | None:
        """Name the animal of a group of instances: what most of them are."""
        found = Counter(name for i in group.instances if (name := self.of(i)) is not None)
        return found.most_common(1)[0][0] if found else None

    @property
    def shared(self) -> tuple[str, ...]:
        """Name the animals that all cameras see, in the order of the first."""
        first, *others = self.names.values()
        return tuple(name for name in first if all(name in own for own in others))


def animals_of(frames: Mapping[str, Sequence[Any]], groups: Iterable[Any]) -> SlpAnimals:
    """Say which animal each instance is of.

    `Identity` of a group of instances, else of an instance, is its animal; instances without one are what all others
    of their track are. Without identities, groups say which tracks of different cameras are one animal, by the name
    that it has in the first camera, and an instance is what most of its group are; where groups do not
    join all tracks, each track is an animal by its own name.

    Args:
        frames: sleap-io's labelled frames by camera.
        groups: its groups of instances, of all frames.
    """
    groups = list(groups)
    stated = _stated(frames, groups)
    if stated:
        found = _spread_along_tracks(frames, stated)
        return SlpAnimals(_names(frames, found), IDENTITIES, found)
    own = {id(i): str(track.name) for _, i in _instances(frames) if (track := track_of(i)) is not None}
    tracks = SlpAnimals(_names(frames, own), TRACKS, own)
    same = _joined(tracks.names, frames, own, groups)
    if same is None:
        return tracks
    mapped = {id(i): same[camera][own[id(i)]] for camera, i in _instances(frames) if id(i) in own}
    return _by_groups(frames, groups, mapped)


def _instances(frames: Mapping[str, Sequence[Any]]) -> Iterable[tuple[str, Any]]:
    for camera, labelled in frames.items():
        for frame in labelled:
            for instance in frame.instances:
                yield camera, instance


def _names(frames: Mapping[str, Sequence[Any]], found: Mapping[int, str]) -> dict[str, tuple[str, ...]]:
    names: dict[str, dict[str, None]] = {camera: {} for camera in frames}
    for camera, instance in _instances(frames):
        if id(instance) in found:
            names[camera].setdefault(found[id(instance)])
    # In one order in all cameras, so that their lists are equal where the animals are.
    return {camera: tuple(sorted(own)) for camera, own in names.items()}


def _stated(frames: Mapping[str, Sequence[Any]], groups: Sequence[Any]) -> dict[int, str]:
    """Give the identities that the file states; empty where it states none."""
    # Files of sleap-io before 0.9 know none.
    found = {
        id(i): i.identity.name for _, i in _instances(frames) if getattr(i, 'identity', None) is not None
    }
    for group in groups:
        if getattr(group, 'identity', None) is not None:
            found.update({id(instance): group.identity.name for instance in group.instances})
    return {key: str(name) for key, name in found.items() if name}


def _spread_along_tracks(frames: Mapping[str, Sequence[Any]], stated: Mapping[int, str]) -> dict[int, str]:
    """Give instances without identity that of their track, where it has one alone and nobody else has it there."""
    by_track: dict[tuple[str, int], set[str]] = {}
    for camera, instance in _instances(frames):
        track = track_of(instance)
        if track is not None and id(instance) in stated:
            by_track.setdefault((camera, id(track)), set()).add(stated[id(instance)])
    found = dict(stated)
    for camera, labelled in frames.items():
        for frame in labelled:
            taken = {stated[id(i)] for i in frame.instances if id(i) in stated}
            for instance in frame.instances:
                names = by_track.get((camera, id(track_of(instance))), set())
                if id(instance) not in found and len(names) == 1 and not names & taken:
                    found[id(instance)] = next(iter(names))
    return found


def _joined(
    names: Mapping[str, tuple[str, ...]],
    frames: Mapping[str, Sequence[Any]],
    own: Mapping[int, str],
    groups: Sequence[Any],
) -> dict[str, dict[str, str]] | None:
    """Give each camera's tracks the name of the first camera's that they share most groups with; None if unknown."""
    camera_of = {id(instance): camera for camera, instance in _instances(frames)}
    first, *others = names
    votes = {camera: np.zeros((len(names[first]), len(names[camera]))) for camera in others}
    for group in groups:
        there = {camera_of[id(i)]: own[id(i)] for i in group.instances if id(i) in own}
        if first in there:
            row = names[first].index(there[first])
            for camera in set(there) - {first}:
                votes[camera][row, names[camera].index(there[camera])] += 1
    joined = {first: {name: name for name in names[first]}}
    for camera, table in votes.items():
        # Imported late: it takes a third of a second.
        from scipy.optimize import linear_sum_assignment

        rows, columns = linear_sum_assignment(table, maximize=True)
        if len(columns) < len(names[camera]) or not (table[rows, columns] > 0).all():
            return None
        joined[camera] = {names[camera][c]: names[first][r] for r, c in zip(rows, columns)}
    return joined


def _by_groups(
    frames: Mapping[str, Sequence[Any]], groups: Sequence[Any], mapped: Mapping[int, str]
) -> SlpAnimals:
    """Give every instance of a group to the animal that most of them are of."""
    found = dict(mapped)
    for group in groups:
        most = Counter(mapped[id(i)] for i in group.instances if id(i) in mapped).most_common(1)
        if most:
            found.update({id(i): most[0][0] for i in group.instances})
    changed = Counter(camera for camera, i in _instances(frames) if found.get(id(i)) != mapped.get(id(i)))
    return SlpAnimals(_names(frames, found), GROUPS, found, changed)
