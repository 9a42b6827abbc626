"""The few numbers of a benchmark that a person reads, in words; all others stand in the file of metrics."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from smilfit.evaluation.benchmark_result import (
    BASELINE,
    BASELINE_PLACED,
    INFIX,
    MEAN_PLACE,
    MEAN_POSE,
    MEAN_POSE_PLACED,
    MODEL,
    PCK_THRESHOLD_PX,
    BenchmarkResult,
    Figure,
    figures_of,
)
from smilfit.evaluation.keypoint_errors import PERCENTILES
from smilfit.evaluation.units import UNKNOWN_UNIT, length_text, unit_suffix
from smilfit.structures.body import MILLIMETRES

DRAWS = 2000
SHARE = 0.95
# A single session is cut into so many blocks of time, if it has the frames for it.
_BLOCKS = 20
_LEAST_FRAMES = 5
# Percentiles are read off a grid of so many of the pooled values.
_GRID = 1024
# From fewer groups an interval says little.
_FEW = 8


@dataclass(frozen=True)
class Resampling:
    """Which group every sample is of, and how often each draw has each group."""

    group: Int[np.ndarray, ' N']
    times: Float[np.ndarray, 'R G']
    kind: str

    @property
    def sentence(self) -> str:
        """Return what was drawn."""
        n = self.times.shape[1]
        few = '; so few say little about others' if n < _FEW else ''
        what = {'sessions': f'{n} sessions', 'blocks': f'{n} blocks of time, for there is one session only'}
        return f'{100 * SHARE:.0f} % intervals by drawing whole {what[self.kind]}{few}'


def resampling_of(
    session: Int[np.ndarray, ' N'], frame: Int[np.ndarray, ' N'], draws: int = DRAWS, seed: int = 0
) -> Resampling:
    """Draw sessions with replacement; of one session, blocks of time of equal length.

    Raises:
        ValueError: one session of too few frames for two blocks.
    """
    names, group = np.unique(session, return_inverse=True)
    kind = 'sessions'
    if len(names) == 1:
        kind, n = 'blocks', min(_BLOCKS, len(frame) // _LEAST_FRAMES)
        if n < 2:
            raise ValueError(
                f'bootstrap: one session must have {2 * _LEAST_FRAMES} frames for an interval; got {len(frame)}. '
                f'Test on more.'
            )
        rank = np.empty(len(frame), dtype=np.int64)
        rank[np.argsort(frame, kind='stable')] = np.arange(len(frame))
        group = rank * n // len(frame)
    count = int(group.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    return Resampling(group, drawn.astype(np.float64), kind)


def resampled(figure: Figure, by: Resampling) -> Float[np.ndarray, ' R']:
    """Return a figure of every draw; NaN for a draw without a truth, inf for one with a value that is not finite."""
    values = figure.terms().reshape(len(figure.values), -1)
    valid, n = ~np.isnan(values), by.times.shape[1]
    count = _sums(valid, by.group, n)
    total = by.times @ count
    if figure.kind == 'percentile':
        return _percentiles(values, by, total, figure.at / 100)
    finite = np.isfinite(values)
    sums = by.times @ _sums(np.where(finite, values, 0.0), by.group, n)
    broken = by.times @ _sums(valid & ~finite, by.group, n)
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.where(broken > 0, np.inf, sums / total)


def _sums(values: np.ndarray, group: np.ndarray, n: int) -> Float[np.ndarray, ' G']:
    return np.bincount(group, weights=values.sum(1, dtype=np.float64), minlength=n)


def _percentiles(
    values: Float[np.ndarray, 'N M'], by: Resampling, total: Float[np.ndarray, ' R'], share: float
) -> Float[np.ndarray, ' R']:
    pooled = np.sort(values[~np.isnan(values)])
    if not len(pooled):
        return np.full(len(total), np.nan)
    grid = np.unique(pooled[np.linspace(0, len(pooled) - 1, _GRID).round().astype(int)])
    cells = np.searchsorted(grid, values)
    below = np.zeros((by.times.shape[1], len(grid) + 1))
    np.add.at(below, (np.broadcast_to(by.group[:, None], values.shape), cells), ~np.isnan(values))
    reached = np.cumsum(by.times @ below[:, : len(grid)], 1)
    with np.errstate(invalid='ignore', divide='ignore'):
        result = grid[np.minimum((reached < share * total[:, None]).sum(1), len(grid) - 1)]
    return np.where(total > 0, result, np.nan)


@dataclass(frozen=True)
class Intervals:
    """Lower and upper ends by metric name, and what they rest on."""

    bounds: Mapping[str, tuple[float, float]]
    by: str

    @classmethod
    def of(
        cls, result: BenchmarkResult, threshold_px: int | float = PCK_THRESHOLD_PX, seed: int = 0
    ) -> 'Intervals':
        """Return an interval to every number of a benchmark, the baselines' too; none where frames are too few."""
        try:
            by = resampling_of(result.session, result.frame, seed=seed)
        except ValueError as error:
            return cls({}, f'no intervals: {error}')
        bounds = {}
        for source in result.sources:
            for figure in _figures(result, source, threshold_px):
                drawn = resampled(figure, by)
                if not np.isnan(drawn).all():
                    bounds[figure.name] = _ends(drawn)
        return cls(bounds, by.sentence)

    def beside(self, name: str) -> str:
        """Write an interval as ` [low, high]`; nothing for a number that has none."""
        if name not in self.bounds:
            return ''
        low, high = self.bounds[name]
        return f' [{low:.4g}, {high:.4g}]'


@dataclass(frozen=True)
class PairedDifference:
    """One number of two answers to the same frames: B minus A, and an interval of that difference.

    `better` says which answer is better, 'A' or 'B', where the interval leaves out 0; else None.
    """

    name: str
    a: float
    b: float
    low: float
    high: float
    better: str | None

    @property
    def difference(self) -> float:
        """B minus A."""
        return self.b - self.a


def paired_differences(
    a: BenchmarkResult, b: BenchmarkResult, threshold_px: int | float = PCK_THRESHOLD_PX, seed: int = 0
) -> tuple[list[PairedDifference], str]:
    """Compare two answers to the same frames; sessions are drawn for both at once.

    Returns:
        The differences of the model's numbers, and what the intervals rest on.

    Raises:
        ValueError: they are not of the same data, or too few frames.
    """
    a, b = _paired(a, b)
    by = resampling_of(a.session, a.frame, seed=seed)
    result = []
    for of_a, of_b in zip(_figures(a, MODEL, threshold_px), _figures(b, MODEL, threshold_px)):
        first, second = of_a.value(), of_b.value()
        if np.isnan(first) or np.isnan(second):
            continue
        with np.errstate(invalid='ignore'):
            low, high = _ends(resampled(of_b, by) - resampled(of_a, by))
        higher_is_better = of_a.kind.startswith('pck')
        better = None if not (low > 0 or high < 0) else 'B' if (low > 0) == higher_is_better else 'A'
        result.append(PairedDifference(of_a.name, first, second, low, high, better))
    return result, by.sentence


def _figures(result: BenchmarkResult, source: str, threshold_px: int | float) -> list[Figure]:
    return figures_of(result.errors(source), INFIX[source], threshold_px, unit_suffix(result.unit))


def _ends(drawn: Float[np.ndarray, ' R']) -> tuple[float, float]:
    drawn = np.sort(drawn[~np.isnan(drawn)])
    if not len(drawn):
        return float('nan'), float('nan')
    at = (np.array([0.5 - SHARE / 2, 0.5 + SHARE / 2]) * (len(drawn) - 1)).round().astype(int)
    return float(drawn[at[0]]), float(drawn[at[1]])


def _paired(a: BenchmarkResult, b: BenchmarkResult) -> tuple[BenchmarkResult, BenchmarkResult]:
    """Keep the frames that both have, in one order, and check that their truths are the same."""
    for what, ours, theirs in (
        ('keypoints', a.keypoint_names, b.keypoint_names),
        ('cameras', a.camera_names, b.camera_names),
        ('unit', a.unit, b.unit),
    ):
        if ours != theirs:
            raise ValueError(
                f'compare: both benchmarks must have the same {what}; got {ours} and {theirs}. Test both on one '
                f'dataset file.'
            )
    rows = [{key: i for i, key in enumerate(zip(r.session.tolist(), r.frame.tolist()))} for r in (a, b)]
    common = sorted(rows[0].keys() & rows[1].keys())
    if not common:
        raise ValueError(
            'compare: both benchmarks must have frames in common; got none. Test both on one split.'
        )
    first, second = (_rows(r, [at[key] for key in common]) for r, at in zip((a, b), rows))
    for name, visible in (('truth3d', 'seen3d'), ('truth2d', 'seen2d')):
        mask = getattr(first, visible)
        same = np.array_equal(mask, getattr(second, visible))
        if not same or not np.allclose(getattr(first, name)[mask], getattr(second, name)[mask], rtol=1e-4):
            raise ValueError(
                f'compare: both benchmarks must have the same truth; their {name} differ. Test both on one dataset '
                f'file, with the same views and crops.'
            )
    return first, second


def _rows(result: BenchmarkResult, rows: list[int]) -> BenchmarkResult:
    alone = ('keypoint_names', 'camera_names', 'unit', 'baseline3d', 'mean_pose')
    values = {f.name: getattr(result, f.name) for f in fields(result)}
    return BenchmarkResult(
        **{name: v if name in alone or v is None else v[rows] for name, v in values.items()}
    )


# The labels of a fit by themselves.
TRIANGULATED = 'triangulated'
_INFIX = INFIX | {TRIANGULATED: '_triangulated'}
# What each trivial answer is called in texts.
BASELINE_WORDS = {
    BASELINE: 'mean pose at the mean position',
    BASELINE_PLACED: 'mean pose at the true position',
    MEAN_POSE: 'mean pose, aligned as the prediction is',
    MEAN_POSE_PLACED: 'mean pose at the predicted place',
    MEAN_PLACE: 'mean place in the training images',
    TRIANGULATED: 'labels triangulated without a body',
}
# Beginnings of names, and whether more is better; the longer ones first.
MEASURES = {
    'pck_auc': True,
    'pck': True,
    'median_error': False,
    **{f'mpjpe_p{q}': False for q in PERCENTILES},
    'mpjpe_shared': False,
    'mpjpe': False,
    'pa_mpjpe': False,
}


@dataclass(frozen=True)
class StrongestBaseline:
    """The best of the trivial answers by one measure.

    Args:
        source: which one, of `BenchmarkResult.sources`.
        value: what it reaches, in the metric's unit.
        beaten: whether the model is better; equal is not.
    """

    source: str
    value: float
    beaten: bool

    @property
    def words(self) -> str:
        """Name the answer in words."""
        return BASELINE_WORDS[self.source]

    @property
    def sentence(self) -> str:
        """Check whether the model is better than this answer."""
        return self._sentence(f'{self.value:.4g}')

    def sentence_of_lengths(self, unit: str | None) -> str:
        """Describe it of a length in a unit."""
        return self._sentence(length_text(self.value, unit))

    def _sentence(self, value: str) -> str:
        verdict = 'better than' if self.beaten else 'NO BETTER than'
        return f'{verdict} {value} of the {self.words}'


def strongest_baselines(metrics: Mapping[str, int | float]) -> dict[str, StrongestBaseline]:
    """Find the strongest trivial answer to each of the model's numbers.

    Args:
        metrics: from `benchmark_metrics` or `errors_against_truth`; names may have a prefix that ends in `/`.

    Returns:
        By the name of the model's number; one that no trivial answer has is absent.
    """
    result = {}
    for name, value in metrics.items():
        prefix, slash, bare = name.rpartition('/')
        stem = next((s for s in MEASURES if bare.startswith(f'{s}_')), None)
        if stem is None:
            continue
        rest = bare[len(stem) :]
        if any(rest.startswith(f'{infix}_') for source, infix in _INFIX.items() if source != MODEL):
            continue
        of_answer = {s: metrics.get(f'{prefix}{slash}{stem}{infix}{rest}') for s, infix in _INFIX.items()}
        answers = {s: float(v) for s, v in of_answer.items() if s != MODEL and v is not None}
        if answers:
            sign = 1.0 if MEASURES[stem] else -1.0
            best = max(answers, key=lambda s: sign * answers[s])
            result[name] = StrongestBaseline(best, answers[best], sign * value > sign * answers[best])
    return result


_UNITS = '|'.join([*MILLIMETRES, unit_suffix(UNKNOWN_UNIT)])
# What a number is called: of a name, words with the name's groups in them, and the number's unit.
_WORDS = (
    (r'pck_([\d.]+)px_original', 'keypoints within {0} px of their labels', '%'),
    (r'median_error_px_original', 'half of the keypoints are nearer than', 'px'),
    (rf'mpjpe_({_UNITS})', 'mean distance in space', '{0}'),
    (rf'pa_mpjpe_({_UNITS})', 'the same, poses laid onto the true ones', '{0}'),
    (r'pck_left_out_([\d.]+)px_original', 'within {0} px in views that it did not see', '%'),
    (r'median_error_left_out_px_original', 'half are nearer there than', 'px'),
)


@dataclass(frozen=True)
class MetricLine:
    """A number in words.

    Args:
        name: as in the file of metrics.
        words: what it is.
        value: with its unit.
        interval: its 95 % interval; empty where there is none.
        beside: whether it is better than the strongest answer that looks at no image; empty where there is none.
    """

    name: str
    words: str
    value: str
    interval: str
    beside: str


def metric_lines(metrics: Mapping[str, Any], intervals: Intervals | None = None) -> list[MetricLine]:
    """Choose the numbers that say most, with those of metrics that are not this project's own.

    Args:
        metrics: from `benchmark_metrics` or any metric; names may have a prefix that ends in `/`.
        intervals: of them.
    """
    strongest = strongest_baselines(metrics)
    result = []
    for name, value in metrics.items():
        bare = name.rpartition('/')[2]
        known = _known(bare)
        if known is None:
            if not _is_ours(bare) and isinstance(value, (int, float)):
                result.append(MetricLine(name, name, f'{value:.4g}', '', ''))
            continue
        words, unit = known
        ends = None if intervals is None else intervals.bounds.get(name)
        interval = '' if ends is None else f'{_number(ends[0], unit)} to {_number(ends[1], unit)}'
        best, beside = strongest.get(name), ''
        if best is not None:
            verdict = 'better than' if best.beaten else 'NO BETTER than'
            beside = f'{verdict} {_shown(best.value, unit)} of the {best.words}'
        result.append(MetricLine(name, words, _shown(value, unit), interval, beside))
    return result


def metric_text(metrics: Mapping[str, Any], intervals: Intervals | None = None) -> list[str]:
    """Write `metric_lines` below each other."""
    lines = metric_lines(metrics, intervals)
    columns = [[getattr(line, part) for line in lines] for part in ('words', 'value', 'interval')]
    wide = [max(map(len, column), default=0) for column in columns]
    return [
        '  '.join(
            text
            for text in (
                line.words.ljust(wide[0]),
                line.value.rjust(wide[1]),
                f'({line.interval})'.ljust(wide[2] + 2)
                if line.interval
                else ' ' * (wide[2] + 2) * bool(wide[2]),
                line.beside,
            )
            if text
        ).rstrip()
        for line in lines
    ]


def _known(bare: str) -> tuple[str, str] | None:
    for pattern, words, unit in _WORDS:
        match = re.fullmatch(pattern, bare)
        if match:
            return words.format(*match.groups()), unit.format(*match.groups()).replace('_', ' ')
    return None


def _is_ours(bare: str) -> bool:
    """Check whether a number is one of a benchmark's many, or a count."""
    return bare.startswith('n_') or any(bare.startswith(f'{stem}_') for stem in MEASURES)


def _number(value: float, unit: str) -> str:
    value = 100 * value if unit == '%' else value
    return 'none' if math.isnan(value) else f'{value:.1f}' if abs(value) < 1000 else f'{value:.0f}'


def _shown(value: float, unit: str) -> str:
    return f'{_number(value, unit)} {unit}'
