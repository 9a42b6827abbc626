"""A benchmark's folder: texts, figures, raw errors and one HTML page."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from smilfit.drawing.marks import FIT_MARKS
from smilfit.drawing.plots import plot_bars, plot_histogram, plot_pck_curves, plot_skeletons
from smilfit.drawing.report import PageImage, Report, figure_png
from smilfit.evaluation import (
    PCK_THRESHOLDS_PX,
    PERCENTILES,
    BenchmarkResult,
    Errors,
    Intervals,
    StrongestBaseline,
    benchmark_metrics,
    by_group,
    length_text,
    pck_curve,
    strongest_baselines,
)
from smilfit.evaluation.benchmark_result import INFIX, PCK_THRESHOLD_PX
from smilfit.evaluation.units import UNKNOWN_UNIT, unit_suffix
from smilfit.files import replacing, write_bytes, write_text
from smilfit.registry import UnknownNameError, did_you_mean

Metrics = Mapping[str, int | float]

EXPLANATIONS = (
    'PCK: the share of keypoints whose predicted place in the image is within so many pixels of the '
    'annotated one. It is given in pixels of the original image and of the smaller crop that the network sees.',
    'PCK, mean of 1 to 50 px: the area under the PCK curve, for which no threshold has to be chosen.',
    'MPJPE: the mean distance in space between predicted and true keypoints, as they are.',
    'PA-MPJPE: the same after turning, moving and scaling each predicted pose onto the true one; '
    'what is left is the error of the pose itself.',
    'Baseline: the mean pose at the mean position of the training set, the same answer for every frame, without '
    'looking at an image.',
    'Baseline at the true position: that mean pose, moved to where the animal truly is.',
    "Mean pose: the training set's average pose, turned, moved and scaled onto each true pose.",
    'Mean pose at the predicted place: that average pose, turned, moved and scaled onto each prediction. What the '
    'model is better than this, its articulation is worth.',
    "Mean place in the images: where each keypoint is on average in the training set's images of each camera.",
    'Each number of the model stands beside the strongest of these trivial answers: it is worth as much as it is '
    'better than that one.',
)
# Columns of the table, by whose errors they are.
COLUMNS = {
    'model': 'model',
    'baseline': 'baseline',
    'baseline_at_true_position': 'baseline at the true position',
    'mean_pose': 'mean pose',
    'mean_pose_at_predicted_place': 'mean pose at the predicted place',
    'mean_place': 'mean place in the images',
}


def metric_rows(
    result: BenchmarkResult, metrics: Metrics, intervals: Intervals | None = None
) -> list[dict[str, str | float | None]]:
    """Return the table of all numbers: a row a metric, a column for the model and for each baseline."""
    unit, threshold = unit_suffix(result.unit), f'{PCK_THRESHOLD_PX:g}'
    length = result.unit or 'unknown unit'
    wanted = [
        (f'PCK within {threshold} px, {where} (%)', 'pck', f'_{threshold}px_{key}', 100.0)
        for key, where in (('original', 'original image'), ('network', 'network crop'))
    ]
    for label, stem, infix, factor in (
        ('PCK, mean of 1 to 50 px, {} (%)', 'pck_auc', '', 100.0),
        ('median error, {} (px)', 'median_error', '_px', 1.0),
    ):
        for key, where in (('original', 'original image'), ('network', 'network crop')):
            wanted.append((label.format(where), stem, f'{infix}_{key}', factor))
    wanted.append((f'MPJPE ({length})', 'mpjpe', f'_{unit}', 1.0))
    wanted += [(f'3D error, {q} % are below ({length})', f'mpjpe_p{q}', f'_{unit}', 1.0) for q in PERCENTILES]
    wanted.append((f'PA-MPJPE ({length})', 'pa_mpjpe', f'_{unit}', 1.0))
    strongest = strongest_baselines(metrics)
    rows = []
    for label, stem, end, factor in wanted:
        values = {COLUMNS[s]: metrics.get(f'{stem}{INFIX[s]}{end}') for s in result.sources}
        if all(v is None for v in values.values()):
            continue
        row = {'': label} | {c: None if v is None else v * factor for c, v in values.items()}
        best = strongest.get(f'{stem}{end}')
        if intervals is not None and intervals.bounds:
            ends = intervals.bounds.get(f'{stem}{end}')
            shown = None if ends is None else f'{factor * ends[0]:.4g} to {factor * ends[1]:.4g}'
            row = {'': label, 'model': row['model'], '95 % interval': shown} | row
        rows.append(row | {'better than all': None if best is None else 'yes' if best.beaten else 'NO'})
    return rows


def headline_numbers(result: BenchmarkResult, metrics: Metrics) -> list[tuple[str, str, str]]:
    """Return the few numbers for the top of the page: (value, what it is, the strongest trivial answer's)."""
    strongest, matches = strongest_baselines(metrics), []
    for name, label, shown in _headlines(result):
        if name in metrics:
            note = _beside(strongest.get(name), name, shown)
            matches.append((_shown(metrics[name], name, shown), label, note))
    return matches


def _headlines(result: BenchmarkResult) -> list[tuple[str, str, str | None]]:
    """List the weightiest metrics: name, what it is, its unit."""
    unit, threshold = unit_suffix(result.unit), f'{PCK_THRESHOLD_PX:g}'
    return [
        (f'pck_{threshold}px_original', f'of keypoints within {threshold} px', 'px'),
        ('median_error_px_original', 'median error, original image', 'px'),
        (f'mpjpe_{unit}', 'mean 3D error (MPJPE)', result.unit),
        (f'pa_mpjpe_{unit}', 'error of the pose alone (PA-MPJPE)', result.unit),
    ]


def _shown(value: float, name: str, unit: str | None) -> str:
    return f'{100 * value:.1f} %' if name.startswith('pck') else length_text(value, unit)


def _beside(best: StrongestBaseline | None, name: str, unit: str | None) -> str:
    if best is None:
        return 'no baseline given'
    verdict = 'better than' if best.beaten else 'NO BETTER than'
    return f'{verdict} {_shown(best.value, name, unit)} of the {best.words}'


def benchmark_summary(result: BenchmarkResult, metrics: Metrics) -> list[str]:
    """Report in plain sentences what was measured and whether the model beats the strongest trivial answers."""
    text = [
        f'{metrics["n_samples"]} frames seen by {len(result.camera_names)} cameras were predicted and compared with '
        f'{metrics["n_keypoints_2d"]} annotated keypoints in the images and {metrics["n_keypoints_3d"]} in space. '
        'Keypoints that were not annotated do not count.'
    ]
    strongest, unit = strongest_baselines(metrics), unit_suffix(result.unit)
    for name, begins in (
        (f'mpjpe_{unit}', 'In space a predicted keypoint is on average {} from the truth'),
        (
            f'pa_mpjpe_{unit}',
            'Turned, moved and scaled onto the true poses, the predicted ones are {} from them',
        ),
        ('median_error_px_original', 'In the original images half of the keypoints are within {}'),
    ):
        if name not in metrics:
            continue
        shown, best = 'px' if name.startswith('median') else result.unit, strongest.get(name)
        sentence = begins.format(length_text(metrics[name], shown))
        if best is not None:
            verdict = 'better than' if best.beaten else 'no better than'
            sentence += f', {verdict} the {length_text(best.value, shown)} of the {best.words}'
        text.append(sentence + '.')
    if f'mpjpe_{unit}' not in metrics:
        text.append('No true 3D keypoints were there, so there is no error in space.')
    lost = [
        label for name, label, _ in _headlines(result) if name in strongest and not strongest[name].beaten
    ]
    if lost:
        text.append(
            f'One pose for all frames is as good or better by: {", ".join(lost)}. By these numbers nothing shows '
            'that the model has learnt poses.'
        )
    if len(result.sources) == 1:
        text.append('No baseline was given, so these numbers cannot be judged by themselves.')
    if result.unit is None:
        text.append(
            'The unit of length of this data is not known; lengths are in the unit of the calibration.'
        )
    if metrics['n_predictions_not_finite']:
        text.append(f'{metrics["n_predictions_not_finite"]} predictions were not finite and count as misses.')
    return text


def benchmark_text(
    result: BenchmarkResult, metrics: Metrics, title: str, intervals: Intervals | None = None
) -> str:
    """Write the whole report as plain text."""
    lines = [title, '=' * len(title), '', *benchmark_summary(result, metrics), '']
    rows = metric_rows(result, metrics)
    if rows:
        columns = list(rows[0])
        width = max(len(str(row[''])) for row in rows)
        lines.append(' ' * width + ''.join(f'  {c:>14}' for c in columns[1:]))
        for row in rows:
            cells = map(_cell, (row[c] for c in columns[1:]))
            padded = (f'  {cell:>{max(len(c), 14)}}' for c, cell in zip(columns[1:], cells))
            lines.append(f'{row[""]:<{width}}' + ''.join(padded))
    errors = result.errors()
    for heading, names, kind, visible, axis, unit in (
        ('By camera, original image', result.camera_names, 'px_original', result.seen2d, 1, 'px'),
        ('By keypoint, original image', result.keypoint_names, 'px_original', result.seen2d, 2, 'px'),
        ('By keypoint, in space', result.keypoint_names, 'world', result.seen3d, 1, result.unit),
    ):
        lines += ['', heading]
        width = max(len(name) for name in names)
        for name, mean, median, count in zip(names, *by_group(errors.of(kind), visible, axis)):
            numbers = (
                f'mean {length_text(mean, unit)}, median {length_text(median, unit)}' if count else 'no truth'
            )
            lines.append(f'  {name:<{width}}  {numbers}  ({count} keypoints)')
    lines += ['', 'What the numbers mean', *(f'  {text}' for text in EXPLANATIONS), '', 'All metrics']
    ends = Intervals({}, '') if intervals is None else intervals
    lines += [f'  {name} = {value:.6g}{ends.beside(name)}' for name, value in metrics.items()]
    lines += [f'In brackets: {ends.by}.'] if ends.bounds else []
    return '\n'.join(lines) + '\n'


def _cell(value: float | str | None) -> str:
    return '–' if value is None else value if isinstance(value, str) else f'{value:.4g}'


# Which samples are drawn in 3D, by the rank of their mean error (%).
SAMPLE_PERCENTILES = (0, 50, 90, 100)


def write_benchmark_folder(
    result: BenchmarkResult,
    folder: str | Path,
    title: str = 'Benchmark',
    edges: Sequence[tuple[str, str]] = (),
    images: Mapping[str, PageImage] | None = None,
    intervals: Intervals | None = None,
) -> Path:
    """Write metrics.json, intervals.json, benchmark_report.txt, report.html, figures and raw errors into a folder.

    Args:
        result: what was measured.
        folder: made where absent; files of the same names are replaced.
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
        'errors_2d_px_original': errors.of('px_original'),
        'errors_2d_px_network': errors.of('px_network'),
        f'errors_3d_{unit_suffix(result.unit)}': errors.of('world'),
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
    figures: dict[str, tuple[Figure, str]] = {}
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
    answers = {'model': model}
    if best is not None:
        answers[f'baseline ({best.words})'] = result.errors(best.source)
    curves = {
        f'{word}, {where}': pck_curve(errors.of(kind), valid)
        for word, errors in answers.items()
        for where, kind in (('original image', 'px_original'), ('network crop', 'px_network'))
    }
    original = {word: errors.of('px_original')[valid] for word, errors in answers.items()}
    x = 'error (px of the original image)'
    _, by_camera, of_camera = by_group(model.of('px_original'), valid, 1)
    _, by_keypoint, of_keypoint = by_group(model.of('px_original'), valid, 2)
    return {
        'pck_curve': (
            plot_pck_curves(PCK_THRESHOLDS_PX, curves, 'Share of keypoints within a distance (PCK)'),
            'Higher and further left is better. Dashed: the strongest trivial answer.',
        ),
        'error_histogram': (plot_histogram(original, x, 'Keypoint errors in the images'), 'Left is better.'),
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
    errors = {'model': model.of('world')[result.seen3d]}
    if best is not None:
        errors[f'baseline ({best.words})'] = result.errors(best.source).of('world')[result.seen3d]
    _, median, count = by_group(model.of('world'), result.seen3d, 1)
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
    visible, world = result.seen3d, model.of('world')
    total = np.where(visible, np.nan_to_num(world, posinf=1e300), 0.0).sum(1)
    mean = np.where(visible.any(1), total / np.maximum(visible.sum(1), 1), np.inf)
    order = np.argsort(mean, kind='stable')[: int(visible.any(1).sum())]
    ordered = np.sort(world[visible])
    ranks = 100.0 * np.searchsorted(ordered, world, side='right') / len(ordered)
    unit = result.unit or UNKNOWN_UNIT
    figures = {}
    chosen = dict.fromkeys(int(order[round(q / 100 * (len(order) - 1))]) for q in SAMPLE_PERCENTILES)
    for number, i in enumerate(chosen):
        rank = 100 * int(np.flatnonzero(order == i)[0]) / max(len(order) - 1, 1)
        title = f'session {result.session[i]}, frame {result.frame[i]}: mean error {mean[i]:.3g} {unit}'
        figure = plot_skeletons(
            np.where(visible[i][:, None], result.truth3d[i], np.nan),
            result.predicted3d[i],
            np.where(visible[i], ranks[i], np.nan),
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
    images: Mapping[str, PageImage],
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
