"""The page of a fit to points in space: what it is off, by keypoint and over time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from smilfit.drawing.fit_report import add_course, add_pictures, sentences
from smilfit.drawing.plots import COLOURS, new_axes, plot_bars
from smilfit.drawing.report import Report
from smilfit.evaluation import PointBenchmark, length_text


def add_point_sections(
    report: Report,
    benchmark: PointBenchmark,
    frames: Sequence[int],
    history: Sequence[Mapping[str, Any]] = (),
    ignored: Mapping[str, Any] | None = None,
    images: Mapping[str, Any] | None = None,
    video: str | Path | None = None,
) -> Report:
    """Add a fit's distances from its points to a page, with pictures of the body beside them.

    Args:
        report: the page.
        benchmark: what `point_benchmark` measured.
        frames: numbers of the measured frames.
        history: the stages, from `FitResult.history`.
        ignored: what was left out, from `FitResult.report`.
        images: captions and pictures.
        video: a turntable.
    """
    unit = benchmark.unit or 'world unit'
    report.add_section(
        'Fit: the body beside its points', [*point_summary(benchmark), *sentences(ignored or {})]
    )
    add_pictures(report, images, video, 'The fitted body and its points: from its side, and from all round.')
    report.add_table(point_rows(benchmark), f'Distance of the fitted keypoints from the given points, {unit}')
    report.add_figure(
        plot_bars(
            benchmark.names,
            {'fit': [benchmark.median(k) for k in range(len(benchmark.names))]},
            f'median distance ({unit})',
            'Distance by keypoint',
        ),
        'What one keypoint is off more than the others tells of its place in the joint lookup, or of its labels.',
    )
    report.add_figure(
        plot_over_time(benchmark, frames), 'Median and worst keypoint of each frame. Gaps were not fitted.'
    )
    add_course(report, history, ignored)
    return report


def point_summary(benchmark: PointBenchmark) -> list[str]:
    """Report in plain sentences how near the fit is to its points."""
    if not np.isfinite(benchmark.median()):
        return ['No frame has a fit beside a point.']
    half, most = (length_text(benchmark.percentile(p), benchmark.unit) for p in (50, 90))
    return [
        f'Half of the points lie within {half} of the fitted keypoints, 90 % within {most}; the animal is '
        f'{length_text(benchmark.size, benchmark.unit)} long.',
        'No camera was there to look through: pictures show the body from its own side, front and above.',
    ]


def point_rows(benchmark: PointBenchmark) -> list[dict[str, Any]]:
    """Return the table of keypoints."""
    return [
        {
            'keypoint': name,
            'points': int(np.isfinite(benchmark.distances[:, k]).sum()),
            'median': benchmark.median(k),
            '90 % are below': benchmark.percentile(90, k),
            "median, share of the animal's size": benchmark.median(k) / benchmark.size,
        }
        for k, name in enumerate(benchmark.names)
    ]


def plot_over_time(benchmark: PointBenchmark, frames: Sequence[int]) -> Figure:
    """Plot each frame's median and its worst keypoint."""
    unit = benchmark.unit or 'world unit'
    figure, axes = new_axes('Distance over time', 'frame', f'distance ({unit})', 9.0, 3.4)
    worst = np.full(benchmark.n_frames, np.nan)
    some = np.isfinite(benchmark.distances).any(1)
    worst[some] = np.nanmax(benchmark.distances[some], 1)
    for values, colour, label in (
        (worst, COLOURS[1], 'worst keypoint'),
        (benchmark.by_frame(), COLOURS[0], 'median'),
    ):
        axes.plot(np.asarray(frames), values, color=colour, linewidth=1, label=label)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return figure
