"""How measurements grow with size: slopes of logarithms, over specimens.

The slope of log y on log x is 1 where a length grows as the size does (isometry), 2 of an area, 3 of a volume, if the
size is a length. Ordinary least squares (OLS) asks what y is to be expected of x, and takes x as exact; the
standardised major axis (SMA) treats both alike: `sign(r) sd(y) / sd(x)`. Intervals: Student's t for OLS, and for SMA
`b (sqrt(B + 1) -+ sqrt(B))` with `B = (1 - r^2) F / (n - 2)`, F the 95 % point of F(1, n - 2) (Jolicoeur and Mosimann
1968; Warton et al. 2006, Biol. Rev. 81, 259-291, table 2).
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, MaxNLocator, NullLocator
from scipy.special import fdtri, stdtrit

from smilfit.drawing.plots import COLOURS, new_figure, plain_text, style_axes
from smilfit.files import write_text
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.scans.measurements.specimens import Specimen

SHARE = 0.95
# Two points have a line, but no interval.
LEAST = 3
TABLE_COLUMNS = (
    'specimen',
    'measurement',
    'value',
    'unit',
    'sd',
    'low',
    'high',
    'pose_spread_percent',
    'doubt',
)
ALLOMETRY_COLUMNS = (
    'measurement', 'size', 'n', 'isometry', 'sma_slope', 'sma_low', 'sma_high', 'ols_slope', 'ols_low', 'ols_high',
    'r2', 'against_isometry', 'left_out',
)  # fmt: skip
_PLOTS_A_ROW = 4
# More are in the table only.
MOST_PLOTS = 12


@dataclass(frozen=True)
class Slope:
    """A slope with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Allometry:
    """How one measurement grows with size over n specimens; `left_out` had no positive, or no believable, number."""

    measurement: str
    size: str
    n: int
    left_out: int
    isometry: float
    ols: Slope
    sma: Slope
    r2: float
    intercept: float
    log_size: Float[np.ndarray, ' n']
    log_value: Float[np.ndarray, ' n']

    @property
    def word(self) -> str:
        """Check whether it grows faster or slower than size does, by the SMA interval."""
        if self.sma.low > self.isometry:
            return 'faster'
        return 'slower' if self.sma.high < self.isometry else 'not told apart from isometry'


def ols_slope(x: Float[np.ndarray, ' n'], y: Float[np.ndarray, ' n']) -> Slope:
    """Fit y = a + b x by least squares; b with its interval."""
    u, v = x - x.mean(), y - y.mean()
    b = float(u @ v / (u @ u))
    rest = float(((v - b * u) ** 2).sum()) / (len(x) - 2)
    half = float(stdtrit(len(x) - 2, 0.5 + SHARE / 2)) * np.sqrt(rest / float(u @ u))
    return Slope(b, b - half, b + half)


def sma_slope(x: Float[np.ndarray, ' n'], y: Float[np.ndarray, ' n']) -> Slope:
    """Return the standardised major axis of points, with its interval."""
    u, v = x - x.mean(), y - y.mean()
    r = float(u @ v / np.sqrt((u @ u) * (v @ v)))
    b = float(np.copysign(np.sqrt(v @ v / (u @ u)), r))
    n = len(x)
    half = max(1 - r * r, 0.0) / (n - 2) * float(fdtri(1, n - 2, SHARE))
    ends = sorted(b * (np.sqrt(half + 1) + sign * np.sqrt(half)) for sign in (-1, 1))
    return Slope(b, *ends)


def allometry_of(
    name: str, size_name: str, isometry: float, size: np.ndarray, value: np.ndarray
) -> Allometry | None:
    """Fit one measurement's slopes on size; None where fewer than three specimens, or no differences, are there.

    Args:
        isometry: the slope of a body that grows alike everywhere.
        size: of each specimen, NaN where it has none.
        value: of each specimen, NaN where it has none.
    """
    valid = (size > 0) & (value > 0)
    x, y = np.log(size[valid]), np.log(value[valid])
    if len(x) < LEAST or not (np.ptp(x) > 1e-12 and np.ptp(y) > 1e-12):
        return None
    ols, sma = ols_slope(x, y), sma_slope(x, y)
    r = float(np.corrcoef(x, y)[0, 1])
    intercept = float(y.mean() - sma.value * x.mean())
    return Allometry(name, size_name, len(x), int((~valid).sum()), isometry, ols, sma, r * r, intercept, x, y)


def allometry_table(
    specimens: Sequence[Specimen], size_name: str, doubted: bool = False
) -> tuple[list[Allometry], dict[str, str]]:
    """Fit the slopes of all measurements on one.

    Args:
        specimens: at least three.
        size_name: the measurement that others are held against.
        doubted: use numbers that are in doubt, too; else they are left out, one by one.

    Returns:
        The slopes, and why a measurement has none.

    Raises:
        UnknownNameError: no specimen has the size, with the near names.
        ValueError: fewer than three specimens, or lengths in several units.
    """
    names = list(dict.fromkeys(m.name for s in specimens for m in s.measurements))
    if size_name not in names:
        raise UnknownNameError(f'--allometry: no measurement {size_name!r}. {did_you_mean(size_name, names)}')
    if len(specimens) < LEAST:
        raise ValueError(
            f'--allometry: a slope must have {LEAST} specimens; got {len(specimens)}. Measure more at once.'
        )
    units = sorted({s.length_unit for s in specimens})
    if len(units) > 1:
        raise ValueError(
            f'--allometry: all lengths must be in one unit; got {", ".join(units)}. Give --unit for the unknown.'
        )
    table = {name: np.full(len(specimens), np.nan) for name in names}
    dimension: dict[str, int] = {}
    for i, specimen in enumerate(specimens):
        for m, (measurement, value) in enumerate(zip(specimen.measurements, specimen.values)):
            table[measurement.name][i] = value if doubted or not specimen.reason_against(m) else np.nan
            dimension[measurement.name] = measurement.dimension
    if not dimension[size_name]:
        raise ValueError(f'--allometry: the size must be no angle; got {size_name}. Choose a length.')
    return _fitted(table, dimension, size_name)


def _fitted(
    table: Mapping[str, np.ndarray], dimension: Mapping[str, int], size_name: str
) -> tuple[list[Allometry], dict[str, str]]:
    result, left_out = [], {}
    for name, values in table.items():
        if name == size_name or not dimension[name]:
            continue
        isometry = dimension[name] / dimension[size_name]
        one = allometry_of(name, size_name, isometry, table[size_name], values)
        if one is None:
            left_out[name] = f'fewer than {LEAST} specimens have it without a doubt, or it is the same in all'
        else:
            result.append(one)
    return result, left_out


def write_measurements(path: Path, specimens: Sequence[Specimen]) -> Path:
    """Write measurements; what is not known is empty."""
    rows = (
        [s.name, m.name, _cell(s.values[i]), s.units[i]]
        + [_cell(column[i]) for column in (s.sd, s.low, s.high, s.pose_spread_percent)]
        + [s.reason_against(i)]
        for s in specimens
        for i, m in enumerate(s.measurements)
    )
    return _write(path, TABLE_COLUMNS, rows)


def write_allometry(path: Path, slopes: Sequence[Allometry]) -> Path:
    """Write slopes with their 95 % intervals."""
    rows = (
        [a.measurement, a.size, a.n, _cell(a.isometry)]
        + [_cell(x) for slope in (a.sma, a.ols) for x in (slope.value, slope.low, slope.high)]
        + [_cell(a.r2), a.word, a.left_out]
        for a in slopes
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


def plot_allometry(slopes: Sequence[Allometry], unit: str) -> Figure:
    """Plot specimens with their major axis and the line of isometry through their middle.

    Args:
        slopes: at least one; bones come last, and those beyond 12 are left out.
    """
    shown = sorted(slopes, key=lambda one: one.measurement.startswith('bone_'))[:MOST_PLOTS]
    n_rows = -(-len(shown) // _PLOTS_A_ROW)
    figure = new_figure(3.1 * min(_PLOTS_A_ROW, len(shown)), 2.8 * n_rows + 0.3)
    for k, one in enumerate(shown):
        axes = figure.add_subplot(n_rows, min(_PLOTS_A_ROW, len(shown)), k + 1)
        power = {1: '', 2: '^2', 3: '^3'}.get(round(one.isometry), '')
        style_axes(axes, one.measurement, f'{one.size} ({unit})', f'{unit}{power}')
        x, y = np.exp(one.log_size), np.exp(one.log_value)
        axes.loglog(x, y, 'o', color=COLOURS[0], markersize=4)
        ends = np.array([one.log_size.min(), one.log_size.max()])
        axes.plot(np.exp(ends), np.exp(one.intercept + one.sma.value * ends), color=COLOURS[5])
        alike = one.log_value.mean() + one.isometry * (ends - one.log_size.mean())
        axes.plot(np.exp(ends), np.exp(alike), '--', color=COLOURS[6])
        notes = f'{one.sma.value:.2f} ({one.sma.low:.2f} to {one.sma.high:.2f})'
        axes.set_title(plain_text(f'{one.measurement}\n{notes}, n = {one.n}'), fontsize=8)
        for axis in (axes.xaxis, axes.yaxis):
            # Over less than a decade the powers of ten of a log axis say nothing, and overlap.
            axis.set_major_locator(MaxNLocator(4))
            axis.set_major_formatter(FormatStrFormatter('%.3g'))
            axis.set_minor_locator(NullLocator())
        axes.tick_params(labelsize=7, which='both')
        axes.xaxis.label.set_fontsize(7)
        axes.yaxis.label.set_fontsize(7)
    figure.suptitle('slope of logarithms (SMA, 95 %); dashed: isometry', fontsize=9)
    return figure
