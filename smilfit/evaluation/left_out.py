"""Judge a regressor in views that it did not see: a body that only agrees with what it was shown is found out."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from numpy.typing import ArrayLike
from torch import Tensor

from smilfit.evaluation.baseline import compared_keypoints, place_at_prediction
from smilfit.evaluation.benchmark_result import (
    INFIX,
    PCK_THRESHOLD_PX,
    BenchmarkResult,
    benchmark_metrics,
    figures_of,
)
from smilfit.evaluation.units import unit_suffix
from smilfit.geometry.projection import project_points
from smilfit.registry import METRICS

logger = logging.getLogger('smilfit')

# What a regressor predicts of one sample with its truth, and a batch of samples.
Sample = Mapping[str, Any]


@runtime_checkable
class Tested(Protocol):
    """A regressor that predicts a batch of the test loader."""

    def test_step(self, data: Sample) -> Sequence[Sample]:
        """Return what is predicted of each sample."""


FROM_DATASET = ('keypoint_names', 'camera_names', 'unit', 'baseline', 'mean_pose', 'mean_place')


@METRICS.register_module()
class MultiViewPoseMetric(BaseMetric):
    """Compare a regressor's predictions with the truth in 2D and 3D.

    Names, unit and baselines that are None are taken from the dataset's metainfo, under the same keys. With
    `out_file` the whole comparison is written there as a `BenchmarkResult`; `result` keeps the last one on
    the main process.

    Args:
        keypoint_names: of the predicted keypoints, in order.
        camera_names: of the views, in order.
        unit: of the world; metrics carry it in their names.
        baseline: mean keypoints of the training set, (K, 3), from `trivial_baseline`.
        mean_pose: mean pose of the training set, (K, 3), from `mean_pose`.
        mean_place: by camera where each keypoint is on average in its training images, (K, 2), shares of their sides.
        threshold_px: of the single PCK number.
        out_file: an .npz to write, or None.
        collect_device: where results of many processes meet, as mmengine's.
        collect_dir: a folder for that, shared by the processes; `.dist_test` where None.
        prefix: put before each name.
    """

    # Empty, not None: names are unique already, and None makes mmengine warn.
    default_prefix = ''

    def __init__(
        self,
        keypoint_names: Sequence[str] | None = None,
        camera_names: Sequence[str] | None = None,
        unit: str | None = None,
        baseline: ArrayLike | None = None,
        mean_pose: ArrayLike | None = None,
        mean_place: Mapping[str, ArrayLike] | None = None,
        threshold_px: int | float = PCK_THRESHOLD_PX,
        out_file: str | Path | None = None,
        collect_device: str = 'cpu',
        collect_dir: str | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, collect_dir=collect_dir, prefix=prefix)
        given: tuple[Any, ...] = (keypoint_names, camera_names, unit, baseline, mean_pose, mean_place)
        self.given: dict[str, Any] = dict(zip(FROM_DATASET, given))
        self.threshold_px = threshold_px
        self.out_file = out_file
        self.result: BenchmarkResult | None = None

    def _known(self, key: str) -> Any:
        given = self.given[key]
        return given if given is not None else (self.dataset_meta or {}).get(key)

    def _pose(self, key: str) -> np.ndarray | None:
        value = self._known(key)
        return None if value is None else np.asarray(value, dtype=np.float64)

    def _places(self) -> np.ndarray | None:
        """Return the mean places (C, K, 2) of the test's cameras; None where training knew none of them."""
        places, names = self._known('mean_place') or {}, self._known('camera_names') or ()
        known = {name: np.asarray(places[name], dtype=np.float64) for name in names if name in places}
        if not known:
            return None
        unknown = np.full_like(next(iter(known.values())), np.nan)
        return np.stack([known.get(name, unknown) for name in names])

    def process(self, data_batch: object, data_samples: Sequence[Sample]) -> None:
        """Keep what the comparison needs of each sample, as float64 arrays on the CPU."""
        baseline, pose, places = self._pose('baseline'), self._pose('mean_pose'), self._places()
        for i, sample in enumerate(data_samples):
            kept = _compact(sample)
            if baseline is not None:
                kept['baseline2d'] = project_answer(baseline, data_batch, i)
            if pose is not None:
                counting = compared_keypoints(kept['seen2d'][None], kept['seen3d'][None])
                placed = place_at_prediction(pose, kept['predicted3d'][None], counting)[0]
                kept['mean_pose2d'] = project_answer(placed, data_batch, i)
            if places is not None:
                kept['mean_place2d'] = places * _of_sample(data_batch, i, 'size').numpy()[:, None]
            self.results.append(kept)

    def compute_metrics(self, results: list[dict[str, np.ndarray]]) -> dict[str, int | float]:
        """Compare all samples; write `out_file` where one is set."""
        if not results:
            raise ValueError(
                'MultiViewPoseMetric: there must be at least one test sample; got none. '
                'Look at the split in the config and at the dataset file.'
            )
        names = {key: self._known(key) for key in ('keypoint_names', 'camera_names')}
        for key, value in names.items():
            if value is None:
                raise ValueError(
                    f'MultiViewPoseMetric: {key} must be known; got None. '
                    f"Give it to the metric, or put it in the dataset's metainfo."
                )
        stacked: dict[str, Any] = {key: np.stack([r[key] for r in results]) for key in results[0]}
        result = BenchmarkResult(
            keypoint_names=tuple(names['keypoint_names']),
            camera_names=tuple(names['camera_names']),
            unit=self._known('unit'),
            baseline3d=self._pose('baseline'),
            mean_pose=self._pose('mean_pose'),
            **stacked,
        )
        self._warn(result)
        self.result = result
        if self.out_file is not None:
            logger.info('benchmark written to %s', result.save(self.out_file))
        return benchmark_metrics(result, self.threshold_px)

    @staticmethod
    def _warn(result: BenchmarkResult) -> None:
        if result.baseline3d is None and result.mean_place2d is None:
            logger.warning('MultiViewPoseMetric: no baseline was given; the numbers stand alone.')
        if result.unit is None and result.seen3d.any():
            logger.warning(
                'MultiViewPoseMetric: the unit is not known; 3D errors are in the unit of the data.'
            )
        if not result.seen3d.any():
            logger.warning('MultiViewPoseMetric: no sample has true 3D keypoints; there is no MPJPE.')


def as_float64(value: object) -> np.ndarray:
    """Return an array on the CPU."""
    return torch.as_tensor(value).detach().cpu().double().numpy()


def _compact(sample: Sample) -> dict[str, np.ndarray]:
    truth = sample['truth']
    view = np.asarray(torch.as_tensor(sample['view_mask']).cpu(), dtype=bool)
    return {
        'predicted2d': as_float64(sample['keypoints2d']),
        'truth2d': as_float64(truth['keypoints2d']),
        'seen2d': (as_float64(truth['confidence2d']) > 0) & view[:, None],
        'to_original': as_float64(truth['to_original']),
        'predicted3d': as_float64(sample['keypoints3d']),
        'truth3d': as_float64(truth['keypoints3d']),
        'seen3d': as_float64(truth['confidence3d']) > 0,
        'session': np.asarray(int(truth['session']), dtype=np.int64),
        'frame': np.asarray(int(truth['frame']), dtype=np.int64),
    }


def project_answer(points: np.ndarray, data_batch: object, i: int) -> np.ndarray:
    """Project an answer into one sample's given cameras; NaN where it has no image there."""
    K, R, t, dist = (_of_sample(data_batch, i, key) for key in ('K', 'R', 't', 'dist'))
    pixels, _, valid = project_points(torch.from_numpy(points).nan_to_num(), K, R, t, dist)
    valid = valid & torch.from_numpy(np.isfinite(points).all(-1))
    return torch.where(valid.unsqueeze(-1), pixels, torch.nan).numpy()


def _of_sample(data_batch: object, i: int, key: str) -> Tensor:
    """Return one of the inputs of a sample."""
    if not isinstance(data_batch, Mapping) or 'inputs' not in data_batch:
        raise ValueError(
            'MultiViewPoseMetric: the batch must hold the given cameras as "inputs" for the baseline; got '
            f'{type(data_batch).__name__}. Use the multi-view dataset with default_collate.'
        )
    return torch.as_tensor(data_batch['inputs'][key][i]).cpu().double()


# So many others must be left: from one alone no place in space follows.
LEAST_OTHERS = 2
COUNT = 'n_views_left_out'


def left_out_metrics(
    model: Tested, batches: Iterable[Sample], metric: MultiViewPoseMetric
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


def _judge_view(model: Tested, batch: Sample, camera: int, judge: MultiViewPoseMetric) -> None:
    views = batch['inputs']['view_mask'].clone()
    views[:, camera] = False
    samples = model.test_step({**batch, 'inputs': {**batch['inputs'], 'view_mask': views}})
    only = torch.arange(views.shape[1]) == camera
    result = []
    for i, sample in enumerate(samples):
        points = np.asarray(torch.as_tensor(sample['keypoints3d']).cpu(), dtype=np.float64)
        result.append({**sample, 'keypoints2d': project_answer(points, batch, i), 'view_mask': only})
    judge.process(batch, result)


def _rows(batch: Sample, rows: Tensor) -> Sample:
    return {
        key: _rows(value, rows) if isinstance(value, Mapping) else value[rows.to(value.device)]
        for key, value in batch.items()
    }


def _numbers(result: BenchmarkResult, threshold_px: int | float) -> dict[str, int | float]:
    matches: dict[str, int | float] = {}
    for source in result.sources:
        # Only the images are another question than before.
        errors = replace(result.errors(source), world=None, aligned=None)
        figures = figures_of(errors, f'{INFIX[source]}_left_out', threshold_px, unit_suffix(result.unit))
        matches |= {figure.name: figure.value() for figure in figures}
    return {name: value for name, value in matches.items() if not np.isnan(value)}
