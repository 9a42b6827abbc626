"""Test a trained regressor, and compare two of them on the same frames."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner

from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input, check_output_file, check_output_folder
from smilfit.apis.run_options import CompareOptions, RunOptions, TestOptions
from smilfit.apis.shipped_configs import find_config
from smilfit.drawing.benchmark_report import write_benchmark_folder
from smilfit.drawing.validation_overlay_hook import prediction_images
from smilfit.drawing.video import write_image
from smilfit.evaluation import (
    PROTOCOLS,
    BenchmarkResult,
    Intervals,
    MultiViewPoseMetric,
    PairedDifference,
    ProtocolMetric,
    left_out_metrics,
    paired_differences,
)
from smilfit.evaluation.left_out import COUNT
from smilfit.files import MadeOf, OutputFolder, real_folder, write_text
from smilfit.networks.engine.checkpoint_loader import read_checkpoint
from smilfit.networks.engine.configs import load_experiment, set_refinement
from smilfit.networks.engine.hooks.plain_checkpoint_hook import inner_model
from smilfit.networks.engine.plain_values import config_of_checkpoint
from smilfit.networks.engine.runner import build_test_runner, choose_device
from smilfit.networks.regressors.modal_regressor import ModalRegressor
from smilfit.networks.tasks.run_hooks import QUIET, add_listener, add_progress, hold_work_dir
from smilfit.registry import reject_unknown
from smilfit.registry.config_options import merge_options
from smilfit.solvers.processes import process_group

# `test` is what the command is called; pytest looks into files of tests only.


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
    result = None if config is None else find_config(config)
    cfg = _experiment(result, checkpoint, options)
    if options.refine:
        set_refinement(cfg)
    reject_unknown('--protocol', 'protocol', options.protocol, list(PROTOCOLS))
    check_output_folder(cfg.work_dir, '--work-dir')
    if options.out is not None:
        check_output_file(options.out, '--out')
        check_not_an_input(options.out, (result, checkpoint, options.body_model), '--out')
    device = choose_device(options.device)
    cfg.launcher = options.launcher
    made_of = MadeOf(
        {'checkpoint': Path(checkpoint).name}, {'config': None if result is None else result.name}
    )
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
    if options.protocol:
        metric = ProtocolMetric(options.protocol, inner_model(runner).body_model)
        metric.dataset_meta = runner.test_dataloader.dataset.metainfo
        runner.test_evaluator.metrics.append(metric)
    metrics = runner.test()
    if options.left_out_views:
        metrics |= _left_out(runner)
    return _write(runner, metrics, made_of, options.out) if runner.rank == 0 else None


def _left_out(runner: Runner) -> dict[str, int | float]:
    metrics = [m for m in runner.test_evaluator.metrics if isinstance(m, MultiViewPoseMetric)]
    if not metrics:
        raise ValueError(
            '--left-out-views: test_evaluator must have a MultiViewPoseMetric; it has none. Add one to the config.'
        )
    result = left_out_metrics(runner.model, runner.test_dataloader, metrics[0])
    if not result[COUNT]:
        logger.warning('--left-out-views: no sample has three views, so none could be left out.')
    return result


def _write(
    runner: Runner, metrics: dict[str, float], made_of: MadeOf, out: str | Path | None
) -> EvaluationRun:
    """Write the metrics and the benchmark folder, which is the old or the new one as a whole."""
    folder = real_folder(runner.work_dir, 'benchmark')
    text = json.dumps(metrics, indent=1, default=float) + '\n'
    with OutputFolder(folder).make('benchmark', made_of) as staging:
        result = [_write_result(runner, metric, staging) for metric in runner.test_evaluator.metrics]
        if out is None:
            (staging / 'metrics.json').write_text(text, encoding='utf-8')
    path = folder / 'metrics.json' if out is None else write_text(out, text)
    intervals = next((one for one in result if one is not None), None)
    files = (None, None) if intervals is None else (folder / 'report.html', folder / COMPARISON)
    return EvaluationRun(dict(metrics), Path(path), files[0], intervals, files[1])


def _write_result(runner: Runner, metric: BaseMetric, folder: Path) -> Intervals | None:
    """Write images, numbers and the page of a metric that keeps its results; None of one that does not."""
    result = getattr(metric, 'result', None)
    if result is None:
        return None
    model = inner_model(runner)
    images = prediction_images(model, runner.test_dataloader.dataset)
    intervals = Intervals.of(result, metric.threshold_px)
    edges = _edges(model, result.keypoint_names)
    write_benchmark_folder(result, folder, edges=edges, images=images, intervals=intervals)
    for i, image in enumerate(images.values()):
        write_image(folder / f'prediction_{i:02d}.png', image)
    result.save(folder / COMPARISON)
    return intervals


def _edges(model: ModalRegressor, names: Sequence[str]) -> list[tuple[str, str]]:
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


@dataclass(frozen=True)
class ComparisonRun:
    """B beside A: a difference for every number, what its interval rests on, and how many frames both have."""

    differences: list[PairedDifference]
    by: str
    n_frames: int


@with_options(CompareOptions, positional=('work_dir', 'out'))
def compare(
    a: str | Path, b: str | Path, config: str | Path | None = None, *, options: CompareOptions
) -> ComparisonRun | None:
    """Compute by how much B is better or worse than A on the frames that both answered, and how sure that is.

    Benchmark folders are written to the work dir's folders `a` and `b`; else to the checkpoints' folders.

    Args:
        a: a checkpoint, which is tested, or the `comparison.npz` of a benchmark folder.
        b: likewise.
        config: for the checkpoints; the one that each holds if None.

    Returns:
        What came out, in the first process; None in the others.

    Raises:
        BadFileError: a file that is no checkpoint.
        ValueError: they are not answers to the same frames.
    """
    out = options.out
    if out is not None:
        check_output_file(out, '--out')
        check_not_an_input(out, (a, b, config, options.body_model), '--out')
    for path in (a, b):
        # A test takes minutes: a file that is none is told before.
        if Path(path).suffix != '.npz':
            read_checkpoint(path)
    results = []
    for name, path in (('a', a), ('b', b)):
        if Path(path).suffix != '.npz':
            folder = None if options.work_dir is None else Path(options.work_dir) / name
            shared = {f.name: getattr(options, f.name) for f in fields(RunOptions)} | {'work_dir': folder}
            done = test(config, path, **shared)
            if done is None:
                continue
            if done.comparison is None:
                raise ValueError(
                    f'compare: {path} must be tested by a MultiViewPoseMetric; its test_evaluator has none. Name one '
                    f'by a config.'
                )
            path = done.comparison
        # Read at once: the second may write where the first did.
        results.append(BenchmarkResult.load(path))
    if len(results) < 2:
        return None
    differences, by = paired_differences(results[0], results[1])
    keys = [set(zip(r.session.tolist(), r.frame.tolist())) for r in results]
    if out is not None:
        result = {'by': by, 'differences': [asdict(d) for d in differences]}
        write_text(out, json.dumps(result, indent=1) + '\n')
    return ComparisonRun(differences, by, len(keys[0] & keys[1]))
