"""Predict held-out samples and say how far they are off, beside the strongest answer that looks at no limb."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import default_collate

from smilfit.apis.shipped_configs import find_config
from smilfit.evaluation import BenchmarkResult
from smilfit.evaluation.benchmark_result import MEAN_POSE, MEAN_POSE_PLACED, MODEL
from smilfit.networks.engine import build_test_runner, load_experiment, set_refinement

BATCH = 4
# PCK counts keypoints nearer than this in a box about the labels that is so many px wide.
PCK_PX, PCK_SIDE_PX = 5.0, 224.0
BOX_MARGIN, LEAST_BOX_PX = 1.05, 32.0
# What of a prediction is scored: 3D, 2D.
POINTS, BODY = ('points3d', 'seen2d'), ('keypoints3d', 'keypoints2d')


@dataclass(frozen=True)
class Scores:
    """Errors of N samples, one a sample: % of the body's length in space, and shares of keypoints in images.

    `session` is each sample's. The mean pose is placed by the best similarity onto the predicted keypoints, or onto
    the true ones where places are taken out (`pa`). `shown` are the samples of which every view shows half of the
    keypoints or more: an animal walks out of a camera's image now and then.
    """

    mpjpe: np.ndarray
    pa: np.ndarray
    mean_pose: np.ndarray
    mean_pose_pa: np.ndarray
    pck: np.ndarray
    mean_pose_pck: np.ndarray
    px: np.ndarray
    session: np.ndarray
    shown: np.ndarray
    ms_a_frame: float


def score(
    config: str,
    checkpoint: Path,
    data: Path,
    views: Sequence[str] | None = None,
    every: int = 1,
    options: Mapping[str, Any] | None = None,
    refine: bool = False,
) -> dict[str, Scores]:
    """Score a checkpoint on all samples of a file.

    Args:
        config: of the training.
        checkpoint: of it.
        data: a dataset file.
        views: cameras to look through; all if None.
        every: take every n-th sample.
        options: of the config, by dotted key.
        refine: refine predictions as the config's `refinement` says.

    Returns:
        By what is scored: `body`, and `points` where the regressor gives points of its own.
    """
    cfg = load_experiment(find_config(config), options, checkpoint.parent)
    if refine:
        set_refinement(cfg)
    cfg.test_dataloader.dataset.update(
        data_path=str(data), split='all', views=None if views is None else list(views)
    )
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    runner = build_test_runner(cfg, checkpoint, device='cpu')
    # A runner loads weights when it runs.
    runner.load_or_resume()
    model, dataset = runner.model.eval(), runner.test_dataloader.dataset
    predictions, batches, seconds = [], [], 0.0
    for batch in _batches(dataset, every):
        start = time.process_time()
        predictions.append(model.test_step(batch))
        seconds += time.process_time() - start
        batches.append(batch)
    n = sum(map(len, predictions))
    length = model.body_model.data
    found = {}
    for what, (xyz, xy) in (('points', POINTS), ('body', BODY)):
        if what == 'points' and xyz not in predictions[0][0]:
            continue
        metric = runner.test_evaluator.metrics[0]
        metric.results.clear()
        for batch, samples in zip(batches, predictions):
            metric.process(batch, [{**s, 'keypoints3d': s[xyz], 'keypoints2d': s[xy]} for s in samples])
        metric.compute_metrics(metric.results)
        lengths = np.array([_body_length(s['truth'], length) for samples in predictions for s in samples])
        found[what] = scores_of(metric.result, lengths, 1e3 * seconds / n)
        metric.results.clear()
    return found


def scores_of(result: BenchmarkResult, lengths: np.ndarray, ms_a_frame: float) -> Scores:
    """Reduce a comparison to one number a sample.

    Args:
        result: predictions beside truths.
        lengths: of each sample's body, world unit.
        ms_a_frame: what a prediction took.
    """
    model, mean = result.errors(MODEL), result.errors(MEAN_POSE)
    placed = result.errors(MEAN_POSE_PLACED)
    shares = 100 / lengths[:, None]
    px = model.px_original
    sides = _box_sides(result)[..., None]
    return Scores(
        mpjpe=_mean(model.world * shares),
        pa=_mean(model.aligned * shares),
        mean_pose=_mean(placed.world * shares),
        mean_pose_pa=_mean(mean.aligned * shares),
        pck=_below(px * PCK_SIDE_PX / sides),
        mean_pose_pck=_below(placed.px_original * PCK_SIDE_PX / sides),
        px=np.nanmedian(px.reshape(len(px), -1), 1) if np.isfinite(px).any() else np.full(len(px), np.nan),
        session=result.session,
        # Cameras that were not chosen show nothing at all.
        shown=(result.seen2d[:, result.seen2d.any((0, 2))].mean(-1) >= 0.5).all(1),
        ms_a_frame=ms_a_frame,
    )


def interval(
    values: Sequence[np.ndarray], sessions: Sequence[np.ndarray], rounds: int = 2000
) -> tuple[float, float, float]:
    """Give a mean over seeds and sessions, and its 95 % interval when both are drawn anew.

    Args:
        values: one array a seed, of one number a sample.
        sessions: the samples' sessions, likewise.
        rounds: of the bootstrap.
    """
    names = np.unique(np.concatenate(sessions))
    table = np.array([[np.nanmean(v[s == name]) for name in names] for v, s in zip(values, sessions)])
    rng = np.random.default_rng(0)
    rows = rng.integers(table.shape[0], size=(rounds, table.shape[0]))
    columns = rng.integers(table.shape[1], size=(rounds, table.shape[1]))
    drawn = np.nanmean(table[rows[:, :, None], columns[:, None]], (1, 2))
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    return float(np.nanmean(table)), float(low), float(high)


def _batches(dataset: Any, every: int) -> Iterator[Any]:
    chosen = range(0, len(dataset), every)
    for start in range(0, len(chosen), BATCH):
        yield default_collate([dataset[i] for i in chosen[start : start + BATCH]])


def _body_length(truth: Mapping[str, Any], data: Any) -> float:
    """Give the body's length in the world: the model's unit where that is the body's length, else its extent."""
    if not bool(truth['has_params']):
        return float('nan')
    length = 1.0 if data.unit == 'body length' else data.rest_size
    return float(truth['params']['scale']) * length


def _box_sides(result: BenchmarkResult) -> np.ndarray:
    """Give the sides of the labels' boxes (N, C), px of the original images."""
    linear, shift = result.to_original[..., :2], result.to_original[..., 2]
    px = np.einsum('ncij,nckj->ncki', linear, result.truth2d) + shift[:, :, None]
    low = np.where(result.seen2d[..., None], px, np.inf).min(2)
    high = np.where(result.seen2d[..., None], px, -np.inf).max(2)
    return np.maximum(BOX_MARGIN * (high - low).max(-1), LEAST_BOX_PX)


def _mean(errors: np.ndarray) -> np.ndarray:
    """Average over the keypoints of each sample, NaN where there is none."""
    there = ~np.isnan(errors)
    return np.where(there, errors, 0).sum(1) / np.where(there.any(1), there.sum(1), np.nan)


def _below(px: np.ndarray) -> np.ndarray:
    there = ~np.isnan(px)
    count = there.sum((1, 2))
    return (there & (np.nan_to_num(px, nan=np.inf) < PCK_PX)).sum((1, 2)) / np.where(count, count, np.nan)


def median_px(scores: Scores) -> float:
    """Give the median over samples of their median errors, px of the original images."""
    return float(np.nanmedian(scores.px))


def mean_place_px(train: Path, held_out: Path) -> float:
    """Give the error of the answer that every keypoint is where it was on average in training, px, as `median_px`.

    Of an animal that hardly moves, no other answer without images is as good.
    """
    from smilfit.datasets import DatasetFile

    before, after = (DatasetFile(path).annotated2d(0) for path in (train, held_out))
    weight = before.visible.unsqueeze(-1).double()
    mean = (before.xy * weight).sum(0) / weight.sum(0).clamp_min(1)
    error = (after.xy - mean).norm(dim=-1)
    both = after.visible & before.visible.any(0)
    medians = [torch.median(frame[seen]) for frame, seen in zip(error, both) if seen.any()]
    return float(torch.stack(medians).median())
