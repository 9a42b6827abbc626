"""A benchmark in words: the summary, the tables and what each number means."""

from collections.abc import Mapping
from typing import Any

from smilfit.evaluation import PERCENTILES, BenchmarkResult, by_group, length_text, unit_suffix
from smilfit.evaluation.scalars import PCK_THRESHOLD_PX

Metrics = Mapping[str, int | float]

EXPLANATIONS = (
    'PCK: the share of keypoints whose predicted place in the image is within so many pixels of the '
    'annotated one. It is given in pixels of the original image and of the smaller crop that the network sees.',
    'PCK, mean of 1 to 50 px: the area under the PCK curve, for which no threshold has to be chosen.',
    'MPJPE: the mean distance in space between predicted and true keypoints, as they are.',
    'PA-MPJPE: the same after turning, moving and scaling each predicted pose onto the true one; '
    'what is left is the error of the pose itself.',
    'Baseline: the mean pose at the mean position of the training set, the same answer for every frame, without '
    'looking at an image. A model is worth as much as it is better than this.',
    'Baseline at the true position: that mean pose, moved to where the animal truly is.',
    "Mean pose: the training set's average pose, turned, moved and scaled onto each true pose.",
)


def metric_rows(result: BenchmarkResult, metrics: Metrics) -> list[dict[str, Any]]:
    """Give the table of all numbers: a row a metric, a column for the model and for each baseline."""
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
    columns = {
        'model': '',
        'baseline': '_baseline',
        'baseline at the true position': '_baseline_at_true_position',
        'mean pose': '_mean_pose',
    }
    present = [
        c
        for c, source in zip(columns, ('model', 'baseline', 'baseline_at_true_position', 'mean_pose'))
        if source in result.sources
    ]
    rows = []
    for label, stem, end, factor in wanted:
        values = {c: metrics.get(f'{stem}{columns[c]}{end}') for c in present}
        if any(v is not None for v in values.values()):
            rows.append({'': label} | {c: None if v is None else v * factor for c, v in values.items()})
    return rows


def headline_numbers(result: BenchmarkResult, metrics: Metrics) -> list[tuple[str, str, str]]:
    """Give the few numbers for the top of the page: (value, what it is, the baseline's)."""
    unit, threshold = unit_suffix(result.unit), f'{PCK_THRESHOLD_PX:g}'
    found = []
    key = f'{threshold}px_original'
    if f'pck_{key}' in metrics:
        note = (
            f'baseline: {100 * metrics[f"pck_baseline_{key}"]:.1f} %'
            if f'pck_baseline_{key}' in metrics
            else ''
        )
        found.append((f'{100 * metrics[f"pck_{key}"]:.1f} %', f'of keypoints within {threshold} px', note))
    for stem, label, other in (
        ('median_error', 'median error, original image', 'px_original'),
        ('mpjpe', 'mean 3D error (MPJPE)', unit),
        ('pa_mpjpe', 'error of the pose alone (PA-MPJPE)', unit),
    ):
        name, beside = f'{stem}_{other}', f'{stem}_baseline_{other}'
        shown = 'px' if stem == 'median_error' else result.unit
        if name in metrics:
            note = (
                f'baseline: {length_text(metrics[beside], shown)}'
                if beside in metrics
                else 'no baseline given'
            )
            found.append((length_text(metrics[name], shown), label, note))
    return found


def benchmark_summary(result: BenchmarkResult, metrics: Metrics) -> list[str]:
    """Say in plain sentences what was measured and whether the model beats the baseline."""
    text = [
        f'{metrics["n_samples"]} frames seen by {len(result.camera_names)} cameras were predicted and compared with '
        f'{metrics["n_keypoints_2d"]} annotated keypoints in the images and {metrics["n_keypoints_3d"]} in space. '
        'Keypoints that were not annotated do not count.'
    ]
    unit = unit_suffix(result.unit)
    model, baseline = metrics.get(f'mpjpe_{unit}'), metrics.get(f'mpjpe_baseline_{unit}')
    if model is not None:
        sentence = (
            f'In space a predicted keypoint is on average {length_text(model, result.unit)} from the truth'
        )
        if baseline is not None:
            verdict = 'better than' if model < baseline else 'no better than'
            sentence += (
                f', {verdict} the {length_text(baseline, result.unit)} of always answering the mean pose of the '
                'training set'
            )
        text.append(sentence + '.')
    else:
        text.append('No true 3D keypoints were there, so there is no error in space.')
    if 'baseline' not in result.sources:
        text.append('No baseline was given, so these numbers cannot be judged by themselves.')
    if result.unit is None:
        text.append(
            'The unit of length of this data is not known; lengths are in the unit of the calibration.'
        )
    if metrics['n_predictions_not_finite']:
        text.append(f'{metrics["n_predictions_not_finite"]} predictions were not finite and count as misses.')
    return text


def benchmark_text(result: BenchmarkResult, metrics: Metrics, title: str) -> str:
    """Write the whole report as plain text."""
    lines = [title, '=' * len(title), '', *benchmark_summary(result, metrics), '']
    rows = metric_rows(result, metrics)
    if rows:
        columns = list(rows[0])
        width = max(len(row['']) for row in rows)
        lines.append(' ' * width + ''.join(f'  {c:>14}' for c in columns[1:]))
        for row in rows:
            cells = ('–' if row[c] is None else f'{row[c]:.4g}' for c in columns[1:])
            ends = (f'  {cell:>{max(len(c), 14)}}' for c, cell in zip(columns[1:], cells))
            lines.append(f'{row[""]:<{width}}' + ''.join(ends))
    errors = result.errors()
    for heading, names, values, seen, axis, unit in (
        ('By camera, original image', result.camera_names, errors.px_original, result.seen2d, 1, 'px'),
        ('By keypoint, original image', result.keypoint_names, errors.px_original, result.seen2d, 2, 'px'),
        ('By keypoint, in space', result.keypoint_names, errors.world, result.seen3d, 1, result.unit),
    ):
        lines += ['', heading]
        width = max(len(name) for name in names)
        for name, mean, median, count in zip(names, *by_group(values, seen, axis)):
            numbers = (
                f'mean {length_text(mean, unit)}, median {length_text(median, unit)}' if count else 'no truth'
            )
            lines.append(f'  {name:<{width}}  {numbers}  ({count} keypoints)')
    lines += ['', 'What the numbers mean', *(f'  {text}' for text in EXPLANATIONS), '', 'All metrics']
    lines += [f'  {name} = {value:.6g}' for name, value in metrics.items()]
    return '\n'.join(lines) + '\n'
