"""The verdict on a fit: numbers, the thresholds that they are held against, and the word with its reasons."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from smilfit.evaluation.verdict.label_measures import KEYPOINT_EXCESS, KEYPOINTS_OFF, FrameKeypoints
from smilfit.files import read_json, reading
from smilfit.registry import reject_unknown

GOOD, DOUBTFUL, NOT_BELIEVABLE = 'good', 'doubtful', 'not believable'
# Of a frame that has no fit, and so no number.
NOT_FITTED = 'not fitted'
# From best to worst.
WORDS = (GOOD, DOUBTFUL, NOT_BELIEVABLE)


@dataclass(frozen=True)
class Measure:
    """A number with the two values at which it makes a fit doubtful, and not believable.

    Where the second threshold is the larger one, large numbers are bad, else small ones. `where` names the bone,
    camera or parameter that the number is of, and `reason` says in words why it is not good; empty where it is.
    """

    name: str
    value: float
    threshold_doubtful: float
    threshold_not_believable: float
    unit: str
    where: str = ''
    reason: str = ''

    @property
    def severity(self) -> float:
        """How bad the value is: 0 at the first threshold, 1 at the second, and on along the same line."""
        span = self.threshold_not_believable - self.threshold_doubtful
        share = (self.value - self.threshold_doubtful) / span
        return math.inf if math.isnan(share) else share

    @property
    def word(self) -> str:
        """Return what the number makes of the fit; one that is not a number is not believable."""
        severity = self.severity
        return NOT_BELIEVABLE if severity >= 1 else DOUBTFUL if severity >= 0 else GOOD


def worst(words: list[str] | tuple[str, ...]) -> str:
    """Return the worst of some words; good if there are none."""
    return max(words, key=WORDS.index, default=GOOD)


SHIPPED = Path(__file__).with_name('thresholds.json')
FORMAT = 'smilfit-verdict-thresholds'
_WHAT = 'thresholds of a verdict'


@dataclass(frozen=True)
class Threshold:
    """What a number is held against. `reason` may hold `{value}` and `{where}`; `source` says why these values."""

    doubtful: float
    not_believable: float
    unit: str
    reason: str
    source: str

    def __post_init__(self) -> None:
        """Check that one of the two values is worse."""
        if self.doubtful == self.not_believable:
            raise ValueError(f'doubtful and not_believable must differ; got {self.doubtful:g} twice')

    def measure(self, name: str, value: float, where: str = '') -> Measure:
        """Hold a number against the two values; `where` says which bone, camera or parameter it is of."""
        measure = Measure(name, float(value), self.doubtful, self.not_believable, self.unit, where)
        if measure.word == GOOD:
            return measure
        return replace(measure, reason=self.reason.format(value=self._text(value), where=where))

    def _text(self, value: float) -> str:
        """Write shares in percent."""
        return f'{100 * value:.3g} %' if self.unit.startswith('share') else f'{value:.3g}'


def load_thresholds(path: str | Path | None = None) -> dict[str, Threshold]:
    """Read thresholds by the name of their measure.

    Args:
        path: a file that replaces some or all of the shipped ones; of a measure, what it leaves out stays.

    Raises:
        BadFileError: no such file.
        KeyError: a measure that there is not, with the near names.
    """
    shipped = _read(SHIPPED)
    given = {} if path is None else _read(Path(path))
    reject_unknown(str(path), 'measure', given, list(shipped))
    result = {}
    for name, fields in shipped.items():
        with reading(path or SHIPPED, _WHAT):
            whole = {**fields, **given.get(name, {})}
            doubtful, not_believable = (float(whole.pop(key)) for key in ('doubtful', 'not_believable'))
            unit, reason, source = (str(whole.pop(key)) for key in ('unit', 'reason', 'source'))
            if whole:
                raise ValueError(f'{name} must have no other fields; got {sorted(whole)}')
            result[name] = Threshold(doubtful, not_believable, unit, reason, source)
    return result


def _read(path: Path) -> Mapping[str, dict]:
    document = read_json(path, _WHAT, dict)
    with reading(path, _WHAT):
        if document.get('format') != FORMAT:
            raise ValueError(f'format must be {FORMAT!r}; got {document.get("format")!r}')
        measures = document['measures']
        if not all(isinstance(fields, dict) for fields in measures.values()):
            raise TypeError('every measure must be an object')
        return measures


N_REASONS = 3
# The measures of a session that are made of its frames' words.
SHARE_DOUBTFUL, SHARE_NOT_BELIEVABLE = 'frames_not_good', 'frames_not_believable'
# Of a session, and of a frame: no fit could be found. It says nothing of the other frames.
FRAMES_FAILED, FRAME_FAILED = 'frames_failed', 'frame_failed'


class Measured(NamedTuple):
    """A number, and what it is of: a bone, a camera, a parameter."""

    value: float
    where: str = ''


@dataclass(frozen=True)
class Verdict:
    """A word, up to three reasons (the weightiest first), and all numbers that it rests on.

    `frame_words` are those of frames or images, by row; `frame_reasons` the weightiest reason of each that is
    not good; `frame_keypoints` the keypoints that are not good in it, the worst first.
    """

    word: str
    reasons: tuple[str, ...]
    measures: tuple[Measure, ...]
    frame_words: tuple[str, ...] = ()
    frame_reasons: tuple[str, ...] = ()
    frame_keypoints: tuple[tuple[str, ...], ...] = ()

    def count(self, word: str) -> int:
        """How many frames have a word."""
        return self.frame_words.count(word)

    def as_dict(self) -> dict[str, object]:
        """Return what JSON can hold; `from_dict` reads it."""
        measures = [{**asdict(m), 'word': m.word} for m in self.measures]
        frames: list[dict[str, object]] = [
            {'word': w, 'reason': r} for w, r in zip(self.frame_words, self.frame_reasons)
        ]
        if self.frame_keypoints:
            frames = [{**f, 'keypoints': list(k)} for f, k in zip(frames, self.frame_keypoints)]
        return {'word': self.word, 'reasons': list(self.reasons), 'measures': measures, 'frames': frames}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> 'Verdict':
        """Read what `as_dict` gave."""
        measures = tuple(Measure(**{k: v for k, v in m.items() if k != 'word'}) for m in document['measures'])
        words, reasons = (tuple(frame[k] for frame in document['frames']) for k in ('word', 'reason'))
        reject_unknown('verdict', 'word', {document['word'], *words}, (*WORDS, NOT_FITTED))
        # Files of before have none.
        keypoints = tuple(tuple(frame.get('keypoints', ())) for frame in document['frames'])
        given = keypoints if any(keypoints) else ()
        return cls(document['word'], tuple(document['reasons']), measures, words, reasons, given)


def judge(
    values: Mapping[str, Measured],
    thresholds: Mapping[str, Threshold],
    frames: Mapping[str, Sequence[float] | np.ndarray] | None = None,
    notes: Mapping[str, Sequence[str]] | None = None,
    keypoints: FrameKeypoints | None = None,
) -> Verdict:
    """Judge a session or an image.

    Args:
        values: numbers of the whole, by the name of their measure.
        thresholds: what they are held against.
        frames: numbers of frames, a row each, by the name of their measure; NaN where a frame has none.
        notes: of some of these measures, what each frame's number is of.
        keypoints: `keypoint_excess` of every keypoint of these frames; the worst one of a frame judges it.

    Raises:
        KeyError: a number of an unknown measure.
    """
    frames, notes = dict(frames or {}), dict(notes or {})
    reject_unknown('judge', 'measure', {*values, *frames}, list(thresholds))
    measures = [thresholds[name].measure(name, *result) for name, result in values.items()]
    words, reasons = _frames(frames, notes, thresholds)
    fitted = [word for word in words if word != NOT_FITTED]
    shares = []
    if fitted:
        example = next(r for w, r in zip(words, reasons) if w == worst(fitted))
        shares = [
            thresholds[SHARE_DOUBTFUL].measure(
                SHARE_DOUBTFUL, sum(w != GOOD for w in fitted) / len(fitted), example
            ),
            thresholds[SHARE_NOT_BELIEVABLE].measure(
                SHARE_NOT_BELIEVABLE, fitted.count(NOT_BELIEVABLE) / len(fitted), example
            ),
        ]
    named: tuple[tuple[str, ...], ...] = ()
    if keypoints is not None:
        # Of the whole, how many keypoints are wrong says more than in how many frames one is.
        threshold = thresholds[KEYPOINT_EXCESS]
        measures.append(thresholds[KEYPOINTS_OFF].measure(KEYPOINTS_OFF, *_share_off(keypoints, threshold)))
        frames[KEYPOINT_EXCESS], named = _worst_keypoints(keypoints, threshold)
        notes[KEYPOINT_EXCESS] = [', '.join(names) for names in named]
        words, reasons = _frames(frames, notes, thresholds)
    common = max((m for m in measures if m.name != FRAMES_FAILED), key=lambda m: m.severity, default=None)
    measures += shares
    if fitted:
        words, reasons = _no_better(words, reasons, common)
    # What is not judged good, the worst first.
    bad = sorted((m for m in measures if m.word != GOOD), key=lambda m: -m.severity)
    if any(m.name == SHARE_NOT_BELIEVABLE for m in bad):
        # It says the same, and more.
        bad = [m for m in bad if m.name != SHARE_DOUBTFUL]
    return Verdict(
        worst([m.word for m in measures]),
        tuple(m.reason for m in bad[:N_REASONS]),
        tuple(measures),
        words,
        reasons,
        named,
    )


def _share_off(given: FrameKeypoints, threshold: Threshold) -> Measured:
    """Return the share of keypoints that are not good, and the one that is so most often."""
    off = np.nan_to_num(given.values, nan=-np.inf) >= threshold.doubtful
    share = off.sum() / max(int((~np.isnan(given.values)).sum()), 1)
    return Measured(float(share), given.names[int(off.sum(0).argmax())] if off.any() else '')


def _worst_keypoints(
    given: FrameKeypoints, threshold: Threshold
) -> tuple[np.ndarray, tuple[tuple[str, ...], ...]]:
    """Return each frame's largest number (NaN without any) and the keypoints that are not good, the worst first."""
    known = np.where(np.isnan(given.values), -np.inf, given.values)
    most = known.max(1, initial=-np.inf)
    order = np.argsort(-known, axis=1, kind='stable')
    bad = known >= threshold.doubtful
    named = tuple(tuple(given.names[k] for k in row if valid[k]) for row, valid in zip(order, bad))
    return np.where(np.isneginf(most), np.nan, most), named


def _no_better(
    words: tuple[str, ...], reasons: tuple[str, ...], common: Measure | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return frames at best the word of what they all share: a frame of a wrong skeleton is wrong.

    A reason of their own stays.
    """
    if common is None or common.word == GOOD:
        return words, reasons
    at_best = WORDS.index(common.word)
    held = [
        (w, r) if w == NOT_FITTED or WORDS.index(w) >= at_best else (common.word, common.reason)
        for w, r in zip(words, reasons)
    ]
    return tuple(w for w, _ in held), tuple(r for _, r in held)


def _frames(
    frames: Mapping[str, Sequence[float] | np.ndarray],
    notes: Mapping[str, Sequence[str]],
    thresholds: Mapping[str, Threshold],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    count = len(next(iter(frames.values()), ()))
    words, reasons = [], []
    for row in range(count):
        result = [
            thresholds[name].measure(name, float(numbers[row]), notes[name][row] if name in notes else '')
            for name, numbers in frames.items()
            if not np.isnan(numbers[row])
        ]
        words.append(worst([m.word for m in result]) if result else NOT_FITTED)
        bad = max(
            (m for m in result if m.word in (DOUBTFUL, NOT_BELIEVABLE)),
            key=lambda m: m.severity,
            default=None,
        )
        reasons.append('' if bad is None else bad.reason)
    return tuple(words), tuple(reasons)
