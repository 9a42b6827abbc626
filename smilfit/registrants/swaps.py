"""Keypoints of the left and the right side that were mistaken for each other: found, exchanged, fitted again."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from smilfit.body_models import BodyModelData, keypoint_definitions
from smilfit.body_models.sides import names_of_other_side
from smilfit.geometry.side_swaps import IdealViews, SidePairs, SwapCosts, find_swaps
from smilfit.handlers import ActiveTerm, BaseInput
from smilfit.handlers.keypoints import KeypointInput, KeypointMSEHandler
from smilfit.registrants.stage import Report, ReportView
from smilfit.registrants.stage_task import FitState, StageOutcome, StageTask
from smilfit.registry import REGISTRANTS
from smilfit.structures import Keypoints2d, Keypoints3d, parameter_names

Labels = TypeVar('Labels', Keypoints2d, Keypoints3d)


@runtime_checkable
class Labelled(Protocol):
    """An input whose keypoints may be exchanged, such as `KeypointInput`."""

    keypoints: Any  # Keypoints2d or Keypoints3d


OfKeypoints = TypeVar('OfKeypoints', bound=Labelled)

# A residual is large from so many times the median of its input: noise alone is so far off in 1 of 500 points.
LARGE = 3.0
# Exchanged, a pair must lie so many times nearer: what lies between both sides says nothing.
NEARER = 0.5
# What is tried in turn: single pairs, or of each frame the limb that is farthest off and was not tried yet.
ROUNDS = ('pairs', 'limbs', 'pairs')

Masks = dict[str, Bool[Tensor, 'B *C _']]


@dataclass(frozen=True)
class KeypointPairs:
    """Places (P,) of left and right keypoints among an input's names, and the number of the limb that each is of."""

    left: Int[Tensor, ' P']
    right: Int[Tensor, ' P']
    limb: Int[Tensor, ' P']

    @property
    def members(self) -> Bool[Tensor, 'L P']:
        """Return which pairs are of which limb."""
        return self.limb.unique().unsqueeze(1) == self.limb


def pairs_of(data: BodyModelData, names: Sequence[str]) -> KeypointPairs:
    """Find an input's left and right keypoints; a limb is joined along the tree.

    The model's `joint_symmetry` has the first word; of other joints and keypoints the names tell, such as `paw_L` and
    `paw_R`. One whose other side was not asked for has no partner.
    """
    stated = {side for pair in data.joint_symmetry for side in pair}
    others = (n for n in (*data.joint_names, *names) if n not in stated)
    by_name = [(n, o) for n in others for o in names_of_other_side(n, only_left=True)]
    table, place = keypoint_definitions(data), {n: k for k, n in enumerate(names)}
    parent = {n: data.joint_names[p] if p >= 0 else '' for n, p in zip(data.joint_names, data.parents)}
    known = {*data.joint_names, *names}
    pairs = dict([*data.joint_symmetry, *((a, b) for a, b in by_name if b in known)])
    left_of = {side: pair[0] for pair in pairs.items() for side in pair}

    def root(left: str) -> str:
        # What is no joint hangs on one, or on vertices alone.
        joint = left if left in parent else table.get(left)
        above = (
            left_of.get(parent.get(joint, '') if left in parent else joint)
            if isinstance(joint, str)
            else None
        )
        return left if above is None or above == left else root(above)

    kept = [(a, b) for a, b in pairs.items() if a in place and b in place]
    roots = list(dict.fromkeys(root(a) for a, _ in kept))
    rows = [[place[a], place[b], roots.index(root(a))] for a, b in kept]
    return KeypointPairs(*torch.tensor(rows, dtype=torch.long).reshape(-1, 3).unbind(1))


def labels_of(term: ActiveTerm) -> Keypoints2d | Keypoints3d:
    """Return the keypoints that a term draws the body to.

    Raises:
        TypeError: its Input keeps none.
    """
    given = term.related_input
    if not isinstance(given, Labelled):
        raise TypeError(
            f'{term.name}: its Input must keep what was observed as `keypoints` for sides to be exchanged; got '
            f'{type(given).__name__}. Derive it from KeypointInput, or leave try_swaps out.'
        )
    return given.keypoints


def exchanged(keypoints: Labels, pairs: KeypointPairs, mask: Bool[Tensor, 'B *C P']) -> Labels:
    """Exchange points and confidences of the pairs where the mask says so; names stay."""
    confidence = keypoints.confidence
    index = torch.arange(confidence.shape[-1]).expand(confidence.shape).clone()
    index[..., pairs.left] = torch.where(mask.cpu(), pairs.right, pairs.left)
    index[..., pairs.right] = torch.where(mask.cpu(), pairs.left, pairs.right)
    index = index.to(confidence.device)
    field = 'xyz' if isinstance(keypoints, Keypoints3d) else 'xy'
    points = getattr(keypoints, field)
    points = points.gather(-2, index.unsqueeze(-1).expand_as(points))
    return replace(keypoints, confidence=confidence.gather(-1, index), **{field: points})


@dataclass(frozen=True)
class PairDistances:
    """How far off both points of each pair are (B, [C,] P).

    Args:
        given: sum of both distances as they are labelled.
        crossed: the same with the labels exchanged.
        visible: both points were observed and count.
        large: both are far off.
        doubtful: at least one is far off.
    """

    given: Tensor
    crossed: Tensor
    visible: Tensor
    large: Tensor
    doubtful: Tensor

    @classmethod
    def of(cls, term: ActiveTerm, task: StageTask, at: FitState, pairs: KeypointPairs) -> 'PairDistances':
        """Compare an input's pairs with a body."""
        labels, handler = labels_of(term), term.handler
        assert isinstance(handler, KeypointMSEHandler)
        with torch.no_grad():
            state = task.state(at)
            body, points, _ = handler.pair(state, labels)
        weights = state.weights_of(labels.names)
        valid = labels.visible if weights is None else labels.visible & (weights > 0)
        a, b = pairs.left, pairs.right

        def far(i: Tensor, j: Tensor) -> Tensor:
            return (body[..., i, :] - points[..., j, :]).norm(dim=-1)

        every = torch.where(valid, (body - points).norm(dim=-1), 0)
        bound = LARGE * every[valid].median()
        both = valid[..., a] & valid[..., b]
        left, right = every[..., a] > bound, every[..., b] > bound
        return cls(
            far(a, a) + far(b, b), far(a, b) + far(b, a), both, both & left & right, both & (left | right)
        )

    def exchange(self) -> Bool[Tensor, 'B *C P']:
        """Propose pairs that are both far off and much nearer exchanged."""
        return self.large & (self.crossed < NEARER * self.given)

    def limbs(self, pairs: KeypointPairs, tried: Tensor) -> Bool[Tensor, 'B *C P']:
        """Propose the limb with the largest distances that was not tried (B, [C,] L); it has a doubtful pair."""
        members = pairs.members.to(self.visible.device)
        by_limb = (self.doubtful.unsqueeze(-2) & members).any(-1) & ~tried
        size = (torch.where(self.visible, self.given, 0).unsqueeze(-2) * members).sum(-1)
        worst = torch.where(by_limb, size, -1.0).argmax(-1)
        return members[worst] & by_limb.any(-1, keepdim=True)


Refit = Callable[[StageTask, FitState], StageOutcome]


class SwapSearch:
    """Tries exchanged keypoints after a stage, frame by frame.

    Pairs that are both far from the fit, and much nearer exchanged, are exchanged; then of each frame (in 2D of each
    view) the limb that is farthest off, since a fit may have followed its labels; then pairs again. Each time
    the frames in question are fitted again, with what all frames share held, and go on with the exchanged labels
    where their energy has fallen.

    Args:
        task: the stage.
        refit: fits a stage.
    """

    def __init__(self, task: StageTask, refit: Refit) -> None:
        common = (*parameter_names(of='camera'), *(parameter_names(shared=True) if task.share_shape else ()))
        stage = replace(task.stage, fit=tuple(n for n in task.stage.fit if n not in common))
        self.task = replace(task, stage=stage, on_step=None)
        self.refit = refit
        data, terms = task.body.data, [t for t in task.terms if isinstance(t.handler, KeypointMSEHandler)]
        pairs = {t.handler.handler_key: pairs_of(data, labels_of(t).names) for t in terms}
        self.pairs = {key: result for key, result in pairs.items() if len(result.left)}

    def run(self, at: FitState) -> tuple[FitState, Masks]:
        """Search from where the stage ended.

        Returns:
            Where the frames are, and what is exchanged by handler key.
        """
        masks = {key: self._nothing(key, len(self.pairs[key].left)) for key in self.pairs}
        tried = {key: self._nothing(key, len(self.pairs[key].members)) for key in self.pairs}
        totals = {
            t.handler.handler_key: tuple(item.total() for item in t.stated(self.task.state(at)))
            for t in self.task.terms
        }
        held = tuple(replace(t, totals=totals[t.handler.handler_key]) for t in self.task.terms)
        task = replace(self.task, terms=held)
        for kind in ROUNDS:
            now = with_exchanged(task, self.pairs, masks)
            asked = self._asked(now, at, tried, kind)
            rows = torch.stack([m.flatten(1).any(1) for m in asked.values()]).any(0).nonzero().flatten()
            if not len(rows):
                continue
            trial = {key: masks[key] ^ asked[key] for key in masks}
            at, better = self._try(task, now, at, rows, trial)
            for key in masks:
                masks[key][better] = trial[key][better]
        return at, masks

    def _nothing(self, key: str, count: int) -> Tensor:
        visible = labels_of(self._terms(self.task)[key]).visible
        return torch.zeros((*visible.shape[:-1], count), dtype=torch.bool, device=visible.device)

    def _terms(self, task: StageTask) -> dict[str, ActiveTerm]:
        return {t.handler.handler_key: t for t in task.terms}

    def _asked(self, now: StageTask, at: FitState, tried: Masks, kind: str) -> Masks:
        asked = {}
        for key, pairs in self.pairs.items():
            far = PairDistances.of(self._terms(now)[key], now, at, pairs)
            if kind == 'pairs':
                asked[key] = far.exchange()
                continue
            asked[key] = far.limbs(pairs, tried[key])
            members = pairs.members.to(asked[key].device)
            tried[key] |= (asked[key].unsqueeze(-2) & members).any(-1)
        return asked

    def _try(
        self, task: StageTask, now: StageTask, at: FitState, rows: Tensor, trial: Masks
    ) -> tuple[FitState, Tensor]:
        """Fit some frames with other labels; give the state with those whose energy fell, and which these are."""
        part = with_exchanged(task, self.pairs, trial).take(rows)
        before = now.take(rows).per_frame(at.take(rows))
        result = self.refit(part, at.take(rows)).state
        better = part.per_frame(result) < before
        kept, chosen = rows[better], better.nonzero().flatten()
        if not len(kept):
            return at, kept
        merged = {
            name: value.index_copy(0, kept, getattr(result.params, name)[chosen].to(value))
            for name, value in at.params.as_dict().items()
        }
        return replace(at, params=at.params.replace(**merged)), kept


def with_exchanged(task: StageTask, pairs: Mapping[str, KeypointPairs], masks: Masks) -> StageTask:
    """Return a stage whose keypoint inputs are copies with pairs exchanged."""
    terms = [
        replace(t, related_input=exchanged_input(t.related_input, pairs[key], masks[key]))
        if key in masks and isinstance(t.related_input, Labelled)
        else t
        for t, key in ((t, t.handler.handler_key) for t in task.terms)
    ]
    return replace(task, terms=tuple(terms))


def exchanged_input(given: OfKeypoints, pairs: KeypointPairs, mask: Tensor) -> OfKeypoints:
    """Copy an input, with pairs exchanged."""
    changed = copy(given)
    changed.keypoints = exchanged(given.keypoints, pairs, mask)
    return changed


def inputs_of(task: StageTask) -> dict[str, BaseInput]:
    """Return the inputs of a stage, by handler key."""
    return {t.handler.handler_key: t.related_input for t in task.terms if t.related_input is not None}


def describe(task: StageTask, pairs: Mapping[str, KeypointPairs], masks: Masks, frames: Tensor) -> Report:
    """Report for the report which pairs were exchanged: by handler key a count, and names with frames, by view."""
    result = {}
    for key, mask in masks.items():
        labels = next(labels_of(t) for t in task.terms if t.handler.handler_key == key)
        rows = swap_record(labels, pairs[key], mask, frames)
        if rows:
            result[key] = rows
    return result


def swap_record(
    labels: Keypoints2d | Keypoints3d, pairs: KeypointPairs, mask: Bool[Tensor, 'B *C P'], frames: Tensor
) -> Report:
    """Return which pairs were exchanged: a count, and names with frames, by view; empty where none was."""
    rows = []
    views = labels.rig.names if isinstance(labels, Keypoints2d) else (None,)
    for view, by_view in zip(views, mask.reshape(len(mask), len(views), -1).unbind(1)):
        for p in by_view.any(0).nonzero().flatten().tolist():
            pair = [labels.names[pairs.left[p]], labels.names[pairs.right[p]]]
            valid = {'keypoints': pair, 'frames': frames[by_view[:, p].cpu()].tolist()}
            rows.append(valid if view is None else {'view': view, **valid})
    return {'count': int(mask.sum()), 'pairs': rows} if rows else {}


def recorded_swaps(labels: Labels, record: ReportView, frames: Sequence[int] | np.ndarray) -> Labels:
    """Exchange what a record (`swap_record`) says; rows are the frames numbered so, views are found by name."""
    place, row = {n: k for k, n in enumerate(labels.names)}, {int(f): b for b, f in enumerate(frames)}
    views = {n: c for c, n in enumerate(labels.rig.names)} if isinstance(labels, Keypoints2d) else {None: 0}
    for entry in record.get('pairs', ()):
        left, right = (place.get(name) for name in entry['keypoints'])
        view = views.get(entry.get('view'))
        if left is None or right is None or view is None:
            continue
        mask = torch.zeros(*labels.confidence.shape[:-1], 1, dtype=torch.bool)
        rows = torch.tensor([row[f] for f in entry['frames'] if f in row], dtype=torch.long)
        mask.reshape(len(mask), -1)[rows, view] = True
        labels = exchanged(labels, KeypointPairs(*torch.tensor([[left], [right], [0]])), mask)
    return labels


@REGISTRANTS.register_module()
class SideUnswapper:
    """Finds left and right keypoints that were taken for each other, and puts them back.

    It compares labels with one another alone (`find_swaps`), knows no body, and works before anything is fitted. What
    all views exchange at once over most of a clip it cannot see; `SMPLify(try_swaps=True)` asks the body.

    Args:
        limit: as of `SwapCosts`, like all that follow.
        motion_limit: bound on a label's step.
        exchanged: cost of a view and frame whose labels are exchanged.
        change: cost of beginning and of ending to exchange.
        least_noise_px: what labels miss by at least.
    """

    def __init__(
        self,
        limit: float = SwapCosts.limit,
        motion_limit: float = SwapCosts.motion_limit,
        exchanged: float = SwapCosts.exchanged,
        change: float = SwapCosts.change,
        least_noise_px: float = SwapCosts.least_noise_px,
    ) -> None:
        self.costs = SwapCosts(limit, motion_limit, exchanged, change, least_noise_px)

    def __call__(
        self, inputs: Mapping[str, BaseInput], data: BodyModelData, frames: Tensor
    ) -> tuple[dict[str, BaseInput], Report]:
        """Put labels back.

        Args:
            inputs: by handler key, their keypoints named by the model; those of no keypoints, and those whose cameras
                differ from frame to frame (images that are no recording), stay.
            data: the body model, which says what is left and right.
            frames: the frames' numbers.

        Returns:
            Inputs, copies where labels are exchanged; and by handler key what is, as `swap_record` says it.
        """
        result, report = dict(inputs), {}
        for key, given in inputs.items():
            if not isinstance(given, KeypointInput) or not _one_recording(given.keypoints):
                continue
            pairs = pairs_of(data, given.keypoints.names)
            if not len(pairs.left):
                continue
            mask = self.mask(given.keypoints, pairs, frames)
            record = swap_record(given.keypoints, pairs, mask, frames)
            if record:
                result[key], report[key] = exchanged_input(given, pairs, mask), record
        return result, report

    def mask(
        self, labels: Keypoints2d | Keypoints3d, pairs: KeypointPairs, frames: Tensor | None = None
    ) -> Tensor:
        """Return which pairs (B, [C,] P) are exchanged."""
        if isinstance(labels, Keypoints3d):
            points, valid, views = labels.xyz.unsqueeze(1), labels.visible.unsqueeze(1), None
        else:
            rig = labels.rig.to(torch.float64)
            points, inside = rig.undistort(labels.xy.double())
            valid, views = labels.visible & inside, IdealViews(rig.K, rig.R, rig.t)
        sides = SidePairs.of(points, valid, pairs.left, pairs.right, views, frames)
        result = find_swaps(sides, sides.groupings(pairs.limb), self.costs)
        return result[:, 0] if isinstance(labels, Keypoints3d) else result


def _one_recording(labels: Keypoints2d | Keypoints3d) -> bool:
    return isinstance(labels, Keypoints3d) or (labels.cameras is not None and labels.cameras.K.ndim == 3)


def labels_as_fitted(labels: Labels, report: ReportView, frames: Sequence[int] | np.ndarray) -> Labels:
    """Put labels back as a fit did, by its `FitResult.report`.

    Args:
        labels: labels of the recording that was fitted.
        report: of the fit.
        frames: the numbers of these frames.
    """
    planar = isinstance(labels, Keypoints2d)
    for record in report.get('unswapped_keypoints', {}).values():
        if any(('view' in entry) == planar for entry in record['pairs']):
            # Several handlers may see the same labels.
            result = recorded_swaps(labels, record, frames)
            if isinstance(labels, Keypoints2d) and isinstance(result, Keypoints2d):
                return result.judged(labels.camera_report)
            return result
    return labels


def input_as_fitted(given: BaseInput, report: ReportView, frames: Sequence[int] | np.ndarray) -> BaseInput:
    """Return an Input whose labels are put back as a fit did, by its `FitResult.report`."""
    if not isinstance(given, KeypointInput):
        return given
    changed = copy(given)
    changed.keypoints = labels_as_fitted(given.keypoints, report, frames)
    return changed


def swap_sentences(report: ReportView) -> list[str]:
    """Describe in words what was exchanged, from `FitResult.report`: one sentence a view."""
    result: dict[str, Report] = {}
    for record in report.get('unswapped_keypoints', {}).values():
        for entry in record['pairs']:
            view = entry.get('view', '')
            own = result.setdefault(view, {'count': 0, 'frames': set(), 'pairs': {}})
            own['count'] += len(entry['frames'])
            own['frames'] |= set(entry['frames'])
            name = ' and '.join(entry['keypoints'])
            own['pairs'][name] = own['pairs'].get(name, 0) + len(entry['frames'])
    return [
        f'{"camera " + view + ": " if view else ""}left and right were exchanged in {len(own["frames"])} frames '
        f'({own["count"]} pairs of labels: '
        + ', '.join(f'{name} in {count}' for name, count in own['pairs'].items())
        + ') and were put back'
        for view, own in result.items()
    ]
