"""Flat numbers of a benchmark; the name of each carries its unit, and each stands beside the baseline's."""

from dataclasses import dataclass

import numpy as np

from smilfit.evaluation.benchmark_result import (
    BASELINE,
    BASELINE_PLACED,
    MEAN_PLACE,
    MEAN_POSE,
    MEAN_POSE_PLACED,
    MODEL,
    BenchmarkResult,
    Errors,
)
from smilfit.evaluation.errors import (
    PCK_THRESHOLDS_PX,
    PERCENTILES,
    mean_error,
    pck,
    pck_curve,
    percentiles,
)
from smilfit.evaluation.units import unit_suffix

PCK_THRESHOLD_PX = 5.0
INFIX = {
    MODEL: '',
    BASELINE: '_baseline',
    BASELINE_PLACED: '_baseline_at_true_position',
    MEAN_POSE: '_mean_pose',
    MEAN_POSE_PLACED: '_mean_pose_at_predicted_place',
    MEAN_PLACE: '_mean_place',
}


def benchmark_metrics(
    result: BenchmarkResult, threshold_px: int | float = PCK_THRESHOLD_PX
) -> dict[str, int | float]:
    """Return all scalars of a benchmark by name.

    `pck_5px_original` is a share in [0, 1] at the original image's resolution, `pck_5px_network` at the
    crop's; `pck_auc_*` the mean of the curve over 1 to 50 px. `mpjpe_<unit>` is not aligned,
    `pa_mpjpe_<unit>` is after each frame's best similarity. A number for which no truth exists is
    absent, and its count is 0.
    """
    numbers: dict[str, int | float] = {}
    for source in result.sources:
        numbers |= _numbers_of(result.errors(source), INFIX[source], threshold_px, unit_suffix(result.unit))
    return numbers | counts(result)


def _numbers_of(errors: Errors, infix: str, threshold_px: int | float, unit: str) -> dict[str, int | float]:
    result = {f.name: f.value() for f in figures_of(errors, infix, threshold_px, unit)}
    return {name: value for name, value in result.items() if not np.isnan(value)}


@dataclass(frozen=True)
class Figure:
    """One number of a benchmark: what it is made of, and how.

    Args:
        name: with its unit.
        values: errors, the first axis samples; NaN where there is no truth.
        kind: 'pck', 'pck_auc', 'percentile' or 'mean'.
        at: the threshold of a PCK, the percentile.
    """

    name: str
    values: np.ndarray
    kind: str
    at: float = float('nan')

    def value(self) -> float:
        """Return the number; NaN without a truth."""
        valid = ~np.isnan(self.values)
        if self.kind == 'pck':
            return pck(self.values, valid, self.at)
        if self.kind == 'pck_auc':
            return float(pck_curve(self.values, valid).mean())
        if self.kind == 'percentile':
            return float(percentiles(self.values, valid, (self.at,))[0])
        return mean_error(self.values, valid)

    def terms(self) -> np.ndarray:
        """Return what the number is the mean of, in the shape of the values; of a percentile it is none."""
        if self.kind == 'pck':
            terms = (self.values <= self.at).astype(np.float64)
        elif self.kind == 'pck_auc':
            # How many of the thresholds a value is within.
            within = len(PCK_THRESHOLDS_PX) - np.searchsorted(PCK_THRESHOLDS_PX, self.values, side='left')
            terms = within / len(PCK_THRESHOLDS_PX)
        else:
            terms = self.values.astype(np.float64)
        return np.where(np.isnan(self.values), np.nan, terms)


def figures_of(errors: Errors, infix: str, threshold_px: int | float, unit: str) -> list[Figure]:
    """List the numbers of one answer."""
    result = []
    for where, values in (('original', errors.px_original), ('network', errors.px_network)):
        if values is not None:
            result += [
                Figure(f'pck{infix}_{threshold_px:g}px_{where}', values, 'pck', threshold_px),
                Figure(f'pck_auc{infix}_{where}', values, 'pck_auc'),
                Figure(f'median_error{infix}_px_{where}', values, 'percentile', 50),
            ]
    for name, values in (('mpjpe', errors.world), ('pa_mpjpe', errors.aligned)):
        if values is not None:
            result.append(Figure(f'{name}{infix}_{unit}', values, 'mean'))
            if name == 'mpjpe':
                result += [Figure(f'mpjpe_p{q}{infix}_{unit}', values, 'percentile', q) for q in PERCENTILES]
    return result


def counts(result: BenchmarkResult) -> dict[str, int]:
    """Count what the numbers rest on: true keypoints, aligned frames, predictions that are not finite."""
    broken2d = result.seen2d & ~np.isfinite(result.predicted2d).all(-1)
    broken3d = result.seen3d & ~np.isfinite(result.predicted3d).all(-1)
    return {
        'n_samples': result.n_samples,
        'n_keypoints_2d': int(result.seen2d.sum()),
        'n_keypoints_3d': int(result.seen3d.sum()),
        'n_frames_aligned': int((result.seen3d.sum(1) >= 3).sum()),
        'n_predictions_not_finite': int(broken2d.sum() + broken3d.sum()),
    }
