"""The few numbers of a benchmark that a person reads, in words; all others stand in the file of metrics."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smilfit.evaluation.bootstrap import Intervals
from smilfit.evaluation.strongest import MEASURES, strongest_baselines
from smilfit.evaluation.units import UNKNOWN_UNIT, unit_suffix
from smilfit.structures.units import MILLIMETRES

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
    found = []
    for name, value in metrics.items():
        bare = name.rpartition('/')[2]
        known = _known(bare)
        if known is None:
            if not _is_ours(bare) and isinstance(value, (int, float)):
                found.append(MetricLine(name, name, f'{value:.4g}', '', ''))
            continue
        words, unit = known
        ends = None if intervals is None else intervals.bounds.get(name)
        interval = '' if ends is None else f'{_number(ends[0], unit)} to {_number(ends[1], unit)}'
        best, beside = strongest.get(name), ''
        if best is not None:
            verdict = 'better than' if best.beaten else 'NO BETTER than'
            beside = f'{verdict} {_shown(best.value, unit)} of the {best.words}'
        found.append(MetricLine(name, words, _shown(value, unit), interval, beside))
    return found


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
    """Say whether a number is one of a benchmark's many, or a count."""
    return bare.startswith('n_') or any(bare.startswith(f'{stem}_') for stem in MEASURES)


def _number(value: float, unit: str) -> str:
    value = 100 * value if unit == '%' else value
    return 'none' if math.isnan(value) else f'{value:.1f}' if abs(value) < 1000 else f'{value:.0f}'


def _shown(value: float, unit: str) -> str:
    return f'{_number(value, unit)} {unit}'
