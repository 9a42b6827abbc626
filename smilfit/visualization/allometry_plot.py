"""The picture of an allometry table: a small log-log plot a measurement."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, MaxNLocator, NullLocator

from smilfit.visualization.plots import COLOURS, new_figure, plain_text, style_axes

if TYPE_CHECKING:
    from smilfit.measurements.allometry import Allometry

COLUMNS = 4
# More are in the table only.
MOST = 12


def plot_allometry(slopes: 'Sequence[Allometry]', unit: str) -> Figure:
    """Plot specimens with their major axis and the line of isometry through their middle.

    Args:
        slopes: at least one; bones come last, and those beyond 12 are left out.
        unit: of lengths.
    """
    shown = sorted(slopes, key=lambda one: one.measurement.startswith('bone_'))[:MOST]
    n_rows = -(-len(shown) // COLUMNS)
    figure = new_figure(3.1 * min(COLUMNS, len(shown)), 2.8 * n_rows + 0.3)
    for k, one in enumerate(shown):
        axes = figure.add_subplot(n_rows, min(COLUMNS, len(shown)), k + 1)
        power = {1: '', 2: '^2', 3: '^3'}.get(round(one.isometry), '')
        style_axes(axes, one.measurement, f'{one.size} ({unit})', f'{unit}{power}')
        x, y = np.exp(one.log_size), np.exp(one.log_value)
        axes.loglog(x, y, 'o', color=COLOURS[0], markersize=4)
        ends = np.array([one.log_size.min(), one.log_size.max()])
        axes.plot(np.exp(ends), np.exp(one.intercept + one.sma.value * ends), color=COLOURS[5])
        alike = one.log_value.mean() + one.isometry * (ends - one.log_size.mean())
        axes.plot(np.exp(ends), np.exp(alike), '--', color=COLOURS[6])
        told = f'{one.sma.value:.2f} ({one.sma.low:.2f} to {one.sma.high:.2f})'
        axes.set_title(plain_text(f'{one.measurement}\n{told}, n = {one.n}'), fontsize=8)
        for axis in (axes.xaxis, axes.yaxis):
            # Over less than a decade the powers of ten of a log axis say nothing, and overlap.
            axis.set_major_locator(MaxNLocator(4))
            axis.set_major_formatter(FormatStrFormatter('%.3g'))
            axis.set_minor_locator(NullLocator())
        axes.tick_params(labelsize=7, which='both')
        axes.xaxis.label.set_size(7)
        axes.yaxis.label.set_size(7)
    figure.suptitle('slope of logarithms (SMA, 95 %); dashed: isometry', fontsize=9)
    return figure
