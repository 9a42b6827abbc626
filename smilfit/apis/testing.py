"""Measure a checkpoint on the test split and write the benchmark folder."""

# `test` is what the command is called; pytest looks into files of tests only.
# ruff: noqa: PT028

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from smilfit.apis.output_paths import check_not_an_input, check_output_file, check_output_folder
from smilfit.apis.progress import ProgressCallback
from smilfit.apis.run_hooks import QUIET, add_listener, add_progress, hold_work_dir
from smilfit.apis.run_reports import RunListener
from smilfit.apis.shipped_configs import find_config
from smilfit.engine import (
    build_test_runner,
    choose_device,
    config_of_checkpoint,
    load_experiment,
    set_refinement,
)
from smilfit.evaluation import Intervals, MultiViewPoseMetric, left_out_metrics
from smilfit.evaluation.left_out import COUNT
from smilfit.files import MadeOf, OutputFolder, real_folder, write_text
from smilfit.registry.config_options import merge_options
from smilfit.solvers.process_group import process_group
from smilfit.visualization import prediction_images, write_benchmark_folder, write_image

logger = logging.getLogger('smilfit')

# In the benchmark folder: predictions beside truths, as a `BenchmarkResult`.
COMPARISON = 'comparison.npz'


@dataclass(frozen=True)
class EvaluationRun:
    """What came out: numbers by name, the file that has them, and what a metric that keeps its comparison adds.

    Args:
        metrics: numbers by name.
        metrics_file: has them.
        report: the page.
        intervals: of the numbers, by drawing sessions.
        comparison: predictions beside truths, for `compare`.
    """

    metrics: dict[str, float]
    metrics_file: Path
    report: Path | None
    intervals: Intervals | None = None
    comparison: Path | None = None


def test(
    config: str | Path | None,
    checkpoint: str | Path,
    work_dir: str | Path | None = None,
    out: str | Path | None = None,
    *,
    cfg_options: Mapping[str, Any] | None = None,
    body_model: str | Path | None = None,
    device: str = 'auto',
    launcher: str = 'none',
    averaged: bool = True,
    refine: bool = False,
    left_out_views: bool = False,
    progress: ProgressCallback | None = None,
    listener: RunListener | None = None,
) -> EvaluationRun | None:
    """Test a trained regressor.

    Args:
        config: the config of the training; the one that the checkpoint holds if None.
        checkpoint: a checkpoint of that training.
        work_dir: its folder `benchmark` is written; else the config's, else `work_dirs/<config name>`, or the
            checkpoint's folder where no config is given.
        out: write the metrics to this .json; else `<work dir>/benchmark/metrics.json`.
        cfg_options: overrides of the config by dotted key.
        body_model: a body model file or a shipped model's name, instead of the one that the dataset names.
        device: 'auto', 'cpu' or 'cuda'.
        launcher: what started the processes of a distributed run: 'none', 'pytorch' or 'slurm'.
        refine: refine predictions as the config's `refinement` says before they are compared.
        left_out_views: judge the model also in each view, predicted from the others: as many predictions more as
            there are views.
        averaged: test the averaged weights of a training with `EMAHook`; else those of the last step.
        progress: called with a `Progress` after every batch, by the first process.
        listener: hears what is tested and how it goes; what mmengine says goes to the log file alone then.

    Returns:
        What came out, in the first process; None in the others.

    Raises:
        ConfigError: the config does not run.
        ValueError: `out` is one of the inputs.
    """
    if left_out_views and launcher != 'none':
        raise ValueError(
            f'--left-out-views: the test must run in one process; got --launcher {launcher}. Leave one of them out.'
        )
    found = None if config is None else find_config(config)
    cfg = _experiment(found, checkpoint, cfg_options, work_dir)
    if refine:
        set_refinement(cfg)
    check_output_folder(cfg.work_dir, '--work-dir')
    if out is not None:
        check_output_file(out, '--out')
        check_not_an_input(out, (found, checkpoint, body_model), '--out')
    chosen = choose_device(device)
    cfg.launcher = launcher
    made_of = MadeOf({'checkpoint': Path(checkpoint).name}, {'config': None if found is None else found.name})
    with process_group(launcher, chosen), hold_work_dir(cfg.work_dir):
        return _test(
            cfg, checkpoint, body_model, device, averaged, left_out_views, made_of, out, progress, listener
        )


def _experiment(
    config: Path | None,
    checkpoint: str | Path,
    cfg_options: Mapping[str, Any] | None,
    work_dir: str | Path | None,
) -> Config:
    if config is not None:
        return load_experiment(config, cfg_options, work_dir)
    cfg = config_of_checkpoint(checkpoint)
    if cfg_options:
        merge_options(cfg, cfg_options)
    cfg.work_dir = str(Path(checkpoint).parent if work_dir is None else work_dir)
    return cfg


# The runner holds the group of processes: it must be gone when that is left, so it lives in a function of its own.
def _test(
    cfg: Config,
    checkpoint: str | Path,
    body_model: str | Path | None,
    device: str,
    averaged: bool,
    left_out_views: bool,
    made_of: MadeOf,
    out: str | Path | None,
    progress: ProgressCallback | None,
    listener: RunListener | None,
) -> EvaluationRun | None:
    runner = build_test_runner(
        cfg,
        checkpoint,
        body_model=body_model,
        device=device,
        averaged=averaged,
        console_level=None if listener is None else QUIET,
    )
    add_progress(runner, progress)
    add_listener(runner, listener)
    metrics = runner.test()
    if left_out_views:
        metrics |= _left_out(runner)
    return _write(runner, metrics, made_of, out) if runner.rank == 0 else None


def _left_out(runner: Any) -> dict[str, int | float]:
    metrics = [m for m in runner.test_evaluator.metrics if isinstance(m, MultiViewPoseMetric)]
    if not metrics:
        raise ValueError(
            '--left-out-views: test_evaluator must have a MultiViewPoseMetric; it has none. Add one to the config.'
        )
    found = left_out_metrics(runner.model, runner.test_dataloader, metrics[0])
    if not found[COUNT]:
        logger.warning('--left-out-views: no sample has three views, so none could be left out.')
    return found


def _write(runner: Any, metrics: dict[str, Any], made_of: MadeOf, out: str | Path | None) -> EvaluationRun:
    """Write the metrics and the benchmark folder, which is the old or the new one as a whole."""
    folder = real_folder(runner.work_dir, 'benchmark')
    text = json.dumps(metrics, indent=1, default=float) + '\n'
    with OutputFolder(folder).make('benchmark', made_of) as staging:
        found = [_write_result(runner, metric, staging) for metric in runner.test_evaluator.metrics]
        if out is None:
            (staging / 'metrics.json').write_text(text, encoding='utf-8')
    path = folder / 'metrics.json' if out is None else write_text(out, text)
    intervals = next((one for one in found if one is not None), None)
    files = (None, None) if intervals is None else (folder / 'report.html', folder / COMPARISON)
    return EvaluationRun(dict(metrics), Path(path), files[0], intervals, files[1])


def _write_result(runner: Any, metric: Any, folder: Path) -> Intervals | None:
    """Write images, numbers and the page of a metric that keeps its results; None of one that does not."""
    result = getattr(metric, 'result', None)
    if result is None:
        return None
    model = getattr(runner.model, 'module', runner.model)
    images = prediction_images(model, runner.test_dataloader.dataset)
    intervals = Intervals.of(result, metric.threshold_px)
    edges = _edges(model, result.keypoint_names)
    write_benchmark_folder(result, folder, edges=edges, images=images, intervals=intervals)
    for i, image in enumerate(images.values()):
        write_image(folder / f'prediction_{i:02d}.png', image)
    result.save(folder / COMPARISON)
    return intervals


def _edges(model: Any, names: Sequence[str]) -> list[tuple[str, str]]:
    """Join keypoints that are joints to the nearest ancestor that is one."""
    data = model.body_model.data
    edges = []
    for j, name in enumerate(data.joint_names):
        parent = data.parents[j]
        while parent >= 0 and data.joint_names[parent] not in names:
            parent = data.parents[parent]
        if name in names and parent >= 0:
            edges.append((data.joint_names[parent], name))
    return edges
