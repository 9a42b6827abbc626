"""Points along a chain of joints, such as a tail: the annotator's few against the rig's many."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from smilfit.body_models.data import BodyModelData
from smilfit.io.lookup_proposals.part_names import PartName, load_parts, read_name, says

# A point that lies so near to a joint is the joint, share of the chain.
_AT_JOINT = 0.05


@dataclass(frozen=True)
class ChainPlace:
    """A place in a chain: a joint, and how far on towards the next (share of that bone); `end` is 'base' or 'tip'."""

    joint: str
    share: float
    end: str = ''


def chain_places(names: Mapping[str, PartName], body: BodyModelData) -> dict[str, ChainPlace]:
    """Place the points that annotators numbered along a chain, evenly by length from its base to its tip.

    Args:
        names: annotated keypoints by their names.
        body: the model.

    Returns:
        By annotated name; those alone of chains whose ends are annotated, and that the model has.
    """
    found: dict[str, ChainPlace] = {}
    for chain, spellings in load_parts().chains.items():
        for side in ('', 'left', 'right'):
            joints = chain_joints(body, spellings, side)
            given = {n: name for n, name in names.items() if name.side == side}
            if len(joints) > 1:
                found |= _placed(_members(given, chain, spellings), joints, body)
    return found


def chain_joints(body: BodyModelData, spellings: frozenset[tuple[str, ...]], side: str) -> list[int]:
    """Give the joints of a chain from its base to its tip: numbered ones, each the child of the one before."""
    found: list[int] = []
    for j, name in enumerate(map(read_name, body.joint_names)):
        if name.side == side and says(name.words, spellings) and name.numbers:
            # A second chain of these words begins: a fork is none.
            if found and body.parents[j] != found[-1]:
                return []
            found.append(j)
    return found


def _members(
    given: Mapping[str, PartName], chain: str, spellings: frozenset[tuple[str, ...]]
) -> tuple[str | None, list[str], str | None]:
    """Give an annotator's base, numbered points in order, and tip of a chain."""
    ends: list[str | None] = []
    for end in ('base', 'tip'):
        part = next((part for part in load_parts().parts if part.name == f'{chain} {end}'), None)
        fitting = [n for n, name in given.items() if part and says(name.words, part.names)]
        ends.append(fitting[0] if len(fitting) == 1 else None)
    numbered = [n for n, name in given.items() if says(name.words, spellings) and name.numbers]
    middle = next((part for part in load_parts().parts if part.name == f'{chain} middle'), None)
    if not numbered and middle:
        numbered = [n for n, name in given.items() if says(name.words, middle.names)]
    return ends[0], sorted(numbered, key=lambda n: given[n].numbers), ends[1]


def _placed(
    members: tuple[str | None, list[str], str | None], joints: Sequence[int], body: BodyModelData
) -> dict[str, ChainPlace]:
    base, between, tip = members
    found = {}
    names = [body.joint_names[j] for j in joints]
    if base is not None:
        found[base] = ChainPlace(names[0], 0.0, 'base')
    if tip is not None:
        found[tip] = ChainPlace(names[-1], 0.0, 'tip')
    if base is None or tip is None:
        return found
    lengths = np.linalg.norm(np.diff(body.joints[list(joints)], axis=0), axis=1)
    at = np.concatenate(([0.0], np.cumsum(lengths))) / lengths.sum()
    for i, name in enumerate(between, start=1):
        wanted = i / (len(between) + 1)
        nearest = int(np.abs(at - wanted).argmin())
        if abs(at[nearest] - wanted) < _AT_JOINT:
            found[name] = ChainPlace(names[nearest], 0.0)
        else:
            before = int(np.searchsorted(at, wanted)) - 1
            share = (wanted - at[before]) / (at[before + 1] - at[before])
            found[name] = ChainPlace(names[before], float(share))
    return found
