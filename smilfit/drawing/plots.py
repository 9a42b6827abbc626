"""Figures of numbers. Each function gives a matplotlib Figure and keeps no global state."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Okabe & Ito (2008): distinguishable with any colour vision.
COLOURS = ('#0072B2', '#E69F00', '#009E73', '#CC79A7', '#56B4E9', '#D55E00', '#999999', '#000000')
# How far a histogram's axis may go beyond what its first series needs.
WIDEST = 5.0
Series = Mapping[str, np.ndarray | Sequence[float]]
# The stages of a fit: `FitResult.history`.
History = Sequence[Mapping[str, Any]]


def new_figure(width: float = 7.0, height: float = 4.2) -> Figure:
    """Make a figure (inches) that draws without a display."""
    figure = Figure(figsize=(width, height), layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def new_axes(title: str, x: str, y: str, width: float = 7.0, height: float = 4.2) -> tuple[Figure, Axes]:
    """Make a figure with one plot, with a light grid and no upper and right frame."""
    figure = new_figure(width, height)
    axes = figure.add_subplot()
    style_axes(axes, title, x, y)
    return figure, axes


def style_axes(axes: Axes, title: str, x: str, y: str) -> None:
    """Name a plot and its axes."""
    axes.set_title(plain_text(title))
    axes.set_xlabel(plain_text(x))
    axes.set_ylabel(plain_text(y))
    axes.grid(color='#dddddd', linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)


def plain_text(text: str) -> str:
    """Keep matplotlib from reading a formula: a dollar begins one, and an unclosed one does not draw."""
    return text.replace('$', r'\$')


def plot_pck_curves(
    thresholds_px: Float[np.ndarray, 'T'], curves: Series, title: str = 'PCK', mark_px: int | float = 5.0
) -> Figure:
    """Plot shares of keypoints within a distance, one line a series; `mark_px` is the single number's.

    Baselines are dashed, in the colours of the other series in turn.
    """
    figure, axes = new_axes(title, 'distance from the truth (px)', 'keypoints within it (%)')
    drawn = {'-': 0, '--': 0}
    for name, values in curves.items():
        curve = np.asarray(values, float)
        style = '--' if 'baseline' in name else '-'
        colour = COLOURS[drawn[style] % 8]
        drawn[style] += 1
        axes.plot(thresholds_px, 100 * curve, style, color=colour, linewidth=2, label=plain_text(name))
    axes.axvline(mark_px, color='#999999', linewidth=1, linestyle=':')
    axes.set_xlim(float(thresholds_px[0]), float(thresholds_px[-1]))
    axes.set_ylim(0, 101)
    axes.legend(frameon=False, loc='lower right')
    return figure


def plot_histogram(errors: Series, x: str, title: str, bins: int = 50, clip: int | float = 99.0) -> Figure:
    """Plot distributions of errors side by side.

    The axis ends at the `clip`-th percentile of the widest series, but at most at `WIDEST` times that of the
    first, so that far ones do not flatten it. The legend says how many lie beyond, those that are not finite
    included.
    """
    figure, axes = new_axes(title, x, 'share (%)')
    series = [np.asarray(values, float) for values in errors.values()]
    finite = [values[np.isfinite(values)] for values in series]
    ends = [float(np.percentile(values, clip)) for values in finite if len(values)] or [1.0]
    end = max(1.05 * min(max(ends), WIDEST * ends[0]), 1e-9)
    for i, (name, values) in enumerate(zip(errors, series)):
        if not len(values):
            continue
        colour, median = COLOURS[i % 8], float(np.median(values))
        text = f'{name}: median {median:.3g}, {100 * float((values > end).mean()):.0f} % beyond the axis'
        style: dict[str, Any] = (
            {'histtype': 'stepfilled', 'alpha': 0.75} if i == 0 else {'histtype': 'step', 'linewidth': 2}
        )
        shares = np.full(len(finite[i]), 100 / len(values))
        axes.hist(
            finite[i],
            bins=bins,
            range=(0, end),
            weights=shares,
            color=colour,
            label=plain_text(text),
            **style,
        )
        if median <= end:
            axes.axvline(median, color=colour, linewidth=1.3, linestyle=':')
    axes.set_xlim(0, end)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    return figure


def plot_bars(
    names: Sequence[str], series: Series, x: str, title: str, counts: Sequence[int] | None = None
) -> Figure:
    """Plot one horizontal bar a name and series (keypoints, cameras); what is not finite has no bar."""
    height = 1.3 + 0.2 * len(names) * max(len(series), 1) + 0.1 * len(names)
    figure, axes = new_axes(title, x, '', height=max(height, 2.2))
    width = 0.8 / max(len(series), 1)
    at = np.arange(len(names), dtype=float)
    for i, (name, values) in enumerate(series.items()):
        values = np.asarray(values, dtype=float)
        shown = np.where(np.isfinite(values), values, 0.0)
        bars = axes.barh(at + (i - (len(series) - 1) / 2) * width, shown, width, color=COLOURS[i % 8])
        bars.set_label(plain_text(name))
        texts = [f'{v:.3g}' if np.isfinite(v) else 'none' for v in values]
        axes.bar_label(bars, texts, padding=3, fontsize=8)
    labels = names if counts is None else [f'{name} ({n})' for name, n in zip(names, counts)]
    axes.set_yticks(at, [plain_text(label) for label in labels])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    if len(series) > 1:
        axes.legend(frameon=False, loc='upper left', bbox_to_anchor=(1.0, 1.0))
    return figure


def plot_skeletons(
    truth: Float[np.ndarray, 'K 3'],
    predicted: Float[np.ndarray, 'K 3'],
    values: Float[np.ndarray, 'K'],
    unit_text: str,
    title: str = '',
    value_text: str = 'error percentile',
    edges: Sequence[tuple[int, int]] = (),
) -> Figure:
    """Plot true and predicted 3D keypoints from two sides; colours of the predicted ones say `values` (0-100).

    A keypoint without a truth (NaN) shows the prediction only, in grey.
    """
    figure = new_figure(10.0, 4.8)
    known = np.isfinite(truth).all(1)
    good = np.isfinite(predicted).all(1)
    every = np.concatenate((truth[known], predicted[good]))
    centre, reach = (every.min(0) + every.max(0)) / 2, max(float(np.ptp(every, 0).max()) / 2, 1e-9)
    for i, (elevation, azimuth) in enumerate(((20, -60), (90, -90))):
        axes = figure.add_subplot(1, 2, i + 1, projection='3d')
        axes.view_init(elevation, azimuth)
        for a, b in edges:
            for points, ok, colour in ((truth, known, '#444444'), (predicted, good, '#bbbbbb')):
                if ok[a] and ok[b]:
                    axes.plot(*points[[a, b]].T, color=colour, linewidth=1.2)
        both = known & good
        for k in np.flatnonzero(both):
            axes.plot(*np.stack((truth[k], predicted[k])).T, color='#cc4444', linewidth=0.8, linestyle=':')
        axes.scatter(*truth[known].T, c='#222222', s=22, marker='o', depthshade=False, label='truth')
        axes.scatter(*predicted[good & ~known].T, c='#bbbbbb', s=26, marker='^', label='no truth')
        dots = axes.scatter(
            *predicted[both].T,
            c=values[both],
            cmap='viridis',
            vmin=0,
            vmax=100,
            s=34,
            depthshade=False,
            marker='^',
            label='predicted',
        )
        axes.set_box_aspect((1, 1, 1))
        for name, c in zip('xyz', centre):
            getattr(axes, f'set_{name}lim')(c - 1.05 * reach, c + 1.05 * reach)
            getattr(axes, f'set_{name}label')(f'{name} ({unit_text})')
            getattr(axes, f'{name}axis').set_major_locator(MaxNLocator(4))
    # Seen from above, height has no length.
    axes.set_zticks([])
    axes.set_zlabel('')
    figure.colorbar(dots, ax=figure.axes, shrink=0.7, label=value_text)
    figure.axes[0].legend(frameon=False, loc='upper left', fontsize=8)
    figure.suptitle(plain_text(title))
    return figure


# What mmengine's log processor writes beside the losses.
NOT_CURVES = ('epoch', 'iter', 'step', 'time', 'data_time', 'memory', 'eta')


def read_scalars(path: str | Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read mmengine's `vis_data/scalars.json` (a JSON object a line): name -> (steps, values).

    Raises:
        ValueError: a line that is not a JSON object, with its number.
    """
    result: dict[str, list[tuple[float, float]]] = {}
    for number, line in enumerate(Path(path).read_text(encoding='utf-8').splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(
                f'{path}: line {number} must be a JSON object; got {line[:60]!r}. '
                'The file was cut short or is not a log of scalars.'
            ) from error
        step = row.get('step', row.get('iter', number))
        for name, value in row.items():
            if name not in NOT_CURVES and isinstance(value, (int, float)) and not isinstance(value, bool):
                result.setdefault(name, []).append((step, value))
    return {
        name: (column[:, 0], column[:, 1])
        for name, column in ((n, np.array(p, float)) for n, p in result.items())
    }


def plot_training(scalars: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Plot losses (logarithmic), the learning rate and the validation's metrics, values of one kind in a panel.

    Steps with a value that is not finite leave a gap.
    """
    panels: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for name, pair in scalars.items():
        title = _panel(name)
        if title is not None:
            panels.setdefault(title, {})[name] = pair
    first = {'loss': 0, 'learning rate': 1}
    panels = dict(sorted(panels.items(), key=lambda item: first.get(item[0], 2)))
    figure = new_figure(7.0, 3.2 * max(len(panels), 1))
    for i, (title, pairs) in enumerate(panels.items()):
        axes = figure.add_subplot(len(panels), 1, i + 1)
        style_axes(axes, title, 'step', '')
        for j, (name, (steps, values)) in enumerate(pairs.items()):
            style = '-o' if len(steps) < 30 else '-'
            axes.plot(steps, values, style, markersize=3, color=COLOURS[j % 8], label=plain_text(name))
        positive = all((v[np.isfinite(v)] > 0).all() and np.isfinite(v).any() for _, v in pairs.values())
        if title == 'loss' and positive:
            axes.set_yscale('log')
        axes.legend(frameon=False, fontsize=8, loc='upper left', bbox_to_anchor=(1.0, 1.0))
    return figure


def _panel(name: str) -> str | None:
    """Choose a scalar's panel: values of one kind together; counts and percentiles have none."""
    last = name.rsplit('/', 1)[-1]
    if 'loss' in last:
        return 'loss'
    if last == 'lr' or last.endswith('_lr'):
        return 'learning rate'
    if last.startswith('n_') or re.match(r'mpjpe_p[0-9]', last):
        return None
    kinds = {'pck': 'share of keypoints (PCK)', 'median_error': 'median error (px)', 'mpjpe': '3D error'}
    return next((f'validation: {title}' for stem, title in kinds.items() if stem in last), 'other')


def plot_fit_stages(history: History) -> Figure:
    """Plot each stage's loss at its start and end (`FitResult.history`), logarithmic.

    Stages have weights of their own, so a line is drawn inside a stage only.
    """
    figure, axes = new_axes('loss of each stage', '', 'loss')
    names = []
    for i, entry in enumerate(history):
        start, end = float(entry['loss_start']), float(entry['loss_end'])
        names.append(f'{entry.get("stage", i)}\n{entry.get("steps", "?")} steps')
        axes.plot([i - 0.3, i + 0.3], [start, end], '-o', color=COLOURS[0], linewidth=2)
        axes.annotate(f'{end:.3g}', (i + 0.3, end), xytext=(0, -12), textcoords='offset points', fontsize=8)
    values = np.array([[float(s['loss_start']), float(s['loss_end'])] for s in history])
    if len(values) and np.isfinite(values).all() and (values > 0).all():
        axes.set_yscale('log')
    axes.margins(y=0.2)
    axes.set_xticks(range(len(names)), [plain_text(name) for name in names], fontsize=8)
    return figure
