"""A benchmark's folder: texts, figures, raw errors and one HTML page."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from smilfit.drawing.benchmark_text import (
    EXPLANATIONS,
    benchmark_summary,
    benchmark_text,
    headline_numbers,
    metric_rows,
)
from smilfit.drawing.marks import FIT_MARKS
from smilfit.drawing.plots import plot_bars, plot_histogram, plot_pck_curves, plot_skeletons
from smilfit.drawing.report import Report, figure_png
from smilfit.evaluation import (
    PCK_THRESHOLDS_PX,
    BenchmarkResult,
    Errors,
    Intervals,
    StrongestBaseline,
    benchmark_metrics,
    by_group,
    pck_curve,
    strongest_baselines,
)
from smilfit.evaluation.units import UNKNOWN_UNIT, unit_suffix
from smilfit.files import replacing, write_bytes, write_text
from smilfit.registry import UnknownNameError, did_you_mean

# Which samples are drawn in 3D, by the rank of their mean error (%).
SAMPLE_PERCENTILES = (0, 50, 90, 100)


def write_benchmark_folder(
    result: BenchmarkResult,
    folder: str | Path,
    title: str = 'Benchmark',
    edges: Sequence[tuple[str, str]] = (),
    images: Mapping[str, Any] | None = None,
    intervals: Intervals | None = None,
) -> Path:
    """Write metrics.json, intervals.json, benchmark_report.txt, report.html, figures and raw errors into a folder.

    Args:
        result: what was measured.
        folder: made where absent; files of the same names are replaced.
        title: of the page.
        edges: pairs of keypoint names to join by lines.
        images: captions and images (overlays) for the page.
        intervals: of the numbers; computed if None.

    Returns:
        The path of report.html.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    metrics = benchmark_metrics(result)
    intervals = Intervals.of(result) if intervals is None else intervals
    pairs = _edges(result, edges)
    write_raw_errors(result, folder)
    write_text(folder / 'metrics.json', json.dumps(metrics, indent=1))
    ends = {'by': intervals.by, 'intervals': intervals.bounds}
    write_text(folder / 'intervals.json', json.dumps(ends, indent=1))
    write_text(folder / 'benchmark_report.txt', benchmark_text(result, metrics, title, intervals))
    figures = benchmark_figures(result, pairs)
    for name, (figure, _) in figures.items():
        write_bytes(folder / f'{name}.png', figure_png(figure))
    return benchmark_page(result, metrics, figures, title, images or {}, intervals).save(
        folder / 'report.html'
    )


def write_raw_errors(result: BenchmarkResult, folder: Path) -> list[Path]:
    """Write the model's errors as .npy: (N, C, K) px and (N, K) lengths; NaN without truth, inf if not finite."""
    errors = result.errors()
    arrays = {
        'errors_2d_px_original': errors.px_original,
        'errors_2d_px_network': errors.px_network,
        f'errors_3d_{unit_suffix(result.unit)}': errors.world,
    }
    for name, values in arrays.items():
        with replacing(folder / f'{name}.npy', values.nbytes) as temporary:
            np.save(temporary, values, allow_pickle=False)
    return [folder / f'{name}.npy' for name in arrays]


def benchmark_figures(
    result: BenchmarkResult, edges: Sequence[tuple[int, int]] = ()
) -> dict[str, tuple[Figure, str]]:
    """Draw all figures: file name -> (figure, caption). What has no truth has no figure."""
    model = result.errors()
    strongest = strongest_baselines(benchmark_metrics(result))
    figures = {}
    if result.seen2d.any():
        figures |= _figures2d(result, model, strongest.get('pck_auc_original'))
    if result.seen3d.any():
        figures |= _figures3d(result, model, strongest.get(f'mpjpe_{unit_suffix(result.unit)}'))
        figures |= _samples3d(result, model, edges)
    return figures


def _figures2d(
    result: BenchmarkResult, model: Errors, best: StrongestBaseline | None
) -> dict[str, tuple[Figure, str]]:
    valid = result.seen2d
    curves = {'model, original image': pck_curve(model.px_original, valid)}
    curves['model, network crop'] = pck_curve(model.px_network, valid)
    errors = {'model': model.px_original[valid]}
    if best is not None:
        baseline, word = result.errors(best.source), f'baseline ({best.words})'
        curves[f'{word}, original image'] = pck_curve(baseline.px_original, valid)
        curves[f'{word}, network crop'] = pck_curve(baseline.px_network, valid)
        errors[word] = baseline.px_original[valid]
    x = 'error (px of the original image)'
    _, by_camera, of_camera = by_group(model.px_original, valid, 1)
    _, by_keypoint, of_keypoint = by_group(model.px_original, valid, 2)
    return {
        'pck_curve': (
            plot_pck_curves(PCK_THRESHOLDS_PX, curves, 'Share of keypoints within a distance (PCK)'),
            'Higher and further left is better. Dashed: the strongest trivial answer.',
        ),
        'error_histogram': (plot_histogram(errors, x, 'Keypoint errors in the images'), 'Left is better.'),
        'camera_errors': (
            plot_bars(
                result.camera_names, {'median': by_camera}, f'median {x}', 'By camera', of_camera.tolist()
            ),
            'In brackets: how many true keypoints the number rests on.',
        ),
        'keypoint_errors': (
            plot_bars(
                result.keypoint_names,
                {'median': by_keypoint},
                f'median {x}',
                'By keypoint',
                of_keypoint.tolist(),
            ),
            'In brackets: how many true keypoints the number rests on.',
        ),
    }


def _figures3d(
    result: BenchmarkResult, model: Errors, best: StrongestBaseline | None
) -> dict[str, tuple[Figure, str]]:
    unit = result.unit or UNKNOWN_UNIT
    errors = {'model': model.world[result.seen3d]}
    if best is not None:
        errors[f'baseline ({best.words})'] = result.errors(best.source).world[result.seen3d]
    _, median, count = by_group(model.world, result.seen3d, 1)
    return {
        'mpjpe_histogram': (
            plot_histogram(errors, f'error ({unit})', 'Keypoint errors in 3D'),
            'Distance between predicted and true keypoints in space, without alignment. Left is better.',
        ),
        'keypoint_errors_3d': (
            plot_bars(
                result.keypoint_names,
                {'median': median},
                f'median error ({unit})',
                'By keypoint, 3D',
                count.tolist(),
            ),
            'In brackets: how many true keypoints the number rests on.',
        ),
    }


def _samples3d(
    result: BenchmarkResult, model: Errors, edges: Sequence[tuple[int, int]]
) -> dict[str, tuple[Figure, str]]:
    """Draw the best, the median, a bad and the worst sample; colours rank each error among all errors."""
    seen = result.seen3d
    total = np.where(seen, np.nan_to_num(model.world, posinf=1e300), 0.0).sum(1)
    mean = np.where(seen.any(1), total / np.maximum(seen.sum(1), 1), np.inf)
    order = np.argsort(mean, kind='stable')[: int(seen.any(1).sum())]
    ordered = np.sort(model.world[seen])
    ranks = 100.0 * np.searchsorted(ordered, model.world, side='right') / len(ordered)
    unit = result.unit or UNKNOWN_UNIT
    figures = {}
    chosen = dict.fromkeys(int(order[round(q / 100 * (len(order) - 1))]) for q in SAMPLE_PERCENTILES)
    for number, i in enumerate(chosen):
        rank = 100 * int(np.flatnonzero(order == i)[0]) / max(len(order) - 1, 1)
        title = f'session {result.session[i]}, frame {result.frame[i]}: mean error {mean[i]:.3g} {unit}'
        figure = plot_skeletons(
            np.where(seen[i][:, None], result.truth3d[i], np.nan),
            result.predicted3d[i],
            np.where(seen[i], ranks[i], np.nan),
            unit,
            title,
            'error percentile among all keypoints',
            edges,
        )
        caption = f'{title}; {rank:.0f} % of the samples are better. Black: truth; triangles: prediction.'
        figures[f'sample_{number:02d}_3d_keypoints_percentiles'] = (figure, caption)
    return figures


def benchmark_page(
    result: BenchmarkResult,
    metrics: Mapping[str, int | float],
    figures: Mapping[str, tuple[Figure, str]],
    title: str,
    images: Mapping[str, Any],
    intervals: Intervals,
) -> Report:
    """Lay out the HTML page."""
    report = Report(title, [*benchmark_summary(result, metrics), f'{intervals.by}.'])
    report.add_numbers(headline_numbers(result, metrics))
    samples = [name for name in figures if name.startswith('sample_')]
    if images:
        report.add_section('Predictions on the images').add_legend(FIT_MARKS)
        report.add_images(list(images.values()), list(images))
    report.add_section('All numbers', EXPLANATIONS)
    report.add_table(metric_rows(result, metrics, intervals))
    for heading, names in (
        ('In the images (2D)', ('pck_curve', 'error_histogram', 'camera_errors', 'keypoint_errors')),
        ('In space (3D)', ('mpjpe_histogram', 'keypoint_errors_3d', *samples)),
    ):
        here = [name for name in names if name in figures]
        if here:
            report.add_section(heading)
            for name in here:
                report.add_figure(*figures[name])
    return report


def _edges(result: BenchmarkResult, edges: Sequence[tuple[str, str]]) -> list[tuple[int, int]]:
    names = list(result.keypoint_names)
    for name in (name for edge in edges for name in edge):
        if name not in names:
            raise UnknownNameError(
                f'write_benchmark_folder: no keypoint {name!r}. {did_you_mean(name, names)}'
            )
    return [(names.index(a), names.index(b)) for a, b in edges]
