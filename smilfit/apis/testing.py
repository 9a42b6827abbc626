"""Measure a checkpoint on the test split and write the benchmark folder."""

# `test` is what the command is called; pytest looks into files of tests only.

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input, check_output_file, check_output_folder
from smilfit.apis.run_hooks import QUIET, add_listener, add_progress, hold_work_dir
from smilfit.apis.run_options import TestOptions
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


@with_options(TestOptions, positional=('work_dir', 'out'))
def test(config: str | Path | None, checkpoint: str | Path, options: TestOptions) -> EvaluationRun | None:
    """Test a trained regressor, and write the folder `benchmark` of its work dir.

    Args:
        config: the config of the training; the one that the checkpoint holds if None.
        checkpoint: a checkpoint of that training.

    Returns:
        What came out, in the first process; None in the others.

    Raises:
        ConfigError: the config does not run.
        ValueError: `out` is one of the inputs.
    """
    if options.left_out_views and options.launcher != 'none':
        raise ValueError(
            f'--left-out-views: the test must run in one process; got --launcher {options.launcher}. Leave one of '
            'them out.'
        )
    found = None if config is None else find_config(config)
    cfg = _experiment(found, checkpoint, options)
    if options.refine:
        set_refinement(cfg)
    check_output_folder(cfg.work_dir, '--work-dir')
    if options.out is not None:
        check_output_file(options.out, '--out')
        check_not_an_input(options.out, (found, checkpoint, options.body_model), '--out')
    device = choose_device(options.device)
    cfg.launcher = options.launcher
    made_of = MadeOf({'checkpoint': Path(checkpoint).name}, {'config': None if found is None else found.name})
    with process_group(options.launcher, device), hold_work_dir(cfg.work_dir):
        return _test(cfg, checkpoint, options, made_of)


def _experiment(config: Path | None, checkpoint: str | Path, options: TestOptions) -> Config:
    if config is not None:
        return load_experiment(config, options.cfg_options, options.work_dir)
    cfg = config_of_checkpoint(checkpoint)
    if options.cfg_options:
        merge_options(cfg, options.cfg_options)
    cfg.work_dir = str(Path(checkpoint).parent if options.work_dir is None else options.work_dir)
    return cfg


# The runner holds the group of processes: it must be gone when that is left, so it lives in a function of its own.
def _test(cfg: Config, checkpoint: str | Path, options: TestOptions, made_of: MadeOf) -> EvaluationRun | None:
    runner = build_test_runner(
        cfg,
        checkpoint,
        body_model=options.body_model,
        device=options.device,
        averaged=options.averaged,
        console_level=None if options.listener is None else QUIET,
    )
    add_progress(runner, options.progress)
    add_listener(runner, options.listener)
    metrics = runner.test()
    if options.left_out_views:
        metrics |= _left_out(runner)
    return _write(runner, metrics, made_of, options.out) if runner.rank == 0 else None


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
