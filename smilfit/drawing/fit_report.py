"""The page of a fit: how well the body explains what the cameras saw."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from smilfit.drawing.marks import FIT_MARKS
from smilfit.drawing.plots import COLOURS, new_axes, new_figure, plain_text, plot_bars, style_axes
from smilfit.drawing.report import Report
from smilfit.evaluation import (
    FitBenchmark,
    length_text,
    mask_rows,
    mask_sentences,
    strongest_baselines,
    unit_suffix,
)
from smilfit.registrants.swaps import swap_sentences

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
    return {name: tuple(np.array(pairs, dtype=float).T) for name, pairs in result.items()}


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


def add_fit_sections(
    report: Report,
    benchmark: FitBenchmark,
    history: Sequence[Mapping[str, Any]] = (),
    ignored: Mapping[str, Any] | None = None,
    images: Mapping[str, Any] | None = None,
    video: str | Path | None = None,
    of: str = '',
) -> Report:
    """Add a fit's numbers and figures to a page.

    Args:
        report: the page.
        benchmark: what `fit_benchmark` measured.
        history: the stages, from `FitResult.history`.
        ignored: what was left out, from `FitResult.report`.
        images: captions and overlays.
        video: an overlay video.
        of: the session, where a page has several.
    """
    text = [*fit_summary(benchmark), *mask_sentences(ignored or {}), *sentences(ignored or {})]
    report.add_section(f'{of}: the body on the images' if of else 'Fit: the body on the images', text)
    add_pictures(report, images, video, 'The fitted body over the recording.')
    report.add_table(
        camera_rows(benchmark),
        'Reprojection error by camera, px of the annotated images, lens included',
    )
    series = {'fit': [_number(row.median_fitted_px) for row in benchmark.cameras]}
    if any(row.common_triangulated_px is not None for row in benchmark.cameras):
        series['triangulated, no body'] = [_number(row.common_triangulated_px) for row in benchmark.cameras]
    if any(row.given_px is not None for row in benchmark.cameras):
        series['given 3D points'] = [_number(row.given_px) for row in benchmark.cameras]
    names = [row.camera for row in benchmark.cameras]
    report.add_figure(
        plot_bars(names, series, 'median distance (px)', 'Reprojection error by camera'),
        'How far the fitted keypoints land from the annotated ones, beside points triangulated from the same labels '
        'without a body, and the 3D points of the dataset. Triangulated points follow the labels, noise and all: a '
        'fit that comes near them follows the labels too, which does not say that its body is right.',
    )
    report.add_figure(
        plot_bars(
            benchmark.keypoint_names,
            {'fit': [_number(value) for value in benchmark.keypoint_median_px]},
            'median distance (px)',
            'Reprojection error by keypoint',
        ),
        'All cameras together.',
    )
    if overlaps := mask_rows(ignored or {}):
        report.add_table(
            overlaps,
            'IoU of the body and masks: of the fit to keypoints alone, of this one, and of the body as it stood at '
            'another time. Frames that were checked took no part in the shape',
        )
    if benchmark.against_truth:
        report.add_table(truth_rows(benchmark), f'Errors in space, {benchmark.unit or "unknown unit"}')
    add_course(report, history, ignored)
    return report


def add_pictures(
    report: Report, images: Mapping[str, Any] | None, video: str | Path | None, caption: str
) -> None:
    """Add images by their captions, and a video with its own, under the legend of a fit."""
    if images or video is not None:
        report.add_legend(FIT_MARKS)
    if images:
        report.add_images(list(images.values()), list(images))
    if video is not None:
        report.add_video(video, caption)


def add_course(report: Report, history: Sequence[Mapping[str, Any]], notes: Mapping[str, Any] | None) -> None:
    """Add how the stages of a fit went, and what it tells beside (`FitResult.history` and `report`)."""
    if history:
        report.add_figure(
            plot_fit_stages(history), 'Each stage has weights of its own; compare within a stage.'
        )
    if notes:
        report.add_table(note_rows(notes), 'What was left out, and other notes')


def sentences(notes: Mapping[str, Any]) -> list[str]:
    """Return what `FitResult.report` says in words of its own: sides exchanged, shape that no keypoint tells."""
    result = [*(one['sentence'] for one in notes.get('unmoved', ())), *swap_sentences(notes)]
    return [f'{text[0].upper()}{text[1:]}.' for text in result]


def note_rows(notes: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a table of `FitResult.report`, without what `sentences` and `mask_sentences` say."""
    said = ('unmoved', 'masks', 'unswapped_keypoints')
    return [{'what': str(k), 'value': str(v)} for k, v in notes.items() if k not in said]


def fit_summary(benchmark: FitBenchmark) -> list[str]:
    """Report in plain sentences how good the fit is."""
    text = [f'{benchmark.n_frames_finite} of {benchmark.n_frames} frames have a finite fit.']
    for row in benchmark.cameras:
        if row.median_fitted_px is None:
            text.append(f'Camera {row.camera} saw no keypoint.')
            continue
        sentence = f'Camera {row.camera}: half of the keypoints are within {_px(row.median_fitted_px)} px'
        if row.ratio is not None:
            sentence += (
                f'; on shared keypoints {row.ratio:.2f} times the {_px(row.common_triangulated_px)} px of points '
                'that are triangulated from the same labels without a body'
            )
        text.append(sentence + '.')
    for name, words in (
        (f'mpjpe_{unit_suffix(benchmark.unit)}', ''),
        (f'mpjpe_shared_{unit_suffix(benchmark.unit)}', ' for the keypoints that two cameras saw'),
    ):
        if name in benchmark.against_truth:
            value, best = (
                benchmark.against_truth[name],
                strongest_baselines(benchmark.against_truth).get(name),
            )
            beside = '' if best is None else f', {best.sentence_of_lengths(benchmark.unit)}'
            text.append(
                f'Against the known truth: {length_text(value, benchmark.unit)} on average{words}{beside}.'
            )
    return text


def truth_rows(benchmark: FitBenchmark) -> list[dict[str, Any]]:
    """Return the table of errors against known truth, each beside the strongest trivial answer."""
    strongest = strongest_baselines(benchmark.against_truth)
    return [
        {
            'against the known truth': name,
            'value': value,
            'beside': strongest[name].sentence if name in strongest else None,
        }
        for name, value in benchmark.against_truth.items()
    ]


def camera_rows(benchmark: FitBenchmark) -> list[dict[str, Any]]:
    """Return the table of cameras."""
    return [
        {
            'camera': row.camera,
            'keypoints': row.n_points,
            'fit, median (px)': row.median_fitted_px,
            'fit, 90 % are below (px)': row.p90_fitted_px,
            'shared with 3D points': row.n_common,
            'fit there, median (px)': row.common_fitted_px,
            'triangulated labels, no body, median (px)': row.common_triangulated_px,
            "dataset's 3D points, median (px)": row.given_px,
            'fit / triangulated': row.ratio,
        }
        for row in benchmark.cameras
    ]


def _px(value: float) -> str:
    """One digit, two of what would be zero."""
    return f'{value:.1f}' if value >= 0.1 else f'{value:.2f}'


def _number(value: float | None) -> float:
    return float('nan') if value is None else value
