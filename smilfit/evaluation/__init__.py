"""Metrics with the unit in the name."""

from smilfit.evaluation.baseline import mean_pose, place_at_prediction, place_at_truth, trivial_baseline
from smilfit.evaluation.benchmark_result import BenchmarkResult, Errors
from smilfit.evaluation.ellipses import ShareInside, radii, scaled_by_other_cameras, share_inside
from smilfit.evaluation.errors import (
    PCK_THRESHOLDS_PX,
    PERCENTILES,
    align_similarity,
    by_group,
    distances,
    mean_error,
    mpjpe,
    pa_distances,
    pa_mpjpe,
    pck,
    pck_curve,
    percentiles,
)
from smilfit.evaluation.fit_quality import CameraFit, FitBenchmark, fit_benchmark, reprojection_errors
from smilfit.evaluation.image_figures import ImageFigures, read_figures, summary, write_figures
from smilfit.evaluation.image_fit import ImageFit, image_fit, mask_iou, mean_of
from smilfit.evaluation.intervals import ExpectedKeypoints, expected_keypoints, held, in_cameras
from smilfit.evaluation.left_out import MultiViewPoseMetric, left_out_metrics
from smilfit.evaluation.mask_overlap import mask_rows, mask_sentences
from smilfit.evaluation.metric_words import (
    Intervals,
    MetricLine,
    PairedDifference,
    StrongestBaseline,
    metric_lines,
    metric_text,
    paired_differences,
    strongest_baselines,
)
from smilfit.evaluation.point_fit import PointBenchmark, point_benchmark
from smilfit.evaluation.scalars import benchmark_metrics
from smilfit.evaluation.units import length_text, to_mm, unit_suffix

__all__ = [
    'PCK_THRESHOLDS_PX',
    'PERCENTILES',
    'BenchmarkResult',
    'CameraFit',
    'Errors',
    'ExpectedKeypoints',
    'FitBenchmark',
    'ImageFigures',
    'ImageFit',
    'Intervals',
    'MetricLine',
    'MultiViewPoseMetric',
    'PairedDifference',
    'PointBenchmark',
    'ShareInside',
    'StrongestBaseline',
    'align_similarity',
    'benchmark_metrics',
    'by_group',
    'distances',
    'expected_keypoints',
    'fit_benchmark',
    'held',
    'image_fit',
    'in_cameras',
    'left_out_metrics',
    'length_text',
    'mask_iou',
    'mask_rows',
    'mask_sentences',
    'mean_error',
    'mean_of',
    'mean_pose',
    'metric_lines',
    'metric_text',
    'mpjpe',
    'pa_distances',
    'pa_mpjpe',
    'paired_differences',
    'pck',
    'pck_curve',
    'percentiles',
    'place_at_prediction',
    'place_at_truth',
    'point_benchmark',
    'radii',
    'read_figures',
    'reprojection_errors',
    'scaled_by_other_cameras',
    'share_inside',
    'strongest_baselines',
    'summary',
    'to_mm',
    'trivial_baseline',
    'unit_suffix',
    'write_figures',
]
