"""Figures of how a fit or a training went."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from smilfit.visualization.plots import COLOURS, new_axes, new_figure, plain_text, style_axes

# What mmengine's log processor writes beside the losses.
NOT_CURVES = ('epoch', 'iter', 'step', 'time', 'data_time', 'memory', 'eta')


def read_scalars(path: str | Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read mmengine's `vis_data/scalars.json` (a JSON object a line): name -> (steps, values).

    Raises:
        ValueError: a line that is not a JSON object, with its number.
    """
    found: dict[str, list[tuple[float, float]]] = {}
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
                found.setdefault(name, []).append((step, value))
    return {name: tuple(np.array(pairs, dtype=float).T) for name, pairs in found.items()}


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


def plot_fit_stages(history: Sequence[Mapping[str, Any]]) -> Figure:
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
