"""Measurements as csv: a row a specimen and measurement."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from smilfit.files import write_text
from smilfit.measurements.allometry import Allometry
from smilfit.measurements.specimens import Specimen

COLUMNS = ('specimen', 'measurement', 'value', 'unit', 'sd', 'low', 'high', 'pose_spread_percent', 'doubt')
ALLOMETRY_COLUMNS = (
    'measurement', 'size', 'n', 'isometry', 'sma_slope', 'sma_low', 'sma_high', 'ols_slope', 'ols_low', 'ols_high',
    'r2', 'against_isometry', 'left_out',
)  # fmt: skip


def write_measurements(path: Path, specimens: Sequence[Specimen]) -> Path:
    """Write measurements; what is not known is empty."""
    rows = (
        [s.name, m.name, _cell(s.values[i]), s.units[i]]
        + [_cell(column[i]) for column in (s.sd, s.low, s.high, s.pose_spread_percent)]
        + [s.doubt_of(i)]
        for s in specimens
        for i, m in enumerate(s.measurements)
    )
    return _write(path, COLUMNS, rows)


def write_allometry(path: Path, found: Sequence[Allometry]) -> Path:
    """Write slopes with their 95 % intervals."""
    rows = (
        [a.measurement, a.size, a.n, _cell(a.isometry)]
        + [_cell(x) for slope in (a.sma, a.ols) for x in (slope.value, slope.low, slope.high)]
        + [_cell(a.r2), a.word, a.left_out]
        for a in found
    )
    return _write(path, ALLOMETRY_COLUMNS, rows)


def _cell(number: float) -> str:
    return '' if np.isnan(number) else f'{number:.6g}'


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    text = io.StringIO()
    table = csv.writer(text, lineterminator='\n')
    table.writerow(header)
    table.writerows(rows)
    return write_text(path, text.getvalue())
