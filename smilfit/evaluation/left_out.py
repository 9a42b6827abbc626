"""Judge a regressor in views that it did not see: a body that only agrees with what it was shown is found out."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smilfit.evaluation.benchmark_result import BenchmarkResult
from smilfit.evaluation.multiview_pose_metric import MultiViewPoseMetric, project_answer
from smilfit.evaluation.scalars import INFIX, figures_of
from smilfit.evaluation.units import unit_suffix

# So many others must be left: from one alone no place in space follows.
LEAST_OTHERS = 2
COUNT = 'n_views_left_out'


def left_out_metrics(
    model: Any, batches: Iterable[Mapping[str, Any]], metric: MultiViewPoseMetric
) -> dict[str, int | float]:
    """Predict each sample without each of its views in turn, and compare there.

    Takes as many predictions as there are views. The trivial answers stand beside: the mean pose at the place that
    the other views gave, the training set's mean.

    Args:
        model: the regressor; its `keypoints3d` are projected by the given cameras.
        batches: of the test loader.
        metric: says names, baselines and thresholds; it is not changed.

    Returns:
        Numbers in px under `<name>_left_out_...`, and how many views were left out (`n_views_left_out`): 0, and
        nothing else, where no sample has three views.
    """
    judge = MultiViewPoseMetric(**metric.given, threshold_px=metric.threshold_px)
    judge.dataset_meta = metric.dataset_meta
    for batch in batches:
        views = torch.as_tensor(batch['inputs']['view_mask'])
        for camera in range(views.shape[1]):
            rows = views[:, camera] & (views.sum(1) > LEAST_OTHERS)
            if bool(rows.any()):
                _judge_view(model, _rows(batch, rows), camera, judge)
    if not judge.results:
        return {COUNT: 0}
    judge.compute_metrics(judge.results)
    assert judge.result is not None
    return _numbers(judge.result, judge.threshold_px) | {COUNT: judge.result.n_samples}


def _judge_view(model: Any, batch: dict[str, Any], camera: int, judge: MultiViewPoseMetric) -> None:
    views = batch['inputs']['view_mask'].clone()
    views[:, camera] = False
    samples = model.test_step({**batch, 'inputs': {**batch['inputs'], 'view_mask': views}})
    only = torch.arange(views.shape[1]) == camera
    found = []
    for i, sample in enumerate(samples):
        points = np.asarray(torch.as_tensor(sample['keypoints3d']).cpu(), dtype=np.float64)
        found.append({**sample, 'keypoints2d': project_answer(points, batch, i), 'view_mask': only})
    judge.process(batch, found)


def _rows(value: Any, rows: Tensor) -> Any:
    if isinstance(value, Mapping):
        return {key: _rows(item, rows) for key, item in value.items()}
    return value[rows.to(value.device)]


def _numbers(result: BenchmarkResult, threshold_px: int | float) -> dict[str, int | float]:
    found: dict[str, int | float] = {}
    for source in result.sources:
        # Only the images are another question than before.
        errors = replace(result.errors(source), world=None, aligned=None)
        figures = figures_of(errors, f'{INFIX[source]}_left_out', threshold_px, unit_suffix(result.unit))
        found |= {figure.name: figure.value() for figure in figures}
    return {name: value for name, value in found.items() if not np.isnan(value)}
