"""Match an annotator's keypoints with a model's by what their names mean."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from smilfit.body_models.data import BodyModelData, Landmark
from smilfit.body_models.keypoint_rows import keypoint_definitions
from smilfit.files import write_text
from smilfit.io.landmark_rows import BODY_LENGTH, cells_of, moved_by
from smilfit.io.lookup import LANDMARK_COLUMNS
from smilfit.io.lookup_proposals.body_axes import BodyAxes
from smilfit.io.lookup_proposals.part_names import (
    LEFT,
    RIGHT,
    Part,
    PartName,
    load_parts,
    nearly_says,
    part_of,
    read_name,
    says,
)

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
    result: dict[str, ChainPlace] = {}
    for chain, spellings in load_parts().chains.items():
        for side in ('', 'left', 'right'):
            joints = chain_joints(body, spellings, side)
            given = {n: name for n, name in names.items() if name.side == side}
            if len(joints) > 1:
                result |= _placed(_members(given, chain, spellings), joints, body)
    return result


def chain_joints(body: BodyModelData, spellings: frozenset[tuple[str, ...]], side: str) -> list[int]:
    """Return the joints of a chain from its base to its tip: numbered ones, each the child of the one before."""
    result: list[int] = []
    for j, name in enumerate(map(read_name, body.joint_names)):
        if name.side == side and says(name.words, spellings) and name.numbers:
            # A second chain of these words begins: a fork is none.
            if result and body.parents[j] != result[-1]:
                return []
            result.append(j)
    return result


def _members(
    given: Mapping[str, PartName], chain: str, spellings: frozenset[tuple[str, ...]]
) -> tuple[str | None, list[str], str | None]:
    """Return an annotator's base, numbered points in order, and tip of a chain."""
    ends: list[str | None] = []
    for end in ('base', 'tip'):
        part = next((part for part in load_parts().parts if part.name == f'{chain} {end}'), None)
        fitting = [n for n, name in given.items() if part and says(name.words, part.names)]
        ends.append(fitting[0] if len(fitting) == 1 else None)
    numbered = [n for n, name in given.items() if says(name.words, spellings) and name.numbers]
    centre = next((part for part in load_parts().parts if part.name == f'{chain} middle'), None)
    if not numbered and centre:
        numbered = [n for n, name in given.items() if says(name.words, centre.names)]
    return ends[0], sorted(numbered, key=lambda n: given[n].numbers), ends[1]


def _placed(
    members: tuple[str | None, list[str], str | None], joints: Sequence[int], body: BodyModelData
) -> dict[str, ChainPlace]:
    base, between, tip = members
    result = {}
    names = [body.joint_names[j] for j in joints]
    if base is not None:
        result[base] = ChainPlace(names[0], 0.0, 'base')
    if tip is not None:
        result[tip] = ChainPlace(names[-1], 0.0, 'tip')
    if base is None or tip is None:
        return result
    lengths = np.linalg.norm(np.diff(body.joints[list(joints)], axis=0), axis=1)
    at = np.concatenate(([0.0], np.cumsum(lengths))) / lengths.sum()
    for i, name in enumerate(between, start=1):
        wanted = i / (len(between) + 1)
        nearest = int(np.abs(at - wanted).argmin())
        if abs(at[nearest] - wanted) < _AT_JOINT:
            result[name] = ChainPlace(names[nearest], 0.0)
        else:
            before = int(np.searchsorted(at, wanted)) - 1
            share = (wanted - at[before]) / (at[before + 1] - at[before])
            result[name] = ChainPlace(names[before], float(share))
    return result


# How far from the line out of the joint a vertex may lie, share of the body; then farther ones.
_REACHES = (0.02, 0.04, 0.08)
# A joint so near to its tip is the tip, share of the body.
_AT_TIP = 0.02
# A vertex counts to the bones around a joint where they carry so much of it.
_LEAST_WEIGHT = 0.3


def skin_vertex(body: BodyModelData, joint: str, towards: str, side: str, axes: BodyAxes) -> int | None:
    """Find the skin's outermost vertex from a joint.

    Args:
        body: the model, at rest.
        joint: its name.
        towards: `'up'` or `'side'`.
        side: `'left'`, `'right'`, or none: then that of the joint.
        axes: of the model.

    Returns:
        A vertex that the joint, its parent or its children move; None where there is none in that direction.
    """
    index = body.joint_names.index(joint)
    start = body.joints[index]
    direction = axes.up if towards == 'up' else axes.left * _sign(body, start, side, axes)
    return _outermost(body, start, direction, _share_of(body, index) >= _LEAST_WEIGHT)


def skin_from(
    body: BodyModelData, start: Float[np.ndarray, '3'], towards: str, side: str, axes: BodyAxes
) -> int | None:
    """Find the skin's outermost vertex from a point, straight above it or to a side; None where there is none."""
    direction = axes.left * _sign(body, start, side, axes) if towards == 'side' else axes.up
    return _outermost(body, start, direction, np.ones(body.n_vertices, bool))


def _outermost(
    body: BodyModelData,
    start: Float[np.ndarray, '3'],
    direction: Float[np.ndarray, '3'],
    ours: Bool[np.ndarray, 'V'],
) -> int | None:
    offsets = body.v_template - start
    along = offsets @ direction
    across = np.linalg.norm(offsets - along[:, None] * direction, axis=1)
    for reach in _REACHES:
        near = np.flatnonzero(ours & (along > 0) & (across < reach * body.rest_size))
        if len(near):
            return int(near[(along - across)[near].argmax()])
    return None


def tip_vertex(body: BodyModelData, joint: str) -> int | None:
    """Find the tip of the last bone of a chain, farthest out along it; None where the joint itself is there."""
    index = body.joint_names.index(joint)
    direction = body.joints[index] - body.joints[max(int(body.parents[index]), 0)]
    length = np.linalg.norm(direction)
    ours = np.flatnonzero(_share_of(body, index) >= _LEAST_WEIGHT)
    if not length or not len(ours):
        return None
    along = (body.v_template[ours] - body.joints[index]) @ (direction / length)
    farthest = int(along.argmax())
    return int(ours[farthest]) if along[farthest] > _AT_TIP * body.rest_size else None


def _sign(body: BodyModelData, start: Float[np.ndarray, '3'], side: str, axes: BodyAxes) -> float:
    if side:
        return {LEFT: 1.0, RIGHT: -1.0}[side]
    return 1.0 if (start - body.joints.mean(0)) @ axes.left >= 0 else -1.0


def _share_of(body: BodyModelData, joint: int) -> Float[np.ndarray, 'V']:
    """Sum the skinning weights of a joint and its neighbours in the tree."""
    around = {joint, int(body.parents[joint]), *np.flatnonzero(body.parents == joint).tolist()}
    ours = np.isin(body.weights.cols, sorted(around))
    return np.bincount(body.weights.rows[ours], body.weights.values[ours], body.n_vertices)


# The same name; another word for the part; a near spelling, or a place along a chain.
CONFIDENCES = ('sure', 'likely', 'guess')
# How far a label may be from a proposed place of the skin, share of the body: a fat animal bulges out of a lean
# model, whose legs would be splayed to reach its labels.
SKIN_SD = 0.05
# So many of the annotator's names are the model's own: then they mean the model's points.
_SAME_VOCABULARY = 0.8


@dataclass(frozen=True)
class ProposedRow:
    """A row of a proposed lookup; `model` and `confidence` are empty where nothing fits.

    Args:
        data: the annotated keypoint.
        model: the model's keypoint, or the name of the landmark in `cells`.
        cells: of `LANDMARK_COLUMNS`.
        confidence: one of `CONFIDENCES`.
        remark: why, in words.
    """

    data: str
    model: str = ''
    cells: dict[str, str] = field(default_factory=dict)
    confidence: str = ''
    remark: str = ''


def propose_lookup(
    body: BodyModelData, names: Sequence[str], axes: BodyAxes, offset_sd: float = SKIN_SD
) -> list[ProposedRow]:
    """Propose a row for every annotated keypoint.

    Args:
        body: the model.
        names: the annotator's keypoints.
        axes: the model's.
        offset_sd: how far labels may be from proposed places of the skin, share of the body.

    Returns:
        One row a name, in their order. No two have one place of the model.
    """
    return _Proposal(body, names, axes, offset_sd).rows()


class _Proposal:
    def __init__(self, body: BodyModelData, names: Sequence[str], axes: BodyAxes, offset_sd: float) -> None:
        self.body, self.axes, self.offset_sd = body, axes, offset_sd
        self.table = table = keypoint_definitions(body)
        # A keypoint of a set comes by its plain name too.
        own = {f'{s}/{name}' for s, keypoints in body.keypoint_sets.items() for name in keypoints}
        self.known = {name: read_name(name) for name in table if name not in own or name in body.joint_names}
        self.names = {name: read_name(name) for name in names}
        by_spelling: dict[PartName, list[str]] = {}
        for name, read in self.known.items():
            by_spelling.setdefault(read, []).append(name)
        self.by_spelling = by_spelling
        same = sum(name in self.known or read in by_spelling for name, read in self.names.items())
        self.same_vocabulary = bool(names) and same >= _SAME_VOCABULARY * len(names)
        self.places = {} if self.same_vocabulary else chain_places(self.names, body)

    def rows(self) -> list[ProposedRow]:
        result = [self._row(name) for name in self.names]
        taken: dict[str, str] = {}
        rows = []
        # The surer row keeps a place that two names claim.
        order = sorted(range(len(result)), key=lambda i: [*CONFIDENCES, ''].index(result[i].confidence))
        for i in order:
            row = result[i]
            place = row.cells.get('vertices') or (row.model if not row.cells else str(row.cells))
            if row.confidence and place in taken:
                reason = f'{place} is {taken[place]} already: choose another place'
                row = ProposedRow(row.data, remark=reason)
            elif row.confidence:
                taken[place] = row.data
            rows.append((i, row))
        return [row for _, row in sorted(rows, key=lambda item: item[0])]

    def _row(self, data: str) -> ProposedRow:
        name = self.names[data]
        if self.same_vocabulary:
            if data in self.known:
                return ProposedRow(data, data, confidence='sure', remark='the same name')
            if len(self.by_spelling.get(name, ())) == 1:
                return ProposedRow(data, self.by_spelling[name][0], confidence='sure', remark='the same name')
        part = part_of(name)
        for instead in part.instead if part else ():
            result, how = self._candidates(name, load_parts().named(instead))
            if len(result) == 1:
                remark = f'a label called {data} is taken for the {instead}, which is seen'
                return ProposedRow(data, result[0], confidence='guess', remark=remark)
        result, how = self._same_name(data, name)
        if not result and part:
            result, how = self._candidates(name, part)
        if part and not any(says(self.known[known].words, part.names) for known in result):
            between = self._between(data, part)
            if between is not None:
                return between
        place = self.places.get(data)
        if place and not (place.end and len(result) == 1):
            return self._along(data, place)
        if not result:
            return ProposedRow(data, remark='nothing of the model is called so')
        if len(result) > 1:
            return ProposedRow(data, remark=f'several fit: {", ".join(result[:8])}')
        return self._on_skin(data, result[0], how, part)

    def _same_name(self, data: str, name: PartName) -> tuple[list[str], str]:
        spelt = self.by_spelling.get(name, [])
        return ([data] if data in spelt else spelt), 'sure'

    def _candidates(self, name: PartName, part: Part) -> tuple[list[str], str]:
        """Find the model's keypoints of a part, on the same side and of the same numbers; names before bones."""
        here = {known: read for known, read in self.known.items() if read.place == name.place}
        if not name.numbers:
            # A rig may number what an annotator has one of.
            here = {known: read for known, read in self.known.items() if read.side == name.side}
        ways = (
            ('likely', lambda words: says(words, part.names)),
            ('likely', lambda words: says(words, part.joints)),
            ('guess', lambda words: nearly_says(words, part.names | part.joints)),
        )
        for how, fits in ways:
            result = [known for known, read in here.items() if fits(read.words)]
            bare = [known for known in result if not self.known[known].numbers]
            if result:
                return self._different(bare or result), how
        return [], ''

    def _between(self, data: str, part: Part) -> ProposedRow | None:
        """Return the skin about the middle of two other parts; None where that is not how the part lies."""
        side = self.names[data].side
        joints = [self._joint_of(name, side) for name in part.between]
        ends = [joint for joint in joints if joint is not None]
        if not joints or len(ends) < len(joints):
            return None
        centre = np.mean([self.body.joints[self.body.joint_names.index(joint)] for joint in ends], axis=0)
        vertex = skin_from(self.body, centre, part.skin, side, self.axes)
        if vertex is None:
            return None
        remark = f'the skin midway between {" and ".join(ends)}'
        return self._landmark(data, _skin_landmark(vertex, self.body), 'guess', remark)

    def _joint_of(self, part: str, side: str) -> str | None:
        """Name the joint of a part on a side, or of one that has none."""
        result, _ = self._candidates(PartName((), side, ()), load_parts().named(part))
        joints = [name for name in result if name in self.body.joint_names]
        if not joints:
            # A rig calls a chain's base by its number.
            chain = load_parts().chains.get(part.removesuffix(' base'), frozenset())
            joints = [self.body.joint_names[j] for j in chain_joints(self.body, chain, side)[:1]]
        return joints[0] if len(joints) == 1 else None

    def _different(self, names: list[str]) -> list[str]:
        """Leave out names of a point that has one already."""
        points = [self.table[name] for name in names]
        return [name for i, name in enumerate(names) if points[i] not in points[:i]]

    def _along(self, data: str, place: ChainPlace) -> ProposedRow:
        """Return the joint of a place in a chain, or a landmark between two joints or at the tip."""
        if place.end == 'tip' and (vertex := tip_vertex(self.body, place.joint)) is not None:
            remark = f'the tip of the chain, beyond {place.joint}'
            return self._landmark(data, _skin_landmark(vertex, self.body), 'likely', remark)
        if place.end:
            return ProposedRow(data, place.joint, confidence='likely', remark=f'the {place.end} of the chain')
        remark = 'evenly spaced along the chain'
        if not place.share:
            return ProposedRow(data, place.joint, confidence='guess', remark=remark)
        j = self.body.joint_names.index(place.joint)
        child = next(
            c for c in np.flatnonzero(self.body.parents == j) if self._continues(int(c), place.joint)
        )
        offset = (place.share * (self.body.joints[child] - self.body.joints[j])).round(6)
        x, y, z = (offset + 0.0).tolist()
        between = Landmark(place.joint, place.joint, (x, y, z))
        return self._landmark(data, between, 'guess', f'{remark}: between two joints')

    def _landmark(self, data: str, landmark: Landmark, how: str, remark: str) -> ProposedRow:
        cells = cells_of(landmark) | {'offset_sd': f'{self.offset_sd:g}{BODY_LENGTH}'}
        return ProposedRow(data, _free_name(data, self.known), cells, how, remark)

    def _continues(self, child: int, joint: str) -> bool:
        return self.known[self.body.joint_names[child]].words == self.known[joint].words

    def _on_skin(self, data: str, joint: str, how: str, part: Part | None) -> ProposedRow:
        """Move a joint inside the body to where its label is seen."""
        remark = {'sure': 'the same name', 'likely': 'another word for it', 'guess': 'nearly the same name'}[
            how
        ]
        mark = self.body.landmarks.get(joint)
        if mark is not None and not mark.sd and joint != data and isinstance(mark.anchor, str):
            # What a rig marks is no more than near what people click, as its joints are.
            return self._landmark(data, mark, 'likely', f'{remark}; near {joint} of the model')
        if part is None or not part.skin or joint not in self.body.joint_names:
            return ProposedRow(data, joint, confidence=how, remark=remark)
        side = self.names[data].side
        vertex = skin_vertex(self.body, joint, part.skin, side, self.axes)
        if vertex is None:
            return ProposedRow(
                data, joint, confidence='guess', remark=f'{remark}; no skin was found beside the joint'
            )
        where = 'above' if part.skin == 'up' else 'beside'
        how = 'likely' if how == 'sure' else how
        return self._landmark(
            data, _skin_landmark(vertex, self.body), how, f'{remark}; the skin {where} {joint}'
        )


def _skin_landmark(vertex: int, body: BodyModelData) -> Landmark:
    return Landmark({vertex: 1.0}, moved_by({vertex: 1.0}, body))


def _free_name(name: str, taken: Iterable[str]) -> str:
    """Return a name that no keypoint of the model has."""
    result, taken = name, set(taken)
    while result in taken:
        result += '_skin'
    return result


COLUMNS = ('model', 'data', *LANDMARK_COLUMNS, 'confidence', 'remark')


def write_proposal(path: str | Path, rows: Sequence[ProposedRow], body: BodyModelData) -> Path:
    """Write rows, then the model's joints that none names, so that all names stand in one table.

    Args:
        path: the table to be; it appears whole or not at all.
        rows: what was proposed.
        body: the model.
    """
    text = io.StringIO(newline='')
    writer = csv.DictWriter(text, COLUMNS, restval='')
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {'model': row.model, 'data': row.data, 'confidence': row.confidence, 'remark': row.remark}
            | row.cells
        )
    for joint in joints_without(rows, body):
        writer.writerow({'model': joint})
    return write_text(path, text.getvalue())


def joints_without(rows: Iterable[ProposedRow], body: BodyModelData) -> list[str]:
    """Return the joints that no row names."""
    named = {row.model for row in rows}
    return [joint for joint in body.joint_names if joint not in named]
